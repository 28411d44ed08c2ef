"""Instants of any writing as UTC milliseconds: counts of seconds to nanoseconds, or dates as text."""

import re
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from src.domain.errors import DataRefused

Stamps = NDArray[np.int64]

_SECONDS_BELOW: Final = 1e11
_MICROSECONDS_FROM: Final = 1e14
_NANOSECONDS_FROM: Final = 1e17
_DATE_NUMBERS: Final = (19_700_101, 21_000_101)
_MINUTE_MS: Final = 60_000
_DAY_MS: Final = 86_400_000
_TEXT: Final = re.compile(
    r"""\s*(?P<first>\d{1,4})(?P<joint>[-./]?)(?P<second>\d{1,2})(?P=joint)(?P<third>\d{1,4})
    (?:[T\s-]+(?P<hour>\d{1,2})(?::?(?P<minute>\d{2}))?(?::?(?P<second_of>\d{2})(?:[.,](?P<fraction>\d{1,9}))?)?
    (?:[\s-]*(?P<half>[AaPp])\.?[Mm]\.?)?)?
    \s*(?P<zone>Z|z|UTC|GMT|[+-]\d{2}:?\d{2}(?::\d{2})?|[A-Za-z/_]+)?\s*""",
    re.VERBOSE,
)
_ISO_BARE: Final = re.compile(r"\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?)?")
_ISO_UTC: Final = re.compile(_ISO_BARE.pattern + r"(?P<zone>Z|\+00:00|\ UTC)")
_COMPACT: Final = re.compile(r"\s*(\d{4})(\d{2})(\d{2})(?!\d)")
_OFFSET: Final = re.compile(r"([+-])(\d{1,2})(?::?(\d{2}))?")
_ADD_ISO: Final = "write instants as 2024-06-01T00:00:00Z, or as milliseconds since 1970"


class Instants(NamedTuple):
    """Instants in UTC milliseconds and how their zone was known: ``UTC``, an offset, or that none was written."""

    stamps: Stamps
    zone: str


def offset_ms_of(text: str) -> int:
    """Return the milliseconds by which local time is ahead of UTC: of ``UTC``, ``+02:00``, ``-5``.

    Raises:
        DataRefused: it is no offset.
    """
    if text.strip().upper() in ("UTC", "GMT", "Z"):
        return 0
    found = _OFFSET.fullmatch(text.strip())
    if not found or int(found[2]) > 14 or int(found[3] or 0) > 59:
        raise DataRefused(f"{text!r} is no offset from UTC; write UTC, +02:00 or -05:00.")
    size = (int(found[2]) * 60 + int(found[3] or 0)) * _MINUTE_MS
    return -size if found[1] == "-" else size


def counted(name: str, stamps: NDArray[Any]) -> Stamps:
    """Return counts since 1970 in milliseconds, whether seconds, milli-, micro- or nanoseconds are counted.

    Raises:
        DataRefused: an instant before 1970, or counts of two kinds.
    """
    numbers = stamps.astype(np.float64) if stamps.dtype.kind == "f" else stamps.astype(np.int64)
    if numbers.min(initial=1) <= 0:
        raise DataRefused(f"{name}: an instant is not after 1970.")
    if len(numbers) and numbers.max() < _SECONDS_BELOW:
        return np.asarray(np.rint(numbers.astype(np.float64) * 1_000.0).astype(np.int64))
    if numbers.min(initial=_SECONDS_BELOW) < _SECONDS_BELOW:
        raise DataRefused(f"{name} counts seconds in some rows and milliseconds in others; {_ADD_ISO}.")
    whole = numbers.astype(np.int64)
    divisor = np.where(whole >= _NANOSECONDS_FROM, 1_000_000, np.where(whole >= _MICROSECONDS_FROM, 1_000, 1))
    return np.asarray((whole + divisor // 2) // divisor)  # float64 holds nanoseconds to 256 of them


def written(name: str, texts: Sequence[str], lines: Sequence[int], local_offset: str = "") -> Instants:
    """Return instants written as text.

    Args:
        name: of the file, for what is said.
        texts: all in one writing; with or without a zone.
        lines: the line of each in the file, for what is said.
        local_offset: what texts without a zone are ahead of UTC; empty: they are UTC.

    Raises:
        DataRefused: no instant, day and month cannot be told apart, or a zone that is no offset.
    """
    quick = _iso(texts)
    if quick is not None:
        return quick
    parts = [_TEXT.fullmatch(_COMPACT.sub(r"\1-\2-\3", text, count=1)) for text in texts]
    for found, text, line in zip(parts, texts, lines, strict=True):
        if found is None:
            raise DataRefused(f"{name}, line {line}: {text[:40]!r} is no instant; {_ADD_ISO}.")
    found_all = [each for each in parts if each is not None]
    order = _order_of(name, found_all)
    days = np.array([_day(each, order) for each in found_all], dtype="datetime64[D]", ndmin=1)
    stamps = days.astype(np.int64) * _DAY_MS + np.array([_within_day(each) for each in found_all], dtype=np.int64)
    zones = {each["zone"] or "" for each in found_all}
    offsets = {zone: _zone_ms(name, zone, local_offset) for zone in zones}
    stamps -= np.array([offsets[each["zone"] or ""] for each in found_all], dtype=np.int64)
    return Instants(stamps, _zone_said(zones, local_offset))


def _iso(texts: Sequence[str]) -> Instants | None:
    """Return instants that are all written in ISO 8601 with the same ending for UTC; None for any other writing."""
    found = _ISO_UTC.fullmatch(texts[0].strip()) if texts else None
    if found is None:
        return None
    ending = found["zone"]
    bare = [text.strip().removesuffix(ending) for text in texts if text.strip().endswith(ending)]
    if len(bare) != len(texts) or not all(map(_ISO_BARE.fullmatch, bare)):
        return None
    try:
        return Instants(np.array(bare, dtype="datetime64[ms]").astype(np.int64), "UTC")
    except ValueError:
        return None


def date_numbers(stamps: NDArray[np.float64]) -> bool:
    """Return whether numbers are days written without joints: 20240601."""
    return bool(len(stamps)) and bool(((stamps >= _DATE_NUMBERS[0]) & (stamps < _DATE_NUMBERS[1])).all())


def _zone_ms(name: str, zone: str, local_offset: str) -> int:
    if not zone:
        return offset_ms_of(local_offset) if local_offset else 0
    if not _OFFSET.match(zone) and zone.upper() not in ("UTC", "GMT", "Z"):
        raise DataRefused(f"{name}: the zone {zone} is not known; {_ADD_ISO}.")
    return offset_ms_of(zone[:6] if zone[0] in "+-" else zone)


def _zone_said(zones: set[str], local_offset: str) -> str:
    if "" in zones:
        return f"UTC{local_offset}" if local_offset and offset_ms_of(local_offset) else "UTC"
    return "UTC" if all(offset_ms_of(zone[:6] if zone[0] in "+-" else zone) == 0 for zone in zones) else "zone in file"


def _order_of(name: str, found: Sequence[re.Match[str]]) -> str:
    """Return in which order year, month and day are written.

    Raises:
        DataRefused: day and month cannot be told apart.
    """
    if all(len(each["first"]) == 4 for each in found):
        return "ymd"
    if not all(len(each["third"]) == 4 for each in found):
        raise DataRefused(f"{name} writes years with fewer than four digits; {_ADD_ISO}.")
    if all(each["joint"] == "." for each in found):
        return "dmy"  # with dots the day comes first, wherever dates are written so
    day_first = any(int(each["first"]) > 12 for each in found)
    month_first = any(int(each["second"]) > 12 for each in found)
    if day_first == month_first:
        raise DataRefused(f"{name}: day and month of {found[0].group(0).strip()!r} cannot be told apart; {_ADD_ISO}.")
    return "dmy" if day_first else "mdy"


def _day(found: re.Match[str], order: str) -> str:
    parts = dict(zip(order, (found["first"], found["second"], found["third"]), strict=True))
    return f"{parts['y']}-{int(parts['m']):02d}-{int(parts['d']):02d}"


def _within_day(found: re.Match[str]) -> int:
    hour = int(found["hour"] or 0)
    half = (found["half"] or "").lower()
    if half:
        hour = hour % 12 + (12 if half == "p" else 0)
    whole = hour * 3_600 + int(found["minute"] or 0) * 60 + int(found["second_of"] or 0)
    fraction = (found["fraction"] or "0")[:3].ljust(3, "0")
    return whole * 1_000 + int(fraction)

"""Entries of RSS and Atom feeds as their makers meant them: charset, base address, bare ampersands, zones by name."""

import calendar
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urljoin
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import feedparser

_BARE_AMPERSAND: Final = re.compile(
    rb"<!\[CDATA\[.*?\]\]>|&(?!(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z]\w{1,31});)", re.DOTALL
)
_ZONE: Final = re.compile(r"\d\s+\(?([A-Za-z][A-Za-z_/]{1,31})\)?\s*$")
_HOURS_AHEAD: Final = {  # the feed library knows America's and takes every other name for UTC
    "CET": 1, "CEST": 2, "MEZ": 1, "MESZ": 2, "EET": 2, "EEST": 3, "WET": 0, "WEST": 1, "BST": 1, "MSK": 3, "TRT": 3,
    "SAST": 2, "GST": 4, "PKT": 5, "IST": 5.5, "ICT": 7, "WIB": 7, "HKT": 8, "SGT": 8, "PHT": 8, "MYT": 8, "AWST": 8,
    "JST": 9, "KST": 9, "AEST": 10, "AEDT": 11, "NZST": 12, "NZDT": 13, "BRT": -3, "ART": -3, "NST": -3.5, "AST": -4,
    "ADT": -3, "AKST": -9, "AKDT": -8, "HST": -10,
}  # fmt: skip


def parse_feed(body: bytes, headers: Mapping[str, str], url: str) -> Any:
    """Return the feed as the library reads it.

    Args:
        body: bytes only; text that looks like an address would be opened.
        headers: of the answer, lower-case: charset and base address count.
        url: where it was found; relative links begin there.
    """
    plain = body if b"\0" in body[:64] else _BARE_AMPERSAND.sub(_escaped, body)
    base = urljoin(url, headers.get("content-location", ""))
    told = {"content-location": base}
    if "content-type" in headers:
        told["content-type"] = headers["content-type"]
    return feedparser.parse(plain, response_headers=told)


def entry_ms(entry: Mapping[str, Any]) -> int | None:
    """Return when an entry was published, or changed, None where it gives no instant."""
    for name in ("published", "updated"):
        stamp = entry.get(f"{name}_parsed")
        if stamp is not None:
            try:
                local_s = calendar.timegm(stamp)
                return local_s * 1000 - _ahead_ms(str(entry.get(name, "")), local_s)
            except (ValueError, OverflowError, TypeError):
                return None
    return None


def _escaped(found: re.Match[bytes]) -> bytes:
    return found[0] if len(found[0]) > 1 else b"&amp;"


def _ahead_ms(text: str, local_s: int) -> int:
    """Return by how much a zone that the library takes for UTC is ahead of it at a local time (s since 1970)."""
    found = _ZONE.search(text)
    if found is None:
        return 0
    name = found[1]
    if name.upper() in _HOURS_AHEAD:
        return round(_HOURS_AHEAD[name.upper()] * 3_600_000)
    try:
        zone = ZoneInfo(name) if "/" in name else None
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return 0
    if zone is None:
        return 0
    there = datetime.fromtimestamp(local_s, UTC).replace(tzinfo=zone)
    return local_s * 1000 - round(there.timestamp() * 1000)

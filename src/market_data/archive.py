"""Binance's public archive: which files cover a span; downloaded, verified, resumed.

A manifest next to the store has the checksum of every imported file: a second run fetches only checksums, and a partial
file is resumed.
"""

import hashlib
import json
import re
from calendar import monthrange
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import NamedTuple

import requests
from urllib3.exceptions import HTTPError

from src.domain.errors import DataRefused, SourceUnavailable

BASE_URL = "https://data.binance.vision"
KINDS = {"klines": "klines", "mark": "markPriceKlines", "funding": "fundingRate"}
_CONNECT_S, _READ_S = 5.0, 60.0
_PIECE = 1 << 16
_NOT_FOUND = 404


class Part(NamedTuple):
    """One month's part of a span: its first and last day, and whether it is the whole month."""

    first: date
    last: date
    whole: bool


Progress = Callable[[str, int, int], None]
"""Called with a file's name, the bytes that are there, and all its bytes (0: unknown)."""


@dataclass(frozen=True, slots=True)
class ArchiveFile:
    """One file of the archive: its label (``2023-01`` or ``2023-01-05``) and its path below the base address."""

    label: str
    path: str

    @property
    def name(self) -> str:
        """The file's own name."""
        return self.path.rsplit("/", 1)[-1]


@dataclass
class Archive:
    """A client of the archive.

    Args:
        folder: where parts and the manifest are kept.
        base_url: another address serves the same tree (a mirror, or a test's stand-in).
    """

    folder: Path
    base_url: str = BASE_URL
    progress: Progress = lambda _name, _there, _all: None
    _session: requests.Session = field(default_factory=requests.Session)

    def known_sum(self, file: ArchiveFile) -> str:
        """Return the checksum of the last import of the file, or an empty text."""
        return self._manifest().get(file.path, "")

    def remember(self, file: ArchiveFile, checksum: str) -> None:
        """Record that the file was imported, and delete its copy."""
        known = {**self._manifest(), file.path: checksum}
        path = self.folder / "manifest.json"
        fresh = path.with_suffix(".new")
        fresh.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        fresh.replace(path)
        (self.folder / file.name).unlink(missing_ok=True)

    def checksum(self, file: ArchiveFile) -> str | None:
        """Return the archive's SHA-256 of the file, None if the archive does not have it.

        Raises:
            SourceUnavailable: the archive cannot be reached.
            DataRefused: the response is not a checksum.
        """
        answer = self._get(f"{file.path}.CHECKSUM")
        if answer.status_code == _NOT_FOUND:
            return None
        found = re.match(r"\s*([0-9a-f]{64})\b", answer.text)
        if not found:
            raise DataRefused(f"The archive's checksum of {file.name} is none.")
        return found.group(1)

    def fetch(self, file: ArchiveFile, checksum: str) -> Path:
        """Return the local copy of a file, downloaded or resumed, and verified.

        Raises:
            SourceUnavailable: the archive cannot be reached, or the transfer broke off; it is resumed later.
            DataRefused: the checksum differs; the copy was deleted.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        whole, part = self.folder / file.name, self.folder / f"{file.name}.part"
        if not whole.is_file():
            self._download(file, part)
            part.replace(whole)
        if hashlib.sha256(whole.read_bytes()).hexdigest() != checksum:
            whole.unlink()
            raise DataRefused(f"{file.name} has another checksum than the archive says; it was thrown away.")
        return whole

    def _download(self, file: ArchiveFile, part: Path) -> None:
        there = part.stat().st_size if part.is_file() else 0
        answer = self._get(file.path, {"Range": f"bytes={there}-"} if there else {}, stream=True)
        if answer.status_code == requests.codes.requested_range_not_satisfiable:
            return  # it is complete already
        if answer.status_code == _NOT_FOUND:
            raise DataRefused(f"The archive has a checksum of {file.name}, but not the file.")
        if answer.status_code != requests.codes.partial_content:
            there = 0
        total = there + int(answer.headers.get("Content-Length", 0))
        answer.raw.enforce_content_length = False  # the part before an interruption is kept; its length is the offset
        try:
            with part.open("ab" if there else "wb") as copy:
                while piece := answer.raw.read(_PIECE):
                    copy.write(piece)
                    there += len(piece)
                    self.progress(file.name, there, total)
        except (requests.RequestException, HTTPError) as error:
            raise SourceUnavailable(f"The archive broke off within {file.name}; run again to continue.") from error
        if there < total:
            raise SourceUnavailable(f"The archive broke off within {file.name}; run again to continue.")

    def _get(self, path: str, headers: dict[str, str] | None = None, stream: bool = False) -> requests.Response:
        url = f"{self.base_url}/{path}"
        try:
            answer = self._session.get(url, headers=headers or {}, stream=stream, timeout=(_CONNECT_S, _READ_S))
        except requests.RequestException as error:
            raise SourceUnavailable(
                f"The archive {self.base_url} cannot be reached ({type(error).__name__}); nothing was changed."
            ) from error
        if answer.status_code >= requests.codes.internal_server_error:
            raise SourceUnavailable(f"The archive {self.base_url} answered {answer.status_code}; try again later.")
        return answer

    def _manifest(self) -> dict[str, str]:
        path = self.folder / "manifest.json"
        if not path.is_file():
            return {}
        try:
            return {str(key): str(value) for key, value in json.loads(path.read_text(encoding="utf-8")).items()}
        except (ValueError, AttributeError) as error:
            raise DataRefused(f"{path} is damaged; delete it, and all files are checked anew.") from error


def span_of(from_text: str, to_text: str, today: date) -> tuple[date, date]:
    """Return first and last day of ``YYYY-MM`` or ``YYYY-MM-DD`` texts, the last one not after yesterday.

    Raises:
        DataRefused: no dates, or the wrong way round.
    """
    first, _ = _days_of(from_text)
    _, last = _days_of(to_text) if to_text else (today, today)
    last = min(last, today - timedelta(days=1))
    if first > last:
        raise DataRefused(f"The span from {from_text} to {to_text or 'yesterday'} has no day that is past.")
    return first, last


def _days_of(text: str) -> tuple[date, date]:
    try:
        if re.fullmatch(r"\d{4}-\d{2}", text):
            year, month = int(text[:4]), int(text[5:])
            return date(year, month, 1), date(year, month, monthrange(year, month)[1])
        day = date.fromisoformat(text)
    except ValueError as error:
        raise DataRefused(f"{text!r} is no date; write YYYY-MM or YYYY-MM-DD.") from error
    return day, day


def months_of(first: date, last: date) -> Iterator[Part]:
    """Yield the span month by month."""
    day = first
    while day <= last:
        end = date(day.year, day.month, monthrange(day.year, day.month)[1])
        until = min(end, last)
        yield Part(day, until, day.day == 1 and until == end)
        day = until + timedelta(days=1)


def month_file(kind: str, symbol: str, interval: str, day: date) -> ArchiveFile:
    """Return the archive's file of a whole month."""
    return _file("monthly", kind, symbol, interval, f"{day:%Y-%m}")


def day_files(kind: str, symbol: str, interval: str, first: date, last: date) -> list[ArchiveFile]:
    """Return the archive's files of single days."""
    days = (first + timedelta(days=number) for number in range((last - first).days + 1))
    return [_file("daily", kind, symbol, interval, day.isoformat()) for day in days]


def _file(period: str, kind: str, symbol: str, interval: str, label: str) -> ArchiveFile:
    folder = f"data/futures/um/{period}/{KINDS[kind]}/{symbol}"
    if kind == "funding":
        return ArchiveFile(label, f"{folder}/{symbol}-fundingRate-{label}.zip")
    return ArchiveFile(label, f"{folder}/{interval}/{symbol}-{interval}-{label}.zip")

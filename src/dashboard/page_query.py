"""What a page asks of the snapshot: which cards, which period, which filters; nonsense is refused."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

PERIODS: Final = {"7d": 7, "30d": 30, "90d": 90, "365d": 365, "all": None}
"""The periods of the performance page in days; None is everything."""
JOURNAL_FILTERS: Final = {"all": None, "acted": True, "not_acted": False}
LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR")
_LONGEST_TEXT: Final = 80


@dataclass(frozen=True, slots=True)
class PageQuery:
    """One page's question.

    ``journal`` is a name of ``JOURNAL_FILTERS``, ``period`` one of ``PERIODS``; ``pair`` and ``text`` narrow the
    journal; ``log`` and ``level`` choose a log; ``trade`` is the number of a trade. Empty is no filter.
    """

    page: str = "everything"
    journal: str = "all"
    period: str = "30d"
    pair: str = ""
    text: str = ""
    gate: str = ""
    log: str = ""
    level: str = "INFO"
    trade: int = 0


WHOLE: Final = PageQuery()
"""All cards, nothing filtered."""


def page_query(given: Mapping[str, str], pages: Mapping[str, object]) -> PageQuery:
    """Return the question in a query string; ``ValueError`` names the parameter that is wrong and what it may be."""
    return PageQuery(
        _one_of(given, "page", "everything", pages),
        _one_of(given, "journal", "all", JOURNAL_FILTERS),
        _one_of(given, "period", "30d", PERIODS),
        _text(given, "pair", 24),
        _text(given, "text", _LONGEST_TEXT),
        _text(given, "gate", 24),
        _text(given, "log", 40),
        _one_of(given, "level", "INFO", dict.fromkeys(LEVELS)),
        _number(given, "trade"),
    )


def _one_of(given: Mapping[str, str], name: str, default: str, known: Mapping[str, object]) -> str:
    wanted = given.get(name) or default
    if wanted not in known:
        raise ValueError(f"{name} must be one of {', '.join(known)}.")
    return wanted


def _text(given: Mapping[str, str], name: str, most: int) -> str:
    wanted = given.get(name, "").strip()
    if len(wanted) > most or not wanted.isprintable():
        raise ValueError(f"{name} must be printable text of at most {most} characters.")
    return wanted


def _number(given: Mapping[str, str], name: str) -> int:
    wanted = given.get(name) or "0"
    if not (wanted.isascii() and wanted.isdecimal() and len(wanted) <= 15):
        raise ValueError(f"{name} must be a whole number.")
    return int(wanted)

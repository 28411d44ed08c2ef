"""What news and chart analysts say, as facts that rules can reckon with."""

from decimal import Decimal
from enum import StrEnum
from typing import Final, NamedTuple

EVERY_COIN: Final = "*"
"""Stands among an event's coins where it concerns every pair: the exchange itself, or the quote asset."""


class NewsEventKind(StrEnum):
    """What makes new positions in a coin unwise until it is understood."""

    HACK = "hack"
    DEPEG = "depeg"
    DELISTING = "delisting"
    HALT = "halt"


class ReportedHeadline(NamedTuple):
    """One article's title: when this machine read it, and when it was published (None: its source did not say)."""

    title: str
    source: str
    known_ms: int
    published_ms: int | None = None


class NewsEvent(NamedTuple):
    """A headline that reports such an event. ``instant_ms`` is when it was published, ``known_ms`` when it was read.

    ``coins`` are tickers (BTC), or ``EVERY_COIN``. The headline is a stranger's text: it is shown, never followed.
    """

    kind: NewsEventKind
    headline: str
    source: str
    instant_ms: int
    known_ms: int
    coins: tuple[str, ...]


class PanelistOpinion(NamedTuple):
    """What one analyst of a panel said of a chart: ``probability_up`` lies on the side of ``recommendation``."""

    made_ms: int
    interval: str
    role: str
    model: str
    recommendation: str
    probability_up: float
    cost_usd: Decimal


class ChartOpinion(NamedTuple):
    """The newest good analysis of one pair's chart: when, by whom, and what it recommends.

    ``recommendation`` is BUY, SELL or HOLD, ``confidence`` low, medium or high; ``analyst`` is ``local``, ``panel``, or
    the model's name.
    """

    made_ms: int
    interval: str
    analyst: str
    recommendation: str
    confidence: str
    cost_usd: Decimal
    symbol: str = ""

"""Recognises headlines that report a hack, a lost peg, a delisting or a halt, and the coins concerned.

By rules, on the title alone: a description speaks of much beside the event. What a title says to a reader or a machine
is never followed; the most that it can do is to make entries of a coin wait.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from src.domain.evidence import EVERY_COIN, NewsEvent, NewsEventKind, ReportedHeadline
from src.news.normalise import coins_in

_PATTERNS: Final = (
    (
        NewsEventKind.HACK,
        re.compile(
            r"\b(?:hacked|hackers? (?:steal|stole|drain|took|take|made off)|(?:suffers?|hit by|after|in) (?:an? )?"
            r"(?:\S+ ){0,3}(?:hack|exploit|attack|breach)|exploited|exploit drains|drained of|drains? \$|"
            r"stolen (?:from|in)|(?:flash loan|51%|double[- ]spend) attack|security breach|"
            r"private keys? (?:leak|compromis)\w*|rug ?pull(?:ed|s)?)\b",
            re.IGNORECASE,
        ),
    ),
    (
        NewsEventKind.DEPEG,
        re.compile(
            r"\b(?:de-?pegs?|de-?pegged|de-?pegging|loses? (?:its )?(?:dollar |us dollar |\$1 )?peg|"
            r"(?:slips|falls|drops|trades) below (?:its )?(?:dollar |\$1 )?peg|lost (?:its )?(?:dollar |\$1 )?peg)\b",
            re.IGNORECASE,
        ),
    ),
    (
        NewsEventKind.DELISTING,
        re.compile(
            r"\b(?:de-?lists?|de-?listed|de-?listing|to de-?list|"
            r"(?:will )?remov(?:e|es|ing) (?:\S+ ){0,4}trading pairs?|"
            r"(?:halts?|suspends?|ends?|stops?) trading (?:of|in|for))\b",
            re.IGNORECASE,
        ),
    ),
    (
        NewsEventKind.HALT,
        re.compile(
            r"\b(?:(?:halts?|halted|pauses?|paused|suspends?|suspended|freezes?|froze|stops?|stopped|disables?) "
            r"(?:all |user |customer |crypto |new )?(?:\S+ )?(?:withdrawals?|deposits?|trading|redemptions?)|"
            r"withdrawals? (?:are |is )?(?:halted|paused|suspended|frozen)|"
            r"(?:network|blockchain|chain|mainnet) (?:is |was |goes |went )?"
            r"(?:down|halts?|halted|outage|stops? producing)|"
            r"files? for (?:chapter 11|bankruptcy)|(?:is|becomes?) insolvent)\b",
            re.IGNORECASE,
        ),
    ),
)
_NOT_REPORTED: Final = re.compile(
    r"\b(?:hackathons?|den(?:y|ies|ied)|no evidence|false (?:report|rumou?r)s?|not (?:been )?hacked|fake|hoax|"
    r"resumes?|resumed|reopens?|restor(?:es|ed|ing)|recover(?:s|ed|ing)?|refund(?:s|ed)?|reimburs\w+|sentenced|"
    r"arrest(?:s|ed)?|charged|pleads?|convicted|court|lessons|anniversary|years? (?:ago|later|after)|how to|explained|"
    r"could|would|might|what if|prevent(?:s|ing)?|protect(?:s|ing)?|insur\w+)\b|\?\s*$",
    re.IGNORECASE,
)
_OUR_EXCHANGE: Final = re.compile(r"\bbinance\b(?!\s+(?:smart chain|coin|labs|research|us\b|\.us))", re.IGNORECASE)
_QUOTE_ASSETS: Final = re.compile(r"\b(?:tether|usdt|usdc|usd coin)\b", re.IGNORECASE)
_LOOT: Final = re.compile(
    r"[$£€]?\d[\d,.]*\s?(?:[kmb]n?\b|million|billion|thousand)?\s*(?:(?:in|worth of|of)\s+)?\w+|"
    r"\bst(?:eals?|ole)\s+\w+",
    re.IGNORECASE,
)
_VENUE_WIDE: Final = (NewsEventKind.HACK, NewsEventKind.HALT)


def event_of(headline: ReportedHeadline, coins: Mapping[str, Sequence[str]]) -> NewsEvent | None:
    """Return the event that a headline reports, None where it reports none or names no coin that is traded.

    Args:
        headline: its title alone is read.
        coins: words that name each coin, as in ``config/news_sources.toml``.
    """
    title = headline.title
    kind = next((kind for kind, pattern in _PATTERNS if pattern.search(title)), None)
    if kind is None or _NOT_REPORTED.search(title):
        return None
    concerned = _concerned(title, kind, coins)
    if not concerned:
        return None
    instant_ms = min(headline.known_ms if headline.published_ms is None else headline.published_ms, headline.known_ms)
    return NewsEvent(kind, title, headline.source, instant_ms, headline.known_ms, concerned)


def events_in(headlines: Iterable[ReportedHeadline], coins: Mapping[str, Sequence[str]]) -> tuple[NewsEvent, ...]:
    """Return the events that headlines report, the oldest first."""
    found = (event_of(each, coins) for each in headlines)
    return tuple(sorted((each for each in found if each is not None), key=lambda each: each.instant_ms))


def _concerned(title: str, kind: NewsEventKind, coins: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """Return the coins that a title names; every coin where the exchange itself or a quote asset is hit."""
    if kind is NewsEventKind.DEPEG and _QUOTE_ASSETS.search(title):
        return (EVERY_COIN,)
    named = coins_in(_LOOT.sub(" ", title) if kind is NewsEventKind.HACK else title, coins)  # taken is not hit
    if kind in _VENUE_WIDE and not named and _OUR_EXCHANGE.search(title):
        return (EVERY_COIN,)
    return named

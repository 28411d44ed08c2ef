"""What news, market regime and chart opinion say against an entry. They can only lower risk, never ask for a trade.

Each is a switch of the rule set, off by default. An exit or reduction never passes here.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Final, NamedTuple

from src.domain.clock import utc_text
from src.domain.evidence import EVERY_COIN, ChartOpinion, NewsEvent
from src.domain.market import INTERVAL_MS, MarketContext, quote_asset_of

OFF, SIZE, VETO = "off", "size", "veto"
GRADES: Final = ("low", "medium", "high")
MOST_NEWS_HOURS: Final = 72
_HOUR_MS: Final = 3_600_000
_CHART_CANDLES: Final = 4  # an opinion on candles of some length speaks of about the next four
_AGAINST_LONG, _AGAINST_SHORT = "risk_off", "risk_on"
_OPPOSITE: Final = {1: "SELL", -1: "BUY"}


@dataclass(frozen=True, slots=True)
class EvidenceRules:
    """Which evidence counts for entries: each ``off``, ``size`` (a smaller position) or ``veto`` (no entry).

    ``news`` knows ``off`` and ``veto`` only: for ``news_hours`` after a hack, depeg, delisting or halt no entry of a
    coin concerned is made. ``regime`` speaks against long positions in risk_off and against short ones in risk_on,
    ``chart`` against the other side of an analyst's recommendation of at least ``chart_confidence``. ``size_share`` is
    the part of the full size that ``size`` leaves.
    """

    news: str = OFF
    news_hours: int = 24
    regime: str = OFF
    chart: str = OFF
    chart_confidence: str = "medium"
    size_share: float = 0.5

    def __post_init__(self) -> None:
        if self.news not in (OFF, VETO):
            raise ValueError("news must be off or veto")
        if self.regime not in (OFF, SIZE, VETO) or self.chart not in (OFF, SIZE, VETO):
            raise ValueError("regime and chart must each be off, size or veto")
        if self.chart_confidence not in GRADES:
            raise ValueError(f"chart_confidence must be one of {', '.join(GRADES)}")
        if not 1 <= self.news_hours <= MOST_NEWS_HOURS:
            raise ValueError(f"news_hours must lie in 1..{MOST_NEWS_HOURS}")
        if not 0 < self.size_share < 1:
            raise ValueError("size_share must lie between 0 and 1")

    @property
    def active(self) -> bool:
        """Whether any evidence counts."""
        return (self.news, self.regime, self.chart) != (OFF, OFF, OFF)


NO_EVIDENCE: Final = EvidenceRules()


class EvidenceFinding(NamedTuple):
    """What one kind of evidence allows of an entry: ``share`` of its size (0: none), and why, in words."""

    name: str
    share: float
    detail: str


class EntryRestraint(NamedTuple):
    """What all evidence together allows of an entry or increase: the smallest share, and the reasons."""

    share: float
    reason: str


def load_evidence(table: Any) -> EvidenceRules:
    """Return the rules of an ``[evidence]`` section; raises ValueError where a name or value cannot be."""
    if not isinstance(table, dict):
        raise ValueError("[evidence] must be a table")
    kinds = {each.name: type(each.default) for each in fields(EvidenceRules)}
    unknown = sorted(set(table) - set(kinds))
    if unknown:
        raise ValueError(f"unknown figure {', '.join(unknown)} in [evidence]; known are {', '.join(kinds)}")
    for name, value in table.items():
        if type(value) is not kinds[name]:
            raise ValueError(f"{name} in [evidence] must be of kind {kinds[name].__name__}, not {value!r}")
    return EvidenceRules(**table)


def findings(
    rules: EvidenceRules, context: MarketContext | None, symbol: str, now_ms: int, sign: int
) -> tuple[EvidenceFinding, ...]:
    """Return what each kind of evidence that counts says of an entry; none where all are off.

    Args:
        rules: which count, and how.
        context: what is known; None is nothing. What is unknown or too old speaks against nothing.
        symbol: the pair.
        now_ms: the present instant.
        sign: 1 for a long entry, -1 for a short one.
    """
    found = []
    if rules.news != OFF:
        found.append(_of_news(rules, context.events if context else (), symbol, now_ms))
    if rules.regime != OFF:
        found.append(_of_regime(rules, context.market_regime if context else "unknown", sign))
    if rules.chart != OFF:
        opinion = next((each for each in (context.opinions if context else ()) if each.symbol == symbol), None)
        found.append(_of_chart(rules, opinion, now_ms, sign))
    return tuple(found)


def smallest_share(found: Iterable[EvidenceFinding]) -> float:
    """Return the part of its full size that an entry may have: the smallest that any evidence allows."""
    return min((each.share for each in found), default=1.0)


def restraint(
    rules: EvidenceRules, context: MarketContext | None, symbol: str, now_ms: int, sign: int
) -> EntryRestraint | None:
    """Return how evidence restrains an entry or increase, None where it does not."""
    against = [each for each in findings(rules, context, symbol, now_ms, sign) if each.share < 1.0]
    if not against:
        return None
    return EntryRestraint(smallest_share(against), "; ".join(each.detail for each in against))


def restraints_of(
    rules: EvidenceRules, context: MarketContext | None, weights: Mapping[str, float | None], now_ms: int
) -> dict[str, EntryRestraint]:
    """Return how evidence restrains entries and increases towards target weights, by pair."""
    if not rules.active:
        return {}
    found = {
        symbol: restraint(rules, context, symbol, now_ms, 1 if weight > 0 else -1)
        for symbol, weight in weights.items()
        if weight
    }
    return {symbol: each for symbol, each in found.items() if each is not None}


def coin_of(symbol: str) -> str:
    """Return the ticker of a contract's coin as news write it: BTC of BTCUSDT, PEPE of 1000PEPEUSDT."""
    base = symbol.removesuffix(quote_asset_of(symbol))
    plain = base.lstrip("0123456789")
    return plain if base.startswith("1000") and plain else base


def _of_news(rules: EvidenceRules, events: Iterable[NewsEvent], symbol: str, now_ms: int) -> EvidenceFinding:
    oldest_ms, coin = now_ms - rules.news_hours * _HOUR_MS, coin_of(symbol)
    concerned = [
        each
        for each in events
        if (coin in each.coins or EVERY_COIN in each.coins)
        and oldest_ms < each.instant_ms <= now_ms
        and each.known_ms <= now_ms
    ]
    if not concerned:
        return EvidenceFinding("news", 1.0, f"no event of {coin} in the last {rules.news_hours} hours")
    newest = max(concerned, key=lambda each: each.instant_ms)
    until = utc_text(newest.instant_ms + rules.news_hours * _HOUR_MS)[:16]
    told = f"{newest.kind} reported by {newest.source}: {newest.headline!r}"
    return EvidenceFinding("news", 0.0, f"{told}; entries of {coin} wait until {until}")


def _of_regime(rules: EvidenceRules, regime: str, sign: int) -> EvidenceFinding:
    against = regime == (_AGAINST_LONG if sign > 0 else _AGAINST_SHORT)
    return _weighed("regime", rules.regime, rules.size_share, against, f"the market regime is {regime or 'unknown'}")


def _of_chart(rules: EvidenceRules, opinion: ChartOpinion | None, now_ms: int, sign: int) -> EvidenceFinding:
    if opinion is None:
        return EvidenceFinding("chart", 1.0, "no analysis of this chart is known")
    age_ms = now_ms - opinion.made_ms
    said = f"the chart analyst ({opinion.analyst}) recommends {opinion.recommendation}, confidence {opinion.confidence}"
    if not 0 <= age_ms <= _CHART_CANDLES * INTERVAL_MS[opinion.interval]:
        return EvidenceFinding("chart", 1.0, f"{said}, too long ago to count")
    sure = opinion.confidence in GRADES[GRADES.index(rules.chart_confidence) :]
    against = sure and opinion.recommendation == _OPPOSITE[sign]
    return _weighed("chart", rules.chart, rules.size_share, against, said)


def _weighed(name: str, effect: str, size_share: float, against: bool, said: str) -> EvidenceFinding:
    if not against:
        return EvidenceFinding(name, 1.0, said)
    if effect == VETO:
        return EvidenceFinding(name, 0.0, f"{said}: no entry")
    return EvidenceFinding(name, size_share, f"{said}: {size_share:.0%} of the size")

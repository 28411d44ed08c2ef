"""Rule sets of strategies that return targets: their figures, limits, pairs and recorded tries."""

import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from decimal import Decimal
from typing import Any

from src.domain.market import INTERVAL_MS
from src.domain.risk import RiskLimits
from src.strategy.evidence import NO_EVIDENCE, EvidenceRules, load_evidence
from src.strategy.targets import Strategy, UserStrategy
from src.strategy.trend_portfolio import TrendPortfolio, TrendPortfolioRules

TREND_PORTFOLIO = "trend_portfolio"
_MOST_MARGIN = Decimal("0.95")


@dataclass(frozen=True, slots=True)
class PortfolioLimits:
    """What a portfolio may cost. ``stop_loss_share`` is the disaster stop's distance from the average entry price.

    ``early_stop_share`` is the part of that distance at which a position is closed without waiting for the stop;
    ``max_daily_loss_share`` the loss of equity since the UTC day's start that closes everything.
    """

    leverage: int = 3
    stop_loss_share: Decimal = Decimal("0.20")
    early_stop_share: Decimal = Decimal("0.80")
    max_daily_loss_share: Decimal = Decimal("0.05")

    def __post_init__(self) -> None:
        if not 1 <= self.leverage <= 125:
            raise ValueError("leverage must lie in 1..125")
        if not (0 < self.stop_loss_share < 1 and 0 < self.max_daily_loss_share < 1):
            raise ValueError("stop_loss_share and max_daily_loss_share must lie between 0 and 1")
        if not 0 < self.early_stop_share <= 1:
            raise ValueError("early_stop_share must lie in (0, 1]")
        if self.stop_loss_share * self.leverage >= 1:
            raise ValueError("stop_loss_share must be below 1 / leverage, or liquidation would come first")

    def risk_limits(self) -> RiskLimits:
        """Return what stops and the day's loss are reckoned with; its target is never placed."""
        return RiskLimits(
            leverage=self.leverage,
            stop_loss_share=self.stop_loss_share,
            early_stop_share=self.early_stop_share,
            max_daily_loss_share=self.max_daily_loss_share,
            place_target=False,
            position_share=_MOST_MARGIN,
            max_total_share=_MOST_MARGIN,
        )


@dataclass(frozen=True, slots=True)
class TargetRules:
    """A named rule set of a target strategy. ``tried`` counts the variants tried before its figures were chosen.

    ``own`` is the strategy of a user's file; without one the figures of ``strategy`` make a trend portfolio.
    """

    name: str = TREND_PORTFOLIO
    description: str = ""
    tried: int = 1
    shown: str = ""
    pairs: tuple[str, ...] = ("BTCUSDT", "ETHUSDT", "SOLUSDT", "BNBUSDT", "XRPUSDT", "DOGEUSDT")
    strategy: TrendPortfolioRules = field(default_factory=TrendPortfolioRules)
    limits: PortfolioLimits = field(default_factory=PortfolioLimits)
    evidence: EvidenceRules = NO_EVIDENCE
    own: UserStrategy | None = None

    def __post_init__(self) -> None:
        if self.tried < 1:
            raise ValueError("tried must be at least 1")
        if not self.pairs or len(set(self.pairs)) < len(self.pairs):
            raise ValueError("pairs must name at least one pair, each once")

    @property
    def candle_interval(self) -> str:
        """The candles that the strategy looks at."""
        return self.strategy.candle_interval if self.own is None else self.own.candle_interval

    @property
    def figures(self) -> dict[str, Any]:
        """The strategy's figures by name."""
        return asdict(self.strategy) if self.own is None else dict(self.own.figures)

    def build(self) -> Strategy:
        """Return the strategy: the user's own, or a new trend portfolio."""
        return TrendPortfolio(self.strategy, self.name) if self.own is None else self.own

    def peer_rules(self) -> TrendPortfolioRules:
        """Return the figures by which the same pairs are held at constant volatility, to compare with."""
        hourly = INTERVAL_MS[self.candle_interval] >= INTERVAL_MS["1h"]
        return replace(self.strategy, candle_interval=self.candle_interval if hourly else "1h")


def is_target_rules(text: str) -> bool:
    """Return whether TOML ``text`` is the rule set of a target strategy; raises ValueError where it is no TOML."""
    return "kind" in tomllib.loads(text)


def load_target_rules(text: str) -> TargetRules:
    """Return the rule set written in TOML ``text``; figures that are left out keep their defaults.

    Raises:
        ValueError: the text is no TOML, a name is unknown, or a figure is of the wrong kind or out of range.
    """
    table = tomllib.loads(text)
    kind = table.pop("kind", None)
    if kind != TREND_PORTFOLIO:
        raise ValueError(f"kind must be {TREND_PORTFOLIO!r}, not {kind!r}")
    strategy = _section(table.pop("strategy", {}), TrendPortfolioRules, "[strategy]")
    limits = _section(table.pop("limits", {}), PortfolioLimits, "[limits]")
    evidence = load_evidence(table.pop("evidence", {}))
    table |= {"pairs": tuple(table["pairs"])} if isinstance(table.get("pairs"), list) else {}
    kinds = {"name": str, "description": str, "tried": int, "shown": str, "pairs": tuple}
    _refuse_misfits(table, kinds, "the rule set")
    return TargetRules(strategy=strategy, limits=limits, evidence=evidence, **table)


def _section(table: Any, kind: type[Any], where: str) -> Any:
    if not isinstance(table, dict):
        raise ValueError(f"{where} must be a table")
    kinds = {each.name: type(each.default) for each in fields(kind)}
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in table.items()}
    for name, value in values.items():
        if kinds.get(name) is Decimal and type(value) in (int, float):
            values[name] = Decimal(str(value))
        elif kinds.get(name) is float and type(value) is int:
            values[name] = float(value)
    _refuse_misfits(values, kinds, where)
    return kind(**values)


def _refuse_misfits(table: Mapping[str, Any], kinds: Mapping[str, type[Any]], where: str) -> None:
    unknown = sorted(set(table) - set(kinds))
    if unknown:
        raise ValueError(f"unknown figure {', '.join(unknown)} in {where}; known are {', '.join(kinds)}")
    for name, value in table.items():
        if type(value) is not kinds[name]:
            raise ValueError(f"{name} in {where} must be of kind {kinds[name].__name__}, not {value!r}")

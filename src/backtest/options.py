"""Turns command-line options into the inputs of a backtest: span, candles, configuration, agent."""

import argparse
import calendar
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from src.backtest.config import BreakerPolicy, Setup
from src.backtest.engine import LEAST_WARM_UP
from src.backtest.training import teach_past, warm_up_ms
from src.domain.clock import DAY_MS, MINUTE_MS, utc_text
from src.domain.costs import CostRates
from src.domain.errors import DataRefused, SettingsError
from src.domain.market import INTERVAL_MS
from src.market_data.coarse import minutes_from
from src.market_data.columns import Candles
from src.market_data.files import interval_name, read_funding, read_in_order
from src.market_data.store import MarketStore
from src.runtime.rule_loader import changed_figures, named, read_rules
from src.runtime.settings import Settings
from src.strategy.q_agent import QLearningAgent
from src.strategy.rules import DecisionRules

NewAgent = Callable[[DecisionRules], QLearningAgent]


@dataclass(frozen=True, slots=True)
class BacktestSpan:
    """Turns are taken in ``from_ms <= instant < to_ms``."""

    from_ms: int
    to_ms: int


@dataclass(frozen=True, slots=True)
class PastMarketData:
    """The market of a run: candles (also those before the span, to learn from and to warm up), funding, its span.

    ``source_ms`` is the length of the candles that the minutes were made of.
    """

    candles: Candles
    funding: dict[int, float]
    span: BacktestSpan
    source_ms: int = MINUTE_MS


def span_of(wish: argparse.Namespace, candles: Candles) -> BacktestSpan:
    """Return the span asked for; what is left out begins ``--train-days`` into the candles, or ends with them."""
    first = int(candles.open_ms[0]) + LEAST_WARM_UP * MINUTE_MS
    from_ms = first + wish.train_days * DAY_MS if not wish.from_text else days_of(wish.from_text)[0]
    to_ms = int(candles.open_ms[-1]) + MINUTE_MS if not wish.to_text else days_of(wish.to_text)[1]
    if from_ms >= to_ms:
        raise DataRefused(
            f"There is nothing between {utc_text(from_ms)[:10]} and {utc_text(to_ms)[:10]}; the candles reach from "
            f"{utc_text(int(candles.open_ms[0]))[:10]} to {utc_text(int(candles.open_ms[-1]))[:10]}."
        )
    return BacktestSpan(from_ms, to_ms)


def days_of(text: str) -> tuple[int, int]:
    """Return the first instant of a day or month in words, and the first one after it; ``SettingsError`` for none."""
    try:
        first = date.fromisoformat(text if len(text) > 7 else f"{text}-01")
    except ValueError as error:
        raise SettingsError((f"{text!r} is no date; write YYYY-MM or YYYY-MM-DD.",)) from error
    length = 1 if len(text) > 7 else calendar.monthrange(first.year, first.month)[1]
    return _instant(first), _instant(first + timedelta(days=length))


def _instant(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * 1_000


def past_of(wish: argparse.Namespace, sets: Sequence[DecisionRules]) -> PastMarketData:
    """Return the candles and funding rates named by ``--candles`` and ``--funding``, else those of the store.

    Before what the agent is taught by come as many candles as the indicators of ``sets`` want, where there are any.

    Raises:
        DataRefused: none, damaged, too few before the span, or coarser than the rules decide on.
    """
    store = MarketStore(wish.data)
    candles, source_ms = _from_files(wish.candles) if wish.candles else (store.candles(wish.pair), MINUTE_MS)
    _refuse_foretold(source_ms, sets)
    funding = store.funding(wish.pair)
    if wish.funding:
        funding = {at: rate for path in wish.funding for at, rate in read_funding(path).by_instant.items()}
    if len(candles) <= LEAST_WARM_UP:
        raise DataRefused(
            f"A backtest needs more than {LEAST_WARM_UP:,} one-minute candles; here are {len(candles):,}."
        )
    span = span_of(wish, candles)
    least_ms = span.from_ms - (wish.train_days * DAY_MS + warm_up_ms(sets))
    return PastMarketData(candles.between(least_ms, span.to_ms + MINUTE_MS), funding, span, source_ms)


def _from_files(paths: list[Path]) -> tuple[Candles, int]:
    """Return the minutes of all files, and the longest step that they were made of.

    Coarser candles become minutes that go through their four prices.
    """
    parts = read_in_order(paths)
    return Candles.joined([minutes_from(*part) for part in parts]), max(step for _, step in parts)


def _refuse_foretold(source_ms: int, sets: Iterable[DecisionRules]) -> None:
    """Refuse rules that decide on candles shorter than those that the market is known by.

    Minutes made of longer candles go straight from one extreme to the next: rules that look at them know what comes,
    and the result is worth nothing.
    """
    for rules in sets:
        if INTERVAL_MS[rules.candle_interval] < source_ms:
            known = interval_name(source_ms)
            raise DataRefused(
                f"{rules.name} decides on {rules.candle_interval} candles and --candles holds {known} ones, within "
                f"which prices are made up and can be foretold: give {rules.candle_interval} candles or shorter, or "
                f"take rules that decide on {known} candles or longer (candle_interval)."
            )


def settings_of(wish: argparse.Namespace) -> Settings:
    """Return the settings with ``--rules`` in place of their own ``RULES``: the bot would trade the same."""
    settings = Settings.load()
    return named(settings, wish.rules) if wish.rules else settings


def setup_of(wish: argparse.Namespace, settings: Settings) -> Setup:
    """Return the setup: the settings' account, limits, breaker and rules."""
    return Setup(
        symbol=wish.pair,
        rules=read_rules(settings),
        limits=settings.risk_limits,
        breaker=settings.breaker_limits,
        breaker_policy=BreakerPolicy(wish.breaker),
        balance=Decimal(wish.balance),
        taker_share=Decimal(wish.taker_fee),
        margin_type=settings.margin_type,
        rules_changed=changed_figures(settings),
    )


def agent_maker(wish: argparse.Namespace, setup: Setup, settings: Settings) -> NewAgent:
    """Return what makes an untaught agent for rules, with the account's costs."""
    cost = CostRates(taker_share=setup.taker_share, maker_share=setup.maker_share).one_way_share
    return lambda rules: QLearningAgent.for_rules(rules, cost, wish.exploration, settings.random_seed)


def taught_agent(
    wish: argparse.Namespace, past: PastMarketData, new_agent: NewAgent, rules: DecisionRules
) -> QLearningAgent:
    """Return the agent of ``--model``, else one taught by the candles before the span: nothing in it is known to it.

    Raises:
        ModelRefused: the file cannot be used.
        SettingsError: it was trained for other rules.
    """
    if wish.model:
        agent = QLearningAgent.load(wish.model, wish.exploration)
        misfit = agent.misfit(rules)
        if misfit:
            raise SettingsError((f"{wish.model} {misfit} ({rules.name}).",))
        return agent
    agent = new_agent(rules)
    teach_past(agent, past.candles.between(0, past.span.from_ms), past.span.from_ms - wish.train_days * DAY_MS)
    return agent

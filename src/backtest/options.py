"""Turns command-line options into the inputs of a backtest: span, candles, configuration, agent."""

import argparse
import calendar
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple

from src.backtest.config import BreakerPolicy, Setup
from src.backtest.engine import LEAST_WARM_UP
from src.backtest.training import teach_past, warm_up_ms
from src.domain.candle_names import SeriesKind, facts_of
from src.domain.clock import DAY_MS, MINUTE_MS, utc_text
from src.domain.costs import CostRates
from src.domain.errors import DataRefused, SettingsError
from src.domain.market import INTERVAL_MS
from src.market_data.coarse import minutes_from
from src.market_data.columns import Candles
from src.market_data.files import interval_name, read_funding, read_in_order
from src.market_data.store import MarketStore
from src.paper_exchange.contract_list import known_contracts
from src.runtime.rule_loader import changed_figures, named, names_targets, read_rules
from src.runtime.settings import Settings
from src.strategy.q_agent import QLearningAgent
from src.strategy.rules import DecisionRules

DEFAULT_PAIR: Final = "BTCUSDT"
NewAgent = Callable[[DecisionRules], QLearningAgent]


@dataclass(frozen=True, slots=True)
class BacktestSpan:
    """Turns are taken in ``from_ms <= instant < to_ms``."""

    from_ms: int
    to_ms: int


@dataclass(frozen=True, slots=True)
class PastMarketData:
    """The market of a run: candles (also those before the span, to learn from and to warm up), funding, its span.

    ``understood`` says of each source what it was taken for; ``source_ms`` is the length of the candles that the
    minutes were made of.
    """

    candles: Candles
    funding: dict[int, float]
    span: BacktestSpan
    understood: tuple[str, ...] = ()
    source_ms: int = MINUTE_MS


def span_of(command: argparse.Namespace, candles: Candles) -> BacktestSpan:
    """Return the span asked for; what is left out begins ``--train-days`` into the candles, or ends with them."""
    first = int(candles.open_ms[0]) + LEAST_WARM_UP * MINUTE_MS
    from_ms = first + command.train_days * DAY_MS if not command.from_text else days_of(command.from_text)[0]
    to_ms = int(candles.open_ms[-1]) + MINUTE_MS if not command.to_text else days_of(command.to_text)[1]
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


def pair_of(command: argparse.Namespace) -> str:
    """Return the contract: as given, else the one that the names of ``--candles`` say, else BTCUSDT.

    Raises:
        DataRefused: the names say another than the one given, or several.
    """
    files = (*(command.candles or ()), *(command.funding or ()))
    named_by = {facts_of(path.name).symbol: path.name for path in files}
    named_by.pop("", None)
    for symbol, name in named_by.items():
        if command.pair and symbol != command.pair:
            raise DataRefused(
                f"{name} is of {symbol} by its name, and the run is of {command.pair}; give --pair {symbol}."
            )
    if len(named_by) > 1:
        raise DataRefused(f"The files are of {' and '.join(sorted(named_by))}; give those of one contract.")
    return str(command.pair or next(iter(named_by), DEFAULT_PAIR))


def past_of(command: argparse.Namespace, sets: Sequence[DecisionRules]) -> PastMarketData:
    """Return the candles and funding rates named by ``--candles`` and ``--funding``, else those of the store.

    Before what the agent is taught by come as many candles as the indicators of ``sets`` want, where there are any.

    Raises:
        DataRefused: none, damaged, of another contract, too few before the span, or coarser than the rules decide on.
    """
    store, pair = MarketStore(command.data), pair_of(command)
    found = _from_files(command.candles, pair) if command.candles else _from_store(store, pair, command.from_text)
    _refuse_foretold(found.step_ms, sets)
    funding = rates_in(command.funding, pair) if command.funding else store.funding(pair)
    candles = found.minutes
    if len(candles) <= LEAST_WARM_UP:
        raise DataRefused(
            f"A backtest needs more than {LEAST_WARM_UP:,} one-minute candles; here are {len(candles):,}."
        )
    span = span_of(command, candles)
    least_ms = span.from_ms - (command.train_days * DAY_MS + warm_up_ms(sets))
    rates = f"{len(funding):,} recorded settlements of funding" if funding else "no recorded funding: 0.01 % each"
    said = (*found.understood, rates)
    return PastMarketData(candles.between(least_ms, span.to_ms + MINUTE_MS), funding, span, said, found.step_ms)


class _Minutes(NamedTuple):
    """One-minute candles, the longest step that they were made of, and what was understood of their source."""

    minutes: Candles
    step_ms: int
    understood: tuple[str, ...]


def _from_files(paths: list[Path], pair: str) -> _Minutes:
    """Return the minutes of all files; coarser candles become minutes that go through their four prices."""
    parts = read_in_order(paths)
    for each in parts:
        if each.file.symbol and each.file.symbol != pair:
            raise DataRefused(f"{each.file.name} is of {each.file.symbol}, and the run is of {pair}.")
        if each.file.series is SeriesKind.MARK:
            raise DataRefused(f"{each.file.name} holds mark prices; a backtest needs prices that were traded.")
    minutes = Candles.joined([minutes_from(each.candles, each.file.interval_ms) for each in parts])
    said = tuple(f"{each.file.name}: {each.file.understood}" for each in parts)
    return _Minutes(minutes, max(each.file.interval_ms for each in parts), said)


def _from_store(store: MarketStore, pair: str, from_text: str) -> _Minutes:
    """Return the minutes of a stored series: of the shortest candles that reach back to the span.

    Raises:
        DataRefused: none are stored.
    """
    intervals = store.intervals(pair)
    if not intervals:
        _refuse_other_series(store, pair)
        return _Minutes(store.candles(pair), MINUTE_MS, ())  # says what to fetch
    from_ms = days_of(from_text)[0] if from_text else 0
    stored = [(each, store.candles(pair, each)) for each in intervals]
    reaching = [
        (each, candles)
        for each, candles in stored
        if from_ms and int(candles.open_ms[0]) <= from_ms <= int(candles.open_ms[-1])
    ]
    interval, candles = (reaching or stored)[0]
    step_ms = INTERVAL_MS[interval]
    said = f"{store.candle_path(pair, interval).name}: {len(candles):,} stored candles of {interval}"
    return _Minutes(minutes_from(candles, step_ms), step_ms, (said,))


def _refuse_other_series(store: MarketStore, pair: str) -> None:
    for interval in store.intervals(pair, SeriesKind.SPOT):
        path = store.candle_path(pair, interval, SeriesKind.SPOT)
        raise DataRefused(f"Only spot candles of {pair} are stored; to trade on those, give --candles {path}.")


def rates_in(paths: Sequence[Path], pair: str) -> dict[int, float]:
    """Return the funding rates of several files; raises ``DataRefused`` where one is of another contract."""
    return {at: rate for path in paths for at, rate in rates_of(path, pair).items()}


def rates_of(path: Path, pair: str) -> dict[int, float]:
    """Return the funding rates of a file; raises ``DataRefused`` where it is of another contract."""
    rates = read_funding(path)
    if rates.symbol and rates.symbol != pair:
        raise DataRefused(f"{path.name} holds the funding of {rates.symbol}, and the run is of {pair}.")
    return rates.by_instant


def _refuse_foretold(source_ms: int, sets: Iterable[DecisionRules]) -> None:
    """Refuse rules that decide on candles shorter than those that the market is known by.

    Minutes made of longer candles go straight from one extreme to the next: rules that look at them know what comes,
    and the result is worth nothing.
    """
    for rules in sets:
        if INTERVAL_MS[rules.candle_interval] < source_ms:
            known = interval_name(source_ms)
            raise DataRefused(
                f"{rules.name} decides on {rules.candle_interval} candles and there are {known} ones, within "
                f"which prices are made up and can be foretold: give {rules.candle_interval} candles or shorter, or "
                f"take rules that decide on {known} candles or longer (candle_interval)."
            )


def settings_of(command: argparse.Namespace) -> Settings:
    """Return the settings with ``--rules`` in place of their own ``RULES``: the bot would trade the same.

    Where ``RULES`` names a strategy of targets, one pair is traded by ``safety_first``; ``--strategy`` runs targets.
    """
    settings = Settings.load()
    if command.rules or names_targets(settings):
        return named(settings, command.rules or "safety_first")
    return settings


def setup_of(command: argparse.Namespace, settings: Settings) -> Setup:
    """Return the setup: the settings' account, limits, breaker and rules."""
    pair, listed = pair_of(command), known_contracts(command.data)
    return Setup(
        symbol=pair,
        contract=listed.contract(pair),
        brackets_assumed=pair in listed.assumed,
        rules=read_rules(settings),
        limits=settings.risk_limits,
        breaker=settings.breaker_limits,
        breaker_policy=BreakerPolicy(command.breaker),
        balance=command.balance,
        taker_share=command.taker_fee,
        margin_type=settings.margin_type,
        rules_changed=changed_figures(settings),
    )


def agent_maker(command: argparse.Namespace, setup: Setup, settings: Settings) -> NewAgent:
    """Return what makes an untaught agent for rules, with the account's costs."""
    cost = CostRates(taker_share=setup.taker_share, maker_share=setup.maker_share).one_way_share
    return lambda rules: QLearningAgent.for_rules(rules, cost, float(command.exploration), settings.random_seed)


def taught_agent(
    command: argparse.Namespace, past: PastMarketData, new_agent: NewAgent, rules: DecisionRules
) -> QLearningAgent:
    """Return the agent of ``--model``, else one taught by the candles before the span: nothing in it is known to it.

    Raises:
        ModelRefused: the file cannot be used.
        SettingsError: it was trained for other rules.
    """
    if command.model:
        agent = QLearningAgent.load(command.model, float(command.exploration))
        misfit = agent.misfit(rules)
        if misfit:
            raise SettingsError((f"{command.model} {misfit} ({rules.name}).",))
        return agent
    agent = new_agent(rules)
    teach_past(agent, past.candles.between(0, past.span.from_ms), past.span.from_ms - command.train_days * DAY_MS)
    return agent

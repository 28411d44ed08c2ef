"""Carries out ``python3 -m src.backtest run --strategy NAME``: a portfolio backtest from words to report."""

import argparse
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, replace

from src.backtest.config import BreakerPolicy
from src.backtest.evidence_command import evidence_history, evidence_rules
from src.backtest.options import BacktestSpan, days_of
from src.backtest.portfolio_engine import run_portfolio
from src.backtest.portfolio_figures import buy_and_hold, goals, portfolio_summary
from src.backtest.portfolio_files import by_pair, funding_by_pair, lean_minutes, stored_minutes
from src.backtest.portfolio_outcome import PortfolioOutcome
from src.backtest.portfolio_page import HEAD, deflated_sentence, portfolio_rows, starts_rows, write_portfolio_report
from src.backtest.portfolio_setup import PortfolioSetup
from src.backtest.portfolio_starts import band, month_starts, staggered
from src.backtest.reports import report_folder
from src.domain.candle_names import facts_of
from src.domain.clock import MINUTE_MS, monotonic_s, utc_text
from src.domain.errors import DataRefused
from src.domain.market import INTERVAL_MS
from src.market_data.columns import Candles
from src.market_data.store import MarketStore
from src.runtime.rule_loader import changed_target_figures, read_target_rules
from src.runtime.settings import Settings
from src.runtime.strategy_loader import LoadedStrategy, check_missing
from src.strategy.evidence import NO_EVIDENCE
from src.strategy.target_rules import TargetRules
from src.strategy.trend_portfolio import constant_volatility

Show = Callable[[tuple[str, ...], list[tuple[str, ...]]], None]
Bar = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]


def run_portfolio_command(command: argparse.Namespace, show: Show, bar: Bar) -> None:
    """Carry out the command: read, run, run the peer and the monthly starts, write the report, print the figures."""
    settings = Settings.load()
    rules = read_target_rules(settings, command.strategy, command.strategies)
    candles = past_candles(command, rules)
    funding = past_funding(command, tuple(candles))
    counted = evidence_rules(rules.evidence, command.evidence)
    setup = portfolio_setup(command, settings, rules)
    from_ms = days_of(command.from_text)[0] if command.from_text else None
    to_ms = days_of(command.to_text)[1] if command.to_text else None
    known = evidence_history(command, counted, candles, _span_of(candles), _longest_step(command, tuple(candles)))
    setup = replace(setup, evidence_rules=counted, evidence=known)
    strategy, began_s = rules.build(), monotonic_s()
    outcome = run_portfolio(
        candles, strategy, setup, from_ms=from_ms, to_ms=to_ms, funding=funding, every_minute=command.every_turn
    )
    took_s = monotonic_s() - began_s
    span = (outcome.from_ms, int(outcome.instants[-1]))
    peer = _peer(candles, rules, replace(setup, evidence_rules=NO_EVIDENCE), span, funding)
    facts = portfolio_summary(outcome, setup, rules, candles, peer, command.name or _default_name(rules, span))
    if not command.no_starts and (total := len(month_starts(*span))):
        with bar("monthly starts", total) as done:
            starts = staggered(candles, strategy, setup, span, funding, done)
        facts |= {"starts": [asdict(each) for each in starts], "starts_band": band(starts)}
    folder = report_folder(command.reports, str(facts["name"]))
    hold = buy_and_hold(outcome, candles, float(setup.taker_share))
    write_portfolio_report(folder, outcome, facts, hold)
    show(HEAD, portfolio_rows(facts))
    show(("goal", "found", ""), list(goals(facts)))
    if starts_rows(facts):
        show(("begun in each month", "lowest", "middle", "highest"), starts_rows(facts))
    for line in changed_sentences(rules, setup):
        print(line)
    if isinstance(rules.own, LoadedStrategy) and (missing := check_missing(settings.state_dir, rules.own.file)):
        print(missing)
    print(deflated_sentence(facts))
    minutes = sum(len(each.between(*span)) for each in candles.values())
    print(f"{minutes:,} minutes of {len(candles)} pairs in {took_s:.1f} s; report: {folder / 'index.html'}")


def portfolio_setup(command: argparse.Namespace, settings: Settings, rules: TargetRules) -> PortfolioSetup:
    """Return the setup: the rule set's limits as the settings change them, the settings' breaker, the words' costs."""
    return PortfolioSetup(
        limits=rules.limits,
        breaker=settings.breaker_limits,
        breaker_policy=BreakerPolicy(command.breaker),
        balance=command.balance,
        taker_share=command.taker_fee,
        data=command.data,
        margin_type=settings.margin_type,
        rules_changed=changed_target_figures(settings, command.strategy, command.strategies),
    )


def _peer(
    candles: Mapping[str, Candles],
    rules: TargetRules,
    setup: PortfolioSetup,
    span: tuple[int, int],
    funding: Mapping[str, Mapping[int, float]],
) -> PortfolioOutcome | None:
    """Return the same pairs at constant volatility; None where there is too little history before the span."""
    peer = constant_volatility(rules.peer_rules())
    try:
        return run_portfolio(candles, peer, setup, from_ms=span[0], to_ms=span[1], funding=funding)
    except DataRefused:
        return None


def past_candles(command: argparse.Namespace, rules: TargetRules) -> dict[str, Candles]:
    """Return the minutes of each pair: of ``--pairs``, else those of the files given, else the rule set's."""
    asked = tuple(command.pairs.split(",")) if command.pairs else ()
    if command.candles:
        files = by_pair(command.candles)
        missing = [pair for pair in asked if pair not in files]
        if missing:
            raise DataRefused(f"--candles holds no file of {', '.join(missing)}.")
        return {pair: lean_minutes(files[pair], rules.candle_interval) for pair in asked or files}
    store = MarketStore(command.data)
    return {pair: stored_minutes(store, pair) for pair in asked or rules.pairs}


def _span_of(candles: Mapping[str, Candles]) -> BacktestSpan:
    """Return the instants between which any pair has candles."""
    first = min(int(each.open_ms[0]) for each in candles.values())
    return BacktestSpan(first, max(int(each.open_ms[-1]) for each in candles.values()) + MINUTE_MS)


def _longest_step(command: argparse.Namespace, pairs: tuple[str, ...]) -> int:
    """Return the length of the longest candles that the minutes are made of, by the files' names or the store."""
    if command.candles:
        return max(facts_of(each.name).interval_ms for each in command.candles)
    store = MarketStore(command.data)
    return max(INTERVAL_MS[store.intervals(pair)[0]] for pair in pairs)


def past_funding(command: argparse.Namespace, pairs: tuple[str, ...]) -> dict[str, dict[int, float]]:
    """Return the recorded funding rates of each pair, of ``--funding`` or of the store."""
    if command.funding:
        return funding_by_pair(command.funding)
    store = MarketStore(command.data)
    return {pair: store.funding(pair) for pair in pairs}


def _default_name(rules: TargetRules, span: tuple[int, int]) -> str:
    return f"{rules.name}-{utc_text(span[0])[:10]}-{utc_text(span[1] - 1)[:10]}"


def changed_sentences(rules: TargetRules, setup: PortfolioSetup) -> Iterator[str]:
    """Yield what the settings change in a rule set, in a sentence."""
    if setup.rules_changed:
        yield f"The settings change {rules.name}: {'; '.join(setup.rules_changed)}."

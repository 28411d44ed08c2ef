"""Carries out ``sweep`` and ``walk-forward`` of a strategy of targets."""

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np

from src.backtest.deflated import Deflated, daily_ratio, deflated_sharpe
from src.backtest.html_report import ratio
from src.backtest.options import days_of
from src.backtest.portfolio_command import Bar, Show, changed_sentences, past_candles, past_funding, portfolio_setup
from src.backtest.portfolio_sweep import (
    PortfolioFold,
    PortfolioPast,
    PortfolioWalk,
    kinds_of,
    sweep_portfolio,
    walk_portfolio,
)
from src.backtest.reports import report_folder, write_whole
from src.backtest.sweep import SweepResult
from src.backtest.variants import Variant, parse_grid, variants
from src.domain.clock import DAY_MS, monotonic_s, utc_text
from src.domain.errors import DataRefused, SettingsError
from src.domain.market import INTERVAL_MS
from src.domain.metrics import sharpe
from src.runtime.rule_loader import read_target_rules
from src.runtime.settings import Settings


def portfolio_past(command: argparse.Namespace) -> PortfolioPast:
    """Return what the options say: strategy, candles, funding, limits and costs."""
    settings = Settings.load()
    rules = read_target_rules(settings, command.strategy, command.strategies)
    candles = past_candles(command, rules)
    setup = portfolio_setup(command, settings, rules)
    return PortfolioPast(candles, past_funding(command, tuple(candles)), rules, setup)


def strategy_variants(command: argparse.Namespace, past: PortfolioPast) -> list[Variant]:
    """Return the variants that ``--grid`` asks for; ``SettingsError`` for none."""
    kinds = kinds_of(past.rules)
    if not command.grid:
        raise SettingsError(
            (f"Name something to vary with --grid NAME=A,B; {past.rules.name} has {', '.join(kinds)}.",)
        )
    return variants(parse_grid(command.grid, kinds), command.random, command.seed)


def sweep_strategy(command: argparse.Namespace, bar: Bar) -> tuple[SweepResult, Path, float]:
    """Carry out a sweep; return its result, the report's folder and the seconds it took."""
    past = portfolio_past(command)
    tried = strategy_variants(command, past)
    span = (
        days_of(command.from_text)[0] if command.from_text else None,
        days_of(command.to_text)[1] if command.to_text else None,
    )
    folder = report_folder(command.reports, command.name or f"sweep-{past.rules.name}")
    began_s = monotonic_s()
    with bar("variants", len(tried)) as done:
        result = sweep_portfolio(
            past, tried, span, log=folder / "sweep.jsonl", workers=command.workers, ray=command.ray, progress=done
        )
    print(*changed_sentences(past.rules, past.setup), sep="\n", end="")
    return result, folder, monotonic_s() - began_s


def span_out_of_sample(command: argparse.Namespace, past: PortfolioPast) -> tuple[int, int]:
    """Return the first and the last instant out of sample: after warm-up and training where ``--from`` is left out.

    Raises:
        DataRefused: the candles do not reach so far back.
    """
    first = min(int(each.open_ms[0]) for each in past.candles.values())
    last = max(int(each.open_ms[-1]) for each in past.candles.values()) + 60_000
    strategy = past.rules.build()
    least = first + (strategy.warm_up_candles + 1) * INTERVAL_MS[strategy.candle_interval] + command.train_days * DAY_MS
    least += -least % DAY_MS
    from_ms = days_of(command.from_text)[0] if command.from_text else least
    to_ms = min(days_of(command.to_text)[1], last) if command.to_text else last
    if from_ms < least:
        raise DataRefused(
            f"{past.rules.name} needs {strategy.warm_up_candles} candles of {strategy.candle_interval} and "
            f"{command.train_days} days of training before --from; these candles allow {utc_text(least)[:10]} or later."
        )
    if to_ms - from_ms < DAY_MS:
        raise DataRefused("The span out of sample is shorter than a day.")
    return from_ms, to_ms


def walk_strategy(command: argparse.Namespace, show: Show, of_luck: Callable[[Deflated], str]) -> None:
    """Carry out a walk-forward test and print what came of it."""
    past = portfolio_past(command)
    tried: list[Variant] = strategy_variants(command, past) if command.grid else [()]

    def told(fold: PortfolioFold) -> None:
        days = f"{utc_text(fold.test_ms)[:10]} .. {utc_text(fold.end_ms)[:10]}"
        print(f"{days}  {fold.return_share:>+8.2%}  {fold.trades:4} trades  {fold.chosen}")

    walk = walk_portfolio(
        past,
        tried,
        span_out_of_sample(command, past),
        train_days=command.train_days,
        test_days=command.test_days,
        progress=told,
    )
    folder = report_folder(command.reports, command.name or f"walk-{past.rules.name}")
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / "walk.json", json.dumps(asdict(walk), indent=1) + "\n")
    show(("out of sample", past.rules.name), _walk_rows(walk))
    returns = np.array(walk.daily_returns)
    print(of_luck(deflated_sharpe(returns, [daily_ratio(returns)] * len(tried), past.rules.tried)))
    print(f"{len(tried)} variants tried in each of {len(walk.folds)} folds; report: {folder / 'walk.json'}")


def _walk_rows(walk: PortfolioWalk) -> list[tuple[str, ...]]:
    returns = np.array(walk.daily_returns)
    worth = np.cumprod(1.0 + returns)
    deepest = float((1.0 - worth / np.maximum.accumulate(np.maximum(worth, 1.0))).max(initial=0.0))
    return [
        ("return", f"{worth[-1] - 1.0:+.2%}"),
        ("Sharpe, daily equity", ratio(sharpe(returns).as_dict())),
        ("deepest drawdown, daily", f"{deepest:.2%}"),
        ("trades", f"{sum(fold.trades for fold in walk.folds):,}"),
    ]

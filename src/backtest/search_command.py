"""Carries out ``sweep --trials N``: a guided search over walk-forward folds, with a sealed hold-out span."""

import argparse
import os
import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from src.backtest.deflated import Deflated
from src.backtest.fold_runner import Submit, TargetFolds, VoteFolds, fold_edges
from src.backtest.guided_search import OBJECTIVES, GuidedSearch, SearchResult, optuna_or_refusal
from src.backtest.html_report import part, ratio, share
from src.backtest.options import agent_maker, past_of, settings_of, setup_of
from src.backtest.portfolio_command import Bar, Show
from src.backtest.portfolio_sweep import Span, kinds_of
from src.backtest.portfolio_sweep_command import portfolio_past, span_out_of_sample
from src.backtest.search_space import Dimension, parse_space
from src.backtest.sweep import Sweep
from src.backtest.variants import KINDS, Variant, varied
from src.domain.clock import DAY_MS, SystemClock, monotonic_s, utc_text
from src.domain.errors import DataRefused, SettingsError
from src.domain.metrics import sharpe
from src.runtime.arguments import whole_number
from src.runtime.settings import Settings

_SHOWN = 10


def add_search(parser: argparse.ArgumentParser) -> None:
    """Add the options of a guided search."""
    add = parser.add_argument
    add("--trials", type=whole_number(0, 100_000), default=0, metavar="N", help="guided search: so many trials in all")
    add(
        "--objectives", default="sharpe", metavar="A,B", help=f"what is sought: {', '.join(OBJECTIVES)}; one or several"
    )
    add("--folds", type=whole_number(1, 100), default=5, help="walk-forward folds of a guided search")
    add("--holdout-days", type=whole_number(0, 3_650), default=60, help="days at the end that no trial sees")
    add("--open-holdout", action="store_true", help="try the best trial on the hold-out span: once in a study")
    add("--study", default="", metavar="NAME", help="name of the study, kept in STATE_DIR/studies")


class _Folds(Protocol):
    def running(self, workers: int = 0, ray: str = "") -> AbstractContextManager[Submit]:
        """Lend a function that has a variant worked out over a span."""


@dataclass(frozen=True, slots=True)
class _Task:
    """What is searched: its name, space, folds, inputs, and the span in which trials run and the hold-out lies."""

    name: str
    space: tuple[Dimension, ...]
    folds: _Folds
    span: Span
    inputs: dict[str, str]
    recorded: int


def guided_search(command: argparse.Namespace, show: Show, bar: Bar, of_luck: Callable[[Deflated], str]) -> None:
    """Carry out a guided search: go on with the study, print its best trials, open the hold-out span if asked to."""
    optuna_or_refusal()
    objectives = _objectives(command.objectives)
    task = _of_targets(command) if command.strategy else _of_votes(command)
    held = (task.span[1] - command.holdout_days * DAY_MS, task.span[1])
    if held[0] - task.span[0] < command.folds * 2 * DAY_MS:
        days = (held[0] - task.span[0]) / DAY_MS
        raise DataRefused(f"{days:.0f} days outside of the hold-out span are too few for {command.folds} folds.")
    folds = fold_edges(task.span[0], held[0], command.folds)
    path = _study_file(command.study or f"search-{task.name}")
    edges = {"folds": repr(folds), "hold-out span": repr(held), "space": repr(task.space)}
    search = GuidedSearch(
        task.space, folds, objectives, storage=path, inputs=task.inputs | edges, seed=command.seed,
        recorded=task.recorded,
    )  # fmt: skip
    began_s, workers = monotonic_s(), command.workers or os.cpu_count() or 1
    with task.folds.running(workers, command.ray) as submit:
        with bar("trials", command.trials) as done:
            result = search.run(command.trials, submit, workers, done)
        if command.open_holdout and command.holdout_days:
            search.open_holdout(held, submit, utc_text(SystemClock().now_ms())[:16])
    _tell(search, result, show, of_luck)
    _tell_holdout(search, held, bool(command.holdout_days))
    print(f"{monotonic_s() - began_s:.1f} s; study: {path}")


def _objectives(text: str) -> tuple[str, ...]:
    found = tuple(dict.fromkeys(each.strip() for each in text.split(",")))
    unknown = [each for each in found if each not in OBJECTIVES]
    if unknown:
        raise SettingsError((f"--objectives {unknown[0]!r} is unknown; known are {', '.join(OBJECTIVES)}.",))
    return found


def _study_file(name: str) -> Path:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name):
        raise SettingsError((f"--study {name!r} is no name: letters, digits, dots, dashes and underscores.",))
    return Settings.load().state_dir.resolve() / "studies" / f"{name}.db"


def _of_targets(command: argparse.Namespace) -> _Task:
    past = portfolio_past(command)
    kinds = kinds_of(past.rules)
    if not command.grid:
        raise SettingsError(
            (f"Name something to vary with --grid NAME=A..B; {past.rules.name} has {', '.join(kinds)}.",)
        )
    space = parse_space(command.grid, kinds)
    span = span_out_of_sample(command, past)
    return _Task(past.rules.name, space, TargetFolds(past), span, past.inputs(span), past.rules.tried)


def _of_votes(command: argparse.Namespace) -> _Task:
    if command.model:
        raise SettingsError(("A guided search teaches its own agents in each fold; leave --model out.",))
    if not command.grid:
        raise SettingsError(("Name something to vary, for example --grid stop_loss_share=0.005..0.05.",))
    settings = settings_of(command)
    setup, space = setup_of(command, settings), parse_space(command.grid, KINDS)
    past = past_of(command, [varied(setup, each).rules for each in _corners(space)])
    new_agent = agent_maker(command, setup, settings)
    span = (past.span.from_ms, past.span.to_ms)
    inputs = Sweep(
        candles=past.candles, setup=setup, taught=new_agent, from_ms=span[0], to_ms=span[1], funding=past.funding
    ).inputs()
    folds = VoteFolds(past, setup, new_agent, command.train_days)
    return _Task(f"{setup.symbol}-{setup.rules.name}", space, folds, span, inputs, setup.rules.tried)


def _corners(space: tuple[Dimension, ...]) -> list[Variant]:
    """Return variants that hold every value of every dimension at least once."""
    texts = [each.values or (f"{each.low:g}", f"{each.high:g}") for each in space]
    most = max(len(each) for each in texts)
    rows = [[values[min(number, len(values) - 1)] for values in texts] for number in range(most)]
    return [tuple(zip((each.name for each in space), row, strict=True)) for row in rows]


def _tell(search: GuidedSearch, result: SearchResult, show: Show, of_luck: Callable[[Deflated], str]) -> None:
    rows: list[tuple[str, ...]] = [
        (
            f"{row.number}", row.variant, f"{row.figures['sharpe']:.3f}", part(row.figures["drawdown"]),
            share(row.figures["return"]),
        )
        for row in result.best[:_SHOWN]
    ]  # fmt: skip
    show(("trial", "variant", "daily Sharpe", "drawdown", "return"), rows)
    pruned = sum(row.pruned for row in result.trials)
    print(
        f"{len(result.trials):,} trials, {pruned:,} of them given up before their last fold. {of_luck(result.deflated)}"
    )


def _tell_holdout(search: GuidedSearch, span: Span, exists: bool) -> None:
    days = f"{utc_text(span[0])[:10]} .. {utc_text(span[1] - 1)[:10]}"
    found: dict[str, Any] | None = search.opened
    if not exists:
        print("There is no hold-out span (--holdout-days 0): nothing of these candles is left to prove the choice by.")
    elif found is None:
        print(f"The hold-out span {days} is sealed: no trial has seen it; --open-holdout opens it, once.")
    else:
        row = found["row"]
        known = ratio(sharpe(np.array(row["daily_returns"])).as_dict())
        print(f"{search.opened_sentence()} {days}: return {share(row['return_share'])}, Sharpe {known}.")

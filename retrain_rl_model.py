#!/usr/bin/env python3
"""Floor 5, script: retrains the RL model from the bot's own signals and trades, or from past candles."""

# ruff: noqa: E402  the first import may start this script anew with the Python that has the others

from src.domain.version import VERSION_LINE
from src.runtime.venv_reexec import use_project_python

use_project_python()

import argparse
import json
import logging
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from types import FrameType
from typing import Any, Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from src.backtest.config import Setup
from src.backtest.options import rates_of
from src.domain.clock import DAY_MS, SystemClock, monotonic_s, utc_text
from src.domain.costs import CostRates
from src.domain.errors import (
    DataRefused,
    ModelRefused,
    SettingsError,
    StoreCorrupt,
    StoreUnavailable,
    StoreUnwritable,
    SuiteError,
)
from src.domain.market import INTERVAL_MS
from src.runtime.arguments import whole_number
from src.runtime.logging_setup import LineFormatter, LogHandler, RepeatFilter, Sink, hide
from src.runtime.process import AlreadyRunning, single_instance
from src.runtime.rule_loader import names_targets, read_rules
from src.runtime.settings import PROJECT_ROOT, Settings
from src.storage.database import TradingDatabase
from src.storage.rows import Owner
from src.strategy.indicators import WARM_UP_CANDLES
from src.strategy.q_agent import QLearningAgent, features_of, migrate_pickle
from src.strategy.rules import DecisionRules, thresholds
from src.training.checkpoints import ModelFiles, NoCheckpoint
from src.training.dataset import BEST_SIGNALS, LEAST_SIGNALS, Samples, samples_of_candles, samples_of_database
from src.training.episodes import Episode, EpisodeRunner
from src.training.evaluation import ModelEvaluator
from src.training.trainer import (
    EPISODES,
    RECENT,
    ModelTrainer,
    TrainingRequest,
    TrainingResult,
    analytics_of,
    unseen_figures,
)

EX_OK: Final = 0
EX_NOT_BETTER: Final = 10
EX_DATAERR: Final = 65
EX_NOINPUT: Final = 66
EX_UNAVAILABLE: Final = 69
EX_CANTCREAT: Final = 73
EX_TEMPFAIL: Final = 75
EX_CONFIG: Final = 78
EX_INTERRUPTED: Final = 130
EXAMPLES: Final = """examples:
  python3 retrain_rl_model.py                       from the bot's own signals and trades
  python3 retrain_rl_model.py --dry-run             what it would learn from, and how long it would take
  python3 retrain_rl_model.py --candles BTCUSDT-1m-2024-01.zip BTCUSDT-1m-2024-02.zip
  python3 retrain_rl_model.py --json > result.json  for a program
  python3 retrain_rl_model.py --resume              go on after Ctrl-C
  python3 retrain_rl_model.py --rollback            put the last other model back

A running bot takes a promoted model over at its next turn; it need not be stopped.

exit codes: 0 promoted (or done), 10 trained but not better, 2 usage, 65 bad data, 66 nothing to learn from,
69 a source is down, 73 cannot write, 75 another retraining runs, 78 wrong settings, 130 interrupted
"""
CODES: Final[tuple[tuple[type[Exception], int], ...]] = (  # the first that fits
    (SettingsError, EX_CONFIG),
    (AlreadyRunning, EX_TEMPFAIL),
    (NoCheckpoint, EX_NOINPUT),
    (DataRefused, EX_DATAERR),
    (ModelRefused, EX_DATAERR),
    (StoreCorrupt, EX_DATAERR),
    (StoreUnwritable, EX_CANTCREAT),
    (StoreUnavailable, EX_UNAVAILABLE),
    (SuiteError, EX_UNAVAILABLE),
    (OSError, EX_CANTCREAT),
)

OWN_LOGS: Final = ("retrain_rl_model", "src.training.trainer", "src.storage.database", "src.rl_")
"""Whose records are written: the trader's would tell of entries and trips that only the judgement made up."""

log = logging.getLogger("retrain_rl_model")


def main(arguments: list[str] | None = None) -> int:
    """Do what the command line says and return the exit code."""
    asked = parser().parse_args(arguments)
    os.umask(0o077)
    try:
        settings = Settings.load(asked.env_file)
        hide(*settings.secrets())
        if names_targets(settings) and not asked.rollback and asked.migrate is None:
            return tell_without_agent(asked, settings)
        if asked.dry_run:
            return explain(asked, settings)
        with log_file(settings), told_to_the_log(), single_instance("retraining", settings.model_path.parent):
            return retrain(asked, settings)
    except (SuiteError, OSError) as error:
        if asked.debug:
            raise
        print("\n".join(error.problems) if isinstance(error, SettingsError) else str(error), file=sys.stderr)
        return next(code for kind, code in CODES if isinstance(error, kind))
    except KeyboardInterrupt:  # before anything was learnt; later it leaves a checkpoint
        print("Broken off; nothing was changed.", file=sys.stderr)
        return EX_INTERRUPTED


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    made = argparse.ArgumentParser(
        prog="retrain_rl_model.py",
        description="Retrain the RL model; it replaces the present one only if it does better on unseen data.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--version", action="version", version=VERSION_LINE)
    made.add_argument("--candles", nargs="+", type=Path, metavar="FILE", help="one pair's one-minute candles instead")
    made.add_argument("--funding", type=Path, metavar="FILE", help="that pair's funding rates (else 0.01 %% each)")
    made.add_argument("--days", type=whole_number(1, 3_650), default=30, help="how far back signals are taken (30)")
    made.add_argument(
        "--episodes",
        type=whole_number(1, 1_000_000),
        default=EPISODES,
        help=f"how often the data are heard ({EPISODES})",
    )
    made.add_argument(
        "--seed", type=whole_number(0), default=None, help="same seed, same data: same model (RANDOM_SEED)"
    )
    what = made.add_mutually_exclusive_group()
    what.add_argument("--resume", action="store_true", help="go on with an interrupted run")
    what.add_argument("--rollback", action="store_true", help="put the last other model back")
    what.add_argument("--migrate", type=Path, metavar="PICKLE", help="take over the table of an old pickle, safely")
    what.add_argument("-n", "--dry-run", action="store_true", help="say what would be done, write nothing")
    made.add_argument("--force", action="store_true", help="promote the new model even if it is not better")
    made.add_argument("--json", action="store_true", help="the result as JSON on standard output")
    made.add_argument("--no-color", action="store_true", help="plain text (also: NO_COLOR=1)")
    made.add_argument("--debug", action="store_true", help="show where an error comes from")
    made.add_argument("--env-file", type=Path, default=PROJECT_ROOT / ".env", help="another .env")
    return made


def retrain(asked: argparse.Namespace, settings: Settings) -> int:
    """Retrain, roll back or migrate; print the outcome and return the exit code."""
    files, clock = ModelFiles(settings.model_path), SystemClock()
    if asked.rollback:
        restored = files.roll_back(clock.now_ms())
        log.info("rolled back: backup=%s", restored.name)
        say(asked, {"status": "rolled_back", "backup_file": restored.name}, f"Rolled back to {restored.name}.")
        return EX_OK
    if asked.migrate is not None:
        agent = migrate_pickle(asked.migrate)
        files.back_up(clock.now_ms())
        digest = agent.save(files.model, clock.now_ms())
        told = {"status": "migrated", "model_file": files.model.name, "model_sha256": digest}
        say(asked, told, f"{asked.migrate} was taken over into {files.model}.")
        return EX_OK
    database = open_database(settings)
    try:
        return train(asked, settings, files, database)
    finally:
        database.close()


def train(asked: argparse.Namespace, settings: Settings, files: ModelFiles, database: TradingDatabase) -> int:
    """Check, train, judge, promote; print the outcome and return the exit code."""
    rules = read_rules(settings)
    samples = read_samples(asked, rules, database)
    screen = Console(stderr=True, no_color=asked.no_color or None, highlight=False, soft_wrap=True)
    refuse_too_few(samples, rules, of_file=bool(asked.candles))
    screen.print(found_in_words(samples))
    stop = Event()
    seed = settings.random_seed if asked.seed is None else asked.seed
    order = TrainingRequest(asked.episodes, seed, asked.force, asked.resume)
    judge = judge_of(asked, settings, rules, samples, stop)
    t = thresholds(rules, judge_setup(settings, rules, samples).limits_in_force)
    with stopped_by_signals(stop) as number, shown_progress(screen, order.episodes) as show:
        log.info("retraining begins: %s", found_in_words(samples))
        run = ModelTrainer(
            samples=samples,
            judge=judge,
            t=t,
            blank=lambda: untaught(rules),
            files=files,
            database=database,
            clock=SystemClock(),
            stop=stop,
            on_episode=show,
        )
        result = run.run(order, rules.name)
    told = as_json(result, samples, order, rules, files)
    if result.status == "interrupted":
        say(asked, told, result.verdict)
        return 128 + number[0] if number else EX_INTERRUPTED
    say(asked, told, in_words(result, order.episodes, files))
    return EX_OK if result.status == "promoted" else EX_NOT_BETTER


def tell_without_agent(asked: argparse.Namespace, settings: Settings) -> int:
    """Say that the strategy has no agent to retrain; nothing is done."""
    text = (
        f"{settings.rules} decides without an agent, so there is nothing to retrain. "
        "To train one, name rules of votes: RULES=safety_first python3 retrain_rl_model.py"
    )
    say(asked, {"status": "no_agent", "rules": settings.rules, "verdict": text}, text)
    return EX_OK


def explain(asked: argparse.Namespace, settings: Settings) -> int:
    """Say what would be learnt from and how long it would take; nothing is written."""
    rules = read_rules(settings)
    if asked.candles:
        samples = samples_of_candles(asked.candles, rules)
    else:
        samples = samples_of_own_file(settings, rules, asked.days)
    refuse_too_few(samples, rules, of_file=bool(asked.candles))
    setup = judge_setup(settings, rules, samples)
    pupil = EpisodeRunner(untaught(rules), samples, thresholds(rules, setup.limits_in_force), 1.0, (asked.seed or 0,))
    pupil.learn_until(1, lambda: False, lambda _episode: None)  # makes the machine code ready
    began_s = monotonic_s()
    pupil.learn_until(4, lambda: False, lambda _episode: None)
    expected_s = (monotonic_s() - began_s) / 3 * asked.episodes
    told = {
        "status": "dry_run",
        **facts_of(samples, rules),
        "features": [feature.name for feature in features_of(rules.trend_intervals)],
        "training_s": round(expected_s, 2),
    }
    text = f"{found_in_words(samples)}\nAbout {expected_s:.1f} s of training a step. Nothing was written."
    say(asked, told, text)
    return EX_OK


def read_samples(asked: argparse.Namespace, rules: DecisionRules, database: TradingDatabase) -> Samples:
    """Return what the command line asks to learn from."""
    if asked.candles:
        return samples_of_candles(asked.candles, rules)
    return samples_of_database(database, rules, asked.days)


def samples_of_own_file(settings: Settings, rules: DecisionRules, days: int) -> Samples:
    """Return the samples of the database without changing it."""
    database = TradingDatabase(settings.database_url, owner_of(settings), read_only=True)
    try:
        return samples_of_database(database, rules, days)
    finally:
        database.close()


def refuse_too_few(samples: Samples, rules: DecisionRules, *, of_file: bool) -> None:
    """Raise ``NoCheckpoint`` where there is not enough to learn from; of a file, say how long it must be."""
    ready = int((samples.state >= 0).sum())
    if ready >= LEAST_SIGNALS:
        return
    found = "1 signal" if ready == 1 else f"{ready} signals"
    lacking = f"{found} to learn from, at least {LEAST_SIGNALS} are needed"
    if not of_file:
        raise NoCheckpoint(f"{lacking}: let the bot run longer, or train from past candles with --candles FILE.")
    needed_ms = (WARM_UP_CANDLES + LEAST_SIGNALS) * INTERVAL_MS[rules.candle_interval]
    raise NoCheckpoint(
        f"{lacking}: {rules.name} decides on {rules.candle_interval} candles and needs {WARM_UP_CANDLES} of them "
        f"before the first signal, so the file must hold at least {-(-needed_ms // DAY_MS)} days of one-minute candles."
    )


def open_database(settings: Settings) -> TradingDatabase:
    """Return the database, brought up to date."""
    database = TradingDatabase(settings.database_url, owner_of(settings))
    database.migrate()
    return database


def owner_of(settings: Settings) -> Owner:
    """Return whose signals and trades count."""
    return Owner(settings.bot_id, settings.mode, settings.world)


def untaught(rules: DecisionRules) -> QLearningAgent:
    """Return a new agent for these rules."""
    return QLearningAgent.for_rules(rules, CostRates().one_way_share)


def judge_setup(settings: Settings, rules: DecisionRules, samples: Samples) -> Setup:
    """Return what the unseen data are traded with."""
    symbol = samples.symbols[0] if samples.symbols else settings.pairs[0]
    return Setup(symbol=symbol, rules=rules, limits=settings.risk_limits)


def judge_of(
    asked: argparse.Namespace, settings: Settings, rules: DecisionRules, samples: Samples, stop: Event
) -> ModelEvaluator:
    """Return who judges the models."""
    setup = judge_setup(settings, rules, samples)
    funding = None if asked.funding is None else rates_of(asked.funding, samples.symbols[0])
    return ModelEvaluator(samples, setup, thresholds(rules, setup.limits_in_force), stop, funding)


def found_in_words(samples: Samples) -> str:
    """Return one or two sentences on what there is to learn from."""
    first_ms, last_ms = samples.span_ms
    found = (
        f"Found {len(samples):,} signals and {len(samples.outcomes.row):,} finished trades of "
        f"{', '.join(samples.symbols)} from {utc_text(first_ms)[:16]} to {utc_text(last_ms)[:16]} ({samples.source})."
    )
    few = f" {BEST_SIGNALS:,} or more are better." if len(samples) < BEST_SIGNALS else ""
    return found + few


def in_words(result: TrainingResult, episodes: int, files: ModelFiles) -> str:
    """Return the analytics and the judgement for a person."""
    seen = analytics_of(result.episodes)
    best = seen.best
    lines = ["📊 RETRAINING ANALYTICS", "🏆 Best Performance:"]
    if best is None:
        lines += ["   No episode traded: the rules and the agent never agreed on an entry."]
    else:
        lines += [f"   Episode: {best.number}", f"   Win Rate: {percent(best.win_rate)}"]
        lines += [f"   Avg Reward: {best.reward_mean:.2f}"]
    span = min(RECENT, max(len(result.episodes) // 2, 1))
    lines += ["", f"📈 Recent Performance (Last {span} Episodes):"]
    lines += [f"   Avg Win Rate: {percent(seen.recent_win_rate)}", f"   Avg Trades/Episode: {seen.recent_trades:.0f}"]
    lines += ["", "🎯 Learning Progress:", f"   Early Win Rate: {percent(seen.early_win_rate)}"]
    lines += [f"   Recent Win Rate: {percent(seen.recent_win_rate)}"]
    lines += [f"   Improvement: {'unknown' if seen.improvement is None else f'{seen.improvement:+.1%}'}"]
    lines += ["", "⏱️  Training Summary:", f"   Episodes: {episodes}", f"   Duration: {result.duration_s:.1f} seconds"]
    lines += ["   The figures above are of data the model has learnt from; only those below tell what it is worth."]
    lines += ["", "⚖️  Unseen Data (after costs):", *judgement_lines(result), "", result.verdict]
    if result.status == "promoted":
        lines += [f"✅ New model in {files.model}; a running bot takes it over at its next turn."]
    else:
        lines += ["The present model stays; --force replaces it all the same."]
    return "\n".join(lines)


def judgement_lines(result: TrainingResult) -> list[str]:
    """Return what each brought on unseen data, a line each."""
    rows = [("New model", result.candidate)] + ([("Present model", result.present)] if result.present else [])
    lines = [f"   {name}: {score.net_return:+.2%} in {score.trades} trades" for name, score in rows]
    if result.present_had_seen:
        lines[-1] += " (it may have learnt from these data already, which counts in its favour)"
    lines += ["   No trading: +0.00%", f"   Buy and hold, no leverage: {result.buy_and_hold.net_return:+.2%}"]
    return lines


def facts_of(samples: Samples, rules: DecisionRules) -> dict[str, Any]:
    """Return what is learnt from and by which rules, for a program."""
    first_ms, last_ms = samples.span_ms
    return {
        "source": samples.source,
        "symbols": list(samples.symbols),
        "samples": len(samples),
        "trades": len(samples.outcomes.row),
        "data_start": utc_text(first_ms),
        "data_end": utc_text(last_ms),
        "rules": rules.name,
        "candle_interval": rules.candle_interval,
    }


def as_json(
    result: TrainingResult, samples: Samples, order: TrainingRequest, rules: DecisionRules, files: ModelFiles
) -> dict[str, Any]:
    """Return the result for a program (docs/retraining.schema.json)."""
    seen = analytics_of(result.episodes)
    best = seen.best
    return {
        "status": result.status,
        "verdict": result.verdict,
        **facts_of(samples, rules),
        "data_sha256": samples.data_sha256,
        "seed": order.seed,
        "episodes": len(result.episodes),
        "duration_s": round(result.duration_s, 3),
        "best": None
        if best is None
        else {"episode": best.number, "win_rate": best.win_rate, "reward_mean": best.reward_mean},
        "recent": {"win_rate": seen.recent_win_rate, "trades_per_episode": seen.recent_trades},
        "early": {"win_rate": seen.early_win_rate},
        "improvement": seen.improvement,
        "unseen": None if result.status == "interrupted" else unseen_figures(result),
        "model_file": str(files.model) if result.model_sha256 else None,
        "model_sha256": result.model_sha256 or None,
        "backup_file": None if result.backup is None else result.backup.name,
        "run_id": result.run_id,
    }


def percent(share: float | None) -> str:
    """Return a share in percent, or ``unknown``."""
    return "unknown" if share is None else f"{share:.1%}"


def say(asked: argparse.Namespace, told: dict[str, Any], text: str) -> None:
    """Print the result, for a program or for a person."""
    if asked.json:
        print(json.dumps(told, indent=2))
    else:
        Console(no_color=asked.no_color or None, highlight=False, soft_wrap=True).print(text, markup=False)


@contextmanager
def shown_progress(screen: Console, episodes: int) -> Iterator[Any]:
    """Show a bar with what is left, the reward and the best one so far; nothing off a terminal."""
    columns = (
        TextColumn("step {task.fields[step]}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
        TextColumn("reward {task.fields[reward]:.2f}, best {task.fields[best]:.2f}"),
    )  # fmt: skip
    with Progress(*columns, console=screen, disable=not screen.is_terminal) as bar:
        task = bar.add_task("", total=episodes, step="", reward=0.0, best=0.0)
        best = [float("-inf")]

        def show(number: int, steps: int, episode: Episode) -> None:
            if episode.number == 1:
                best[0] = float("-inf")
            best[0] = max(best[0], episode.reward_mean)
            bar.update(
                task, completed=episode.number, step=f"{number}/{steps}", reward=episode.reward_mean, best=best[0]
            )

        yield show


@contextmanager
def stopped_by_signals(stop: Event) -> Iterator[list[int]]:
    """Let Ctrl-C or SIGTERM set ``stop``, a second one end at once; the list holds the signal's number after one."""
    heard: list[int] = []

    def on_signal(number: int, _frame: FrameType | None) -> None:
        if heard:
            os._exit(128 + number)
        heard.append(number)
        stop.set()

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield heard
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def told_to_the_log() -> Iterator[None]:
    """Write why a run ended early where the runs are written down, too."""
    try:
        yield
    except (SuiteError, OSError) as error:
        log.error("%s", error)
        raise


@contextmanager
def log_file(settings: Settings) -> Iterator[None]:
    """Send what is logged to ``rl_retraining.log`` alone: standard output and error are a person's or a program's."""
    settings.log_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = settings.log_dir / "rl_retraining.log"
    root = logging.getLogger()
    with path.open("a", encoding="utf-8") as stream:
        sink = Sink(stream, logging.DEBUG, path, int(settings.log_max_mb * 1_000_000), settings.log_backups)
        handler = LogHandler([sink], RepeatFilter())
        handler.setFormatter(LineFormatter(settings.log_format == "json"))
        handler.addFilter(lambda record: record.levelno >= logging.CRITICAL or record.name.startswith(OWN_LOGS))
        root.addHandler(handler)
        root.setLevel(settings.log_level)
        try:
            yield
        finally:
            root.removeHandler(handler)
            handler.close()


if __name__ == "__main__":
    sys.exit(main())

"""The command ``python3 -m src.backtest``: run, compare, sweep, walk-forward, forecasts, check.

Exit codes: 0 done, 2 wrong arguments, 65 bad data or model, 73 cannot write, 78 wrong settings, 130 broken off (a sweep
goes on from there when it is started again).
"""

import argparse
import logging
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from src.backtest.config import BreakerPolicy, Setup
from src.backtest.deflated import Deflated
from src.backtest.engine import run_backtest
from src.backtest.evidence_command import add_evidence_options, evidence_history, evidence_rules, refuse_evidence
from src.backtest.forecast_command import (
    HEAD,
    add_options,
    as_markdown,
    replayed,
    score_rows,
    span_in_words,
    store,
)
from src.backtest.html_report import comparison_rows, number, part, share
from src.backtest.options import PastMarketData, agent_maker, past_of, settings_of, setup_of, taught_agent
from src.backtest.portfolio_command import run_portfolio_command
from src.backtest.portfolio_sweep_command import sweep_strategy, walk_strategy
from src.backtest.reports import (
    folds_as_json,
    read_summary,
    report_folder,
    write_comparison,
    write_report,
    write_sweep,
)
from src.backtest.search_command import add_search, guided_search
from src.backtest.strategy_command import add_strategies, run_check_command
from src.backtest.sweep import Sweep, SweepResult
from src.backtest.sweep_exact import exact_path_notice
from src.backtest.variants import Variant, parse_grid, variants, varied
from src.backtest.walk_forward import Fold, walk_forward
from src.domain.clock import monotonic_s, utc_text
from src.domain.errors import SettingsError, SuiteError
from src.domain.version import VERSION_LINE
from src.runtime.arguments import amount, whole_number
from src.runtime.arguments import share as share_argument
from src.runtime.settings import PROJECT_ROOT

MOST_FEE = Decimal("0.01")
_SHOWN = 10


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out one command; return its exit code."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    command = _parser().parse_args(arguments)
    logging.disable(logging.CRITICAL)  # the trader's lines speak of a time long past
    try:
        command.record(command)
    except SettingsError as error:
        print(*error.problems, sep="\n", file=sys.stderr)
        return 78
    except SuiteError as error:
        print(error, file=sys.stderr)
        return 65
    except OSError as error:
        print(f"Cannot write {error.filename}: {error.strerror}.", file=sys.stderr)
        return 73
    except KeyboardInterrupt:
        goes_on = command.record is _sweep
        print("Broken off; the same command goes on from here." if goes_on else "Broken off.", file=sys.stderr)
        return 130
    finally:
        logging.disable(logging.NOTSET)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python3 -m src.backtest", description="Backtests with the live trader.")
    parser.add_argument("--version", action="version", version=VERSION_LINE)
    parser.add_argument("--reports", type=Path, default=PROJECT_ROOT / "reports", help="folder of reports (reports/)")
    records = parser.add_subparsers(required=True, metavar="COMMAND")
    run = records.add_parser("run", help="one run of the exact path, with a report")
    _add_market(run)
    add_evidence_options(run)
    run.add_argument("--every-turn", action="store_true", help="take each turn with the trader itself (slow, the same)")
    _add_strategy(run)
    run.add_argument("--no-starts", action="store_true", help="leave out the runs begun in each month (slow)")
    run.set_defaults(record=_run)
    compare = records.add_parser("compare", help="several reports side by side")
    compare.add_argument("names", nargs="+", help="names of reports")
    compare.add_argument("--name", default="comparison", help="name of the page's folder")
    compare.set_defaults(record=_compare)
    sweep = records.add_parser("sweep", help="many variants with the fast kernel")
    _add_market(sweep)
    _add_grid(sweep)
    _add_strategy(sweep)
    sweep.add_argument("--workers", type=whole_number(0, 1_024), default=0, help="threads (default: one for each core)")
    sweep.add_argument("--ray", default="", metavar="ADDRESS", help="run on a Ray cluster")
    add_search(sweep)
    sweep.set_defaults(record=_sweep)
    walk = records.add_parser("walk-forward", help="rolling training, reported out of sample only")
    _add_market(walk)
    _add_grid(walk)
    _add_strategy(walk)
    walk.add_argument("--test-days", type=whole_number(1, 3_650), default=30, help="days traded after each training")
    walk.set_defaults(record=_walk_forward)
    told = records.add_parser("forecasts", help="what votes, agent, analyst and news said, and what followed")
    _add_market(told)
    add_options(told)
    told.set_defaults(record=_forecasts)
    check = records.add_parser("check", help="prove that a strategy of your own may trade")
    check.add_argument("strategy", metavar="NAME", help="a file's name in config/strategies, without .py")
    add_strategies(check)
    check.set_defaults(record=lambda asked: run_check_command(asked, _show))
    return parser


def _add_market(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--pair", default="", type=str.upper, help="contract (default: that of --candles, else BTCUSDT)")
    add("--from", dest="from_text", default="", metavar="YYYY-MM[-DD]", help="first month or day of trading")
    add("--to", dest="to_text", default="", metavar="YYYY-MM[-DD]", help="last one")
    add(
        "--rules",
        default="",
        help="rules in config/rules (default: RULES in .env; safety_first where those are targets)",
    )
    add("--model", type=Path, help="the agent's file (default: taught by the days before --from)")
    add(
        "--train-days",
        type=whole_number(0, 3_650),
        default=30,
        help="days before --from that teach an agent",
    )
    add("--name", default="", help="name of the report")
    add("--data", type=Path, default=PROJECT_ROOT / "data", help="folder of the market data (default: data/)")
    add("--candles", type=Path, nargs="+", help="files of candles in place of the store")
    add("--funding", type=Path, nargs="+", help="files of funding rates in place of the store")
    add("--balance", type=amount(Decimal(1), Decimal(10**9)), default="10000", help="USDT at the start")
    add(
        "--taker-fee",
        type=share_argument(MOST_FEE),
        default="0.0005",
        metavar="SHARE",
        help="0.0005 or 0.05%%",
    )
    add("--breaker", default="next_day", choices=list(BreakerPolicy), help="what becomes of a tripped circuit breaker")
    add(
        "--exploration",
        type=share_argument(Decimal(1)),
        default="0",
        metavar="SHARE",
        help="part of turns it tries",
    )


def _add_strategy(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--strategy", default="", help="a strategy of targets: trend_portfolio, or one of yours in config/strategies")
    add("--pairs", default="", metavar="A,B", help="its pairs (default: those of --candles, else the strategy's)")
    add_strategies(parser)


def _add_grid(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--grid", action="append", default=[], metavar="NAME=A,B", help="a figure and its values")
    parser.add_argument("--random", type=whole_number(0), default=0, metavar="N", help="so many combinations by chance")
    parser.add_argument("--seed", type=whole_number(0), default=7, help="of that chance")


def _run(command: argparse.Namespace) -> None:
    if command.strategy:
        run_portfolio_command(command, _show, _bar)
        return
    settings = settings_of(command)
    setup = setup_of(command, settings)
    counted = evidence_rules(setup.rules.evidence, command.evidence)
    setup = setup.with_rules(replace(setup.rules, evidence=counted))
    past = past_of(command, [setup.rules])
    agent = taught_agent(command, past, agent_maker(command, setup, settings), setup.rules)
    known = evidence_history(command, counted, {setup.symbol: past.candles}, past.span, past.source_ms)
    began_s, span = monotonic_s(), past.span
    outcome = run_backtest(
        past.candles, setup, agent, from_ms=span.from_ms, to_ms=span.to_ms, funding=past.funding,
        contexts=known, every_turn=command.every_turn,
    )  # fmt: skip
    took_s = monotonic_s() - began_s
    folder = report_folder(command.reports, command.name or _default_name(setup, past))
    facts = write_report(folder, outcome, setup, past.candles, {"data": list(past.understood)})
    _say_data(past)
    _show(("", setup.rules.name, "buy and hold", "always flat"), comparison_rows(facts))
    _say_changes(setup)
    print(f"{len(outcome.instants):,} candles in {took_s:.1f} s; report: {folder / 'index.html'}")


def _compare(command: argparse.Namespace) -> None:
    reports = [read_summary(report_folder(command.reports, name)) for name in command.names]
    path = write_comparison(report_folder(command.reports, command.name), reports)
    columns = [comparison_rows(each) for each in reports]
    rows = [(row[0], *(column[place][1] for column in columns)) for place, row in enumerate(columns[0])]
    _show(("", *(str(each["name"]) for each in reports)), rows)
    print(f"page: {path}")


def _sweep(command: argparse.Namespace) -> None:
    if command.trials:
        guided_search(command, _show, _bar, _of_luck)
        return
    if command.strategy:
        _show_sweep(*sweep_strategy(command, _bar))
        return
    settings = settings_of(command)
    tried = _variants(command)
    setup = setup_of(command, settings)
    refuse_evidence(setup.rules.evidence, "sweep")
    past = past_of(command, [varied(setup, each).rules for each in tried])
    new_agent = agent_maker(command, setup, settings)
    sweep = Sweep(
        candles=past.candles,
        setup=setup,
        taught=lambda rules: taught_agent(command, past, new_agent, rules),
        from_ms=past.span.from_ms,
        to_ms=past.span.to_ms,
        funding=past.funding,
    )
    folder = report_folder(command.reports, command.name or f"sweep-{_default_name(setup, past)}")
    notice = exact_path_notice(setup, tried)
    if notice:
        print(notice)
    began_s = monotonic_s()
    with _bar("variants", len(tried)) as done:
        result = sweep.run(tried, folder / "sweep.jsonl", command.workers, command.ray, done)
    _say_data(past)
    _say_changes(setup)
    _show_sweep(result, folder, monotonic_s() - began_s)


def _show_sweep(result: SweepResult, folder: Path, took_s: float) -> None:
    write_sweep(folder, result)
    _show_ranking(result)
    print(f"{_of_luck(result.deflated)} {took_s:.1f} s; ranking: {folder / 'ranking.csv'}")


def _walk_forward(command: argparse.Namespace) -> None:
    if command.strategy:
        walk_strategy(command, _show, _of_luck)
        return
    settings = settings_of(command)
    tried = _variants(command) if command.grid else []
    if command.model:
        raise SettingsError(("walk-forward teaches its own agents; leave --model out.",))
    setup = setup_of(command, settings)
    refuse_evidence(setup.rules.evidence, "walk-forward")
    past = past_of(command, [varied(setup, each).rules for each in tried or [()]])

    def told(fold: Fold) -> None:
        days = f"{utc_text(fold.test_ms)[:10]} .. {utc_text(fold.end_ms)[:10]}"
        print(f"{days}  {share(fold.return_share):>8}  {fold.trades:4} trades  {fold.chosen}")

    walked = walk_forward(
        past.candles, setup, agent_maker(command, setup, settings), past.span.from_ms, past.span.to_ms,
        train_days=command.train_days, test_days=command.test_days, variants=tried, funding=past.funding, progress=told,
    )  # fmt: skip
    folder = report_folder(command.reports, command.name or f"walk-{_default_name(setup, past)}")
    more = {"folds": folds_as_json(walked.folds), "variants_tried": max(len(tried), 1), "data": list(past.understood)}
    _say_data(past)
    facts = write_report(folder, walked.outcome, setup, past.candles, more)
    _show(("", f"{setup.rules.name}, out of sample", "buy and hold", "always flat"), comparison_rows(facts))
    _say_changes(setup)
    print(f"{max(len(tried), 1)} variants tried in each of {len(walked.folds)} folds; report: {folder / 'index.html'}")


def _say_data(past: PastMarketData) -> None:
    print(*past.understood, sep="\n")


def _forecasts(command: argparse.Namespace) -> None:
    settings = settings_of(command)
    setup = setup_of(command, settings)
    past = past_of(command, [setup.rules])
    agent = taught_agent(command, past, agent_maker(command, setup, settings), setup.rules)
    began_s = monotonic_s()
    judged = replayed(command, setup, past, agent)
    new, scores = store(settings, judged)
    rows = score_rows(scores)
    print(as_markdown(rows)) if command.markdown else _show(HEAD, rows)
    _say_changes(setup)
    took_s = monotonic_s() - began_s
    print(f"{len(judged):,} forecasts, {span_in_words(judged)}, {new:,} of them new in the ledger; {took_s:.1f} s")


def _say_changes(setup: Setup) -> None:
    if setup.rules_changed:
        print(f"The settings change {setup.rules.name}: {'; '.join(setup.rules_changed)}.")


def _variants(command: argparse.Namespace) -> list[Variant]:
    if not command.grid:
        raise SettingsError(("A sweep needs something to vary, for example --grid min_signal_strength=2,3,4.",))
    return variants(parse_grid(command.grid), command.random, command.seed)


def _default_name(setup: Setup, past: PastMarketData) -> str:
    first, last = utc_text(past.span.from_ms)[:10], utc_text(past.span.to_ms - 1)[:10]
    return f"{setup.symbol}-{setup.rules.name}-{first}-{last}"


def _of_luck(found: Deflated) -> str:
    if found.probability is None or found.best is None or found.luck is None:
        return f"{found.tried:,} variants tried; too few days to judge the best of them."
    return (
        f"{found.tried:,} variants tried: the best has a daily Sharpe ratio of {found.best:.3f}, luck alone would "
        f"reach {found.luck:.3f}; deflated Sharpe ratio {found.probability:.2f}."
    )


def _show_ranking(result: SweepResult) -> None:
    rows = [
        (
            row["variant"], share(row["return_share"]), f"{row['daily_sharpe']:.3f}", part(row["max_drawdown_share"]),
            f"{row['trades']:,}", number(row["fees"]),
        )
        for row in result.rows[:_SHOWN]
    ]  # fmt: skip
    _show(("variant", "return", "daily Sharpe", "drawdown", "trades", "fees"), rows)


def _show(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    table = Table(*head)
    for row in rows:
        table.add_row(*row)
    Console().print(table)


@contextmanager
def _bar(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show a progress bar, where there is a terminal; yield a function that takes the number done."""
    console = Console(stderr=True)
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        task = bars.add_task(what, total=total)
        yield lambda done: bars.update(task, completed=done)


if __name__ == "__main__":
    sys.exit(main())

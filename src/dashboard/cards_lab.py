"""The card of the lab: runs started from here, with progress, result and last lines."""

from collections.abc import Mapping
from typing import Any, Final

from src.dashboard.bot_view import BotView
from src.dashboard.widgets import (
    UNKNOWN,
    Card,
    Cell,
    Fact,
    Row,
    Table,
    count,
    gone,
    instant,
    number,
    share,
    word,
    words,
)
from src.domain.clock import instant_of
from src.runtime.lab_jobs import DONE, FAILED, KINDS, MEGABYTES, RUNNING, SECONDS, STOPPED, JobView

_TONES: Final = {RUNNING: "", DONE: "good", FAILED: "bad", STOPPED: "warn"}
_TAIL_LINES: Final = 12


def lab(look: BotView) -> Card:
    """Return the runs of the lab, newest first, their results side by side."""
    title = "Runs"
    if look.lab is None:
        return Card("lab", title, source="", reason="This dashboard cannot start runs.")
    views = look.lab.jobs()
    facts = (
        Fact("At once", words("one run")),
        Fact("Limits of a run", Cell(f"{MEGABYTES:,} MB, {SECONDS // 60} min of processor time, lowest priority")),
        Fact("Market data", words("from data/: python3 -m src.market_data download")),
    )
    now_ms = look.wall_ms
    if not views:
        return Card("lab", title, "empty", now_ms, 60.0, "", "No run was started from here yet.", facts)
    columns = ("Run", "Status", "Pair and rules", "Span", "Return", "Sharpe", "Drawdown", "Trades", "Holding",
               "Last lines")  # fmt: skip
    table = Table("Results side by side, out of sample, after costs", columns, tuple(map(_run, views)), (4, 5, 6, 7, 8))
    return Card("lab", title, "data", now_ms, 60.0, "", facts=facts, tables=(table,))


def _run(view: JobView) -> Row:
    job, found = view.job, view.summary
    asked = dict(zip(job.arguments, job.arguments[1:], strict=False))
    what = " ".join(filter(None, (asked.get("--pair", ""), asked.get("--rules", ""))))
    span = f"{asked['--from']} to {asked['--to']}" if "--from" in asked else ""
    lines = [line.rstrip() for line in view.tail.split("\n") if line.strip()][-_TAIL_LINES:]
    details = (Fact("Started", instant(job.started)), *(Fact(f"Line {at + 1}", words(line)) for at, line in
                                                      enumerate(lines)))  # fmt: skip
    cells = (words(KINDS.get(job.kind, job.kind)), _status(view), words(what), words(span), *_figures(found),
             words(lines[-1][:90] if lines else ""))  # fmt: skip
    return Row(cells, key=f"run-{job.id}", details=details)


def _status(view: JobView) -> Cell:
    job = view.job
    if job.status == RUNNING and view.progress is None:
        since = gone(instant_of(job.started), "since")
        return Cell(since.text, "since", raw=since.raw, title="running for")
    if job.status == RUNNING:
        return word(f"RUNNING, {view.progress:.0%}")
    return word(
        job.status.upper(), _TONES.get(job.status, ""), "" if job.exit_code is None else f"exit {job.exit_code}"
    )


def _figures(found: Mapping[str, Any]) -> tuple[Cell, ...]:
    """Return return, Sharpe, drawdown, trades and what holding brought, as far as the report has them."""
    if "return_share" not in found:
        return (UNKNOWN,) * 5
    trades, hold, ratio = found.get("trades") or {}, found.get("buy_and_hold") or {}, found.get("sharpe") or {}
    return (
        share(found["return_share"], 2, True, True),
        number(ratio.get("value"), 2),
        share(found.get("max_drawdown_share"), 2),
        count(trades.get("trades")),
        share(hold.get("return_share"), 2, True, True),
    )

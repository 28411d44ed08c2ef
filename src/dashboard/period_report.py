"""What a period brought, as a page to print or a table for other programs."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any, Final

from flask import Blueprint, Response, abort, current_app, render_template, request

from src.dashboard.bot_view import BotView
from src.dashboard.context import amounts_hidden, dashboard_context
from src.dashboard.exit_reasons import exit_words
from src.dashboard.forecast_table import scoreboard
from src.dashboard.widgets import (
    Cell,
    Row,
    Table,
    amount,
    count,
    instant,
    price,
    quantity,
    result,
    share,
    veiled,
    words,
)
from src.domain.clock import DAY_MS, instant_of, utc_text
from src.reporting.breakdown import GroupSum, by_pair, by_reason, by_side, grouped, total
from src.reporting.pages import TradeFilter

blueprint = Blueprint("period_report", __name__)

_PAGE: Final = 1_000
_MOST_TRADES: Final = 50_000
_SHOWN: Final = 500
_AMOUNTS: Final = frozenset({"quantity", "gross_pnl", "fees", "funding", "pnl"})
_COLUMNS: Final = (
    "id", "symbol", "side", "entry_time", "exit_time", "entry_price", "exit_price", "quantity", "leverage",
    "gross_pnl", "fees", "funding", "pnl", "pnl_percent", "exit_reason", "bot_id", "mode", "world",
)  # fmt: skip


@blueprint.get("/api/report")
def report() -> Response | str:
    """Return the closed trades between two UTC days (both included): ``from``, ``to``, ``format`` html or csv.

    Who hides amounts on the page gets none here either: dots to look at and to print, and a table without them.
    """
    first, last = _day("from"), _day("to")
    if last < first:
        abort(400, "from must not be later than to.")
    kind = request.args.get("format", "html")
    if kind not in ("html", "csv"):
        abort(400, "format must be html or csv.")
    here, hidden = dashboard_context(), amounts_hidden()
    with here.reports.at_one_instant() as reports:
        look = here.snapshots.look(reports, request.args.get("bot", "")[:64] or None)
        rows = list(_closed(look, first, last + DAY_MS))
        if kind == "csv":
            return _as_csv(rows, f"trades_{utc_text(first)[:10]}_{utc_text(last)[:10]}", hidden)
        days = f"{utc_text(first)[:10]} to {utc_text(last)[:10]}"
        usage = look.reports.api_costs(first, last + DAY_MS)
        told = [*_tables(look, rows, usage), _forecasts(look, first, last + DAY_MS)]
        return render_template(
            "report.html",
            days=days,
            bot=look.bot_id,
            mode=look.scope.mode,
            world=look.scope.world,
            made=utc_text(look.wall_ms),
            tables=[_veiled(table) if hidden else table for table in told],
            hidden=hidden,
            more=max(0, len(rows) - _SHOWN),
            shelf=current_app.extensions["shelf"],
        )


def _day(name: str) -> int:
    given = request.args.get(name, "")
    try:
        return instant_of(given[:10])
    except ValueError:
        abort(400, f"{name} must be a day such as 2026-11-22.")


def _closed(look: BotView, since_ms: int, until_ms: int) -> Iterator[dict[str, Any]]:
    """Yield the closed trades of a period, newest first."""
    wanted = TradeFilter(scope=look.scope, status="closed", start=utc_text(since_ms), end=utc_text(until_ms))
    cursor: str | None = None
    found = 0
    while found < _MOST_TRADES:
        page = look.reports.trades(wanted, limit=_PAGE, cursor=cursor)
        yield from page.rows
        found += len(page.rows)
        cursor = page.cursor
        if cursor is None:
            return


def _veiled(table: Table) -> Table:
    rows = (replace(row, cells=tuple(veiled(cell) for cell in row.cells)) for row in table.rows)
    return replace(table, rows=tuple(rows))


def _as_csv(rows: Sequence[Mapping[str, Any]], name: str, hidden: bool) -> Response:
    """Return the trades as the database has them; a text that a spreadsheet would run is made harmless.

    Without amounts the columns are missing, and the file's name says so: an empty field would look like no fee.
    """
    columns = [column for column in _COLUMNS if not (hidden and column in _AMOUNTS)]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_harmless(row[column]) for column in columns])
    answer = Response(text.getvalue(), content_type="text/csv; charset=utf-8")
    whole = f"{name}_without_amounts" if hidden else name
    answer.headers["Content-Disposition"] = f'attachment; filename="{whole}.csv"'
    return answer


def _harmless(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, Decimal):
        return f"{value:f}"
    text = str(value)
    return f"'{text}" if isinstance(value, str) and text[:1] in ("=", "+", "-", "@", "\t", "\r") else text


def _tables(look: BotView, rows: Sequence[Mapping[str, Any]], usage: Sequence[Mapping[str, Any]]) -> list[Table]:
    reasons = {exit_words(name): each for name, each in grouped(rows, by_reason).items()}
    return [
        _sums("Everything", {"all trades": total(rows)}),
        _sums("By contract", grouped(rows, by_pair)),
        _sums("By reason of exit", reasons),
        _sums("By side", grouped(rows, by_side)),
        _usage(usage),
        _trades(look, rows[:_SHOWN]),
    ]


def _sums(caption: str, groups: Mapping[str, GroupSum]) -> Table:
    rows = tuple(
        Row(
            (
                words(name),
                count(each.trades),
                share(each.win_rate, 1),
                result(each.pnl, ""),
                amount(each.fees, ""),
                result(each.funding, ""),
            )
        )
        for name, each in sorted(groups.items())
    )
    return Table(caption, ("Group", "Trades", "Won", "Net PnL", "Fees", "Funding"), rows, (1, 2, 3, 4, 5))


def _forecasts(look: BotView, since_ms: int, until_ms: int) -> Table:
    scores = look.reports.forecast_scores(look.scope, since_ms=since_ms, until_ms=until_ms)
    return scoreboard(scores, "Forecasts made in this time")


def _usage(usage: Sequence[Mapping[str, Any]]) -> Table:
    rows = tuple(
        Row((words(row["service"]), words(row["model"]), count(row["calls"]), amount(row["cost_usd"], "USD", 4)))
        for row in usage
    )
    return Table("Models and services", ("Service", "Model", "Calls", "Cost"), rows, (2, 3))


def _trades(look: BotView, rows: Sequence[Mapping[str, Any]]) -> Table:
    told = tuple(_trade(look, row) for row in rows)
    columns = ("Exit", "Contract", "Side", "Size", "In", "Out", "Fees", "Funding", "Net PnL", "Why")
    return Table("Trades, newest first", columns, told, (3, 4, 5, 6, 7, 8))


def _trade(look: BotView, row: Mapping[str, Any]) -> Row:
    tick = look.tick(row["symbol"])
    cells: tuple[Cell, ...] = (
        instant(row["exit_time"]),
        words(row["symbol"]),
        words(row["side"]),
        quantity(row["quantity"], look.step(row["symbol"])),
        price(row["entry_price"], tick),
        price(row["exit_price"], tick),
        amount(row["fees"], ""),
        result(row["funding"], ""),
        result(row["pnl"], ""),
        words(exit_words(row["exit_reason"])),
    )
    return Row(cells)

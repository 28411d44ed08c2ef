"""Signals and trades: lists, counts, performance."""

from collections.abc import Callable
from decimal import Decimal
from functools import partial
from typing import Any

from src.api.context import ApiContext, Caller, NotFound, Params
from src.api.serializers import COUNT, NUMBER, TEXT, Json, RowShape, closed, listed, nullable, number, plain
from src.reporting.aggregates import Performance, SignalStats
from src.reporting.pages import Page, SignalFilter, TradeFilter, cursor_place
from src.storage.tables import signals, trades

SIGNAL = RowShape(signals)
TRADE = RowShape(trades)

PAGE_SCHEMA = closed(
    {
        "limit": COUNT,
        "offset": COUNT,
        "count": plain(COUNT, "Rows in this answer."),
        "total": plain(COUNT, "Rows that match."),
        "total_is_minimum": plain({"type": "boolean"}, "There are more than `total`; nobody counted them."),
        "next_cursor": nullable(TEXT, "Ask with it as `cursor` for what is older; null after the last page."),
    }
)

_RATIO = closed(
    {
        "value": nullable(NUMBER),
        "n": plain(COUNT, "How many daily returns it rests on."),
        "ci95": {"anyOf": [{"type": "array", "items": NUMBER, "minItems": 2, "maxItems": 2}, {"type": "null"}]},
        "reason": plain(TEXT, "Why there is no value."),
        "basis": TEXT,
        "annualisation": COUNT,
    }
)
PERFORMANCE_SCHEMA = closed(
    {
        "trades": plain(COUNT, "Closed round trips; the parts of one count once."),
        "wins": COUNT,
        "losses": COUNT,
        "net_pnl": plain(NUMBER, "After fees and funding."),
        "fees": NUMBER,
        "funding": NUMBER,
        "win_rate": nullable(NUMBER, "A share of all closed trades."),
        "profit_factor": nullable(NUMBER, "Gains over losses; null without a loss."),
        "average_win": nullable(NUMBER),
        "average_loss": nullable(NUMBER),
        "expectancy": nullable(NUMBER, "The mean net result of a trade."),
        "open_trades": COUNT,
        "equity": nullable(NUMBER),
        "start_equity": nullable(NUMBER, "At the instant where the period begins."),
        "transfers": plain(NUMBER, "Paid in or out meanwhile; no profit."),
        "sharpe": plain(_RATIO, "Yearly, of the equity of whole days; null below 30."),
        "sortino": plain(_RATIO, "Yearly, of the equity of whole days; null below 30."),
        "max_drawdown_share": nullable(NUMBER, "The worst fall below the highest equity until then (0.1 is 10 %)."),
        "present_drawdown_share": nullable(NUMBER),
        "equity_reason": plain(TEXT, "Why figures of equity are missing."),
    }
)
STATS_SCHEMA = closed(
    {
        "total": COUNT,
        "buy": COUNT,
        "sell": COUNT,
        "hold": COUNT,
        "acted": plain(COUNT, "After which an order was sent."),
        "vetoed": plain(COUNT, "That asked for an entry which a gate stopped."),
        "mean_strength": nullable(NUMBER),
        "mean_confidence": nullable(NUMBER),
    }
)
SIGNALS_SCHEMA = listed(SIGNAL.schema)
TRADES_SCHEMA = listed(TRADE.schema)


def list_signals(source: ApiContext, asked: Params, _: Caller) -> Json:
    """Return a page of signals, newest first."""
    wanted = SignalFilter(
        scope=source.scope(asked.get("bot_id"), asked.get("symbol")),
        signal_type=asked.get("signal_type"),
        min_strength=asked.get("min_strength"),
        acted=asked.get("acted"),
        start=asked.get("start_date"),
        end=asked.get("end_date"),
    )
    return paged(source, asked, SIGNAL, partial(source.reports.signals, wanted))


def signal_stats(source: ApiContext, asked: Params, _: Caller) -> Json:
    """Return counts of signals."""
    return {"data": stats_json(source.reports.signal_stats(*_period(source, asked)))}


def list_trades(source: ApiContext, asked: Params, _: Caller) -> Json:
    """Return a page of trades, newest first."""
    wanted = TradeFilter(
        scope=source.scope(asked.get("bot_id"), asked.get("symbol")),
        status=asked.get("status"),
        side=asked.get("side"),
        min_pnl=asked.get("min_pnl"),
        max_pnl=asked.get("max_pnl"),
        start=asked.get("start_date"),
        end=asked.get("end_date"),
    )
    return paged(source, asked, TRADE, partial(source.reports.trades, wanted))


def trades_performance(source: ApiContext, asked: Params, _: Caller) -> Json:
    """Return what trading brought."""
    return {"data": performance_json(source.reports.performance(*_period(source, asked)))}


def performance_json(performance: Performance) -> Json:
    """Return the figures as an answer holds them; ratios are not rounded."""
    return {name: _figure(value) for name, value in performance.as_dict().items()}


def stats_json(stats: SignalStats) -> Json:
    """Return the counts as an answer holds them."""
    return {name: getattr(stats, name) for name in STATS_SCHEMA["properties"]}


def paged(source: ApiContext, asked: Params, shape: RowShape, read: Callable[..., Page]) -> Json:
    """Return the rows of the page asked for and what there is to say of it; ``read`` takes limit, cursor, offset, form.

    Raises:
        NothingThere: no page can have given this cursor.
    """
    form = shape.form(source.look().steps)
    page = read(limit=asked["limit"], cursor=_cursor_of(asked), offset=asked["offset"], form=form)
    return {
        "data": page.rows,
        "page": {
            "limit": asked["limit"],
            "offset": asked["offset"],
            "count": len(page.rows),
            "total": page.total,
            "total_is_minimum": page.more,
            "next_cursor": page.cursor,
        },
    }


def _cursor_of(asked: Params) -> str | None:
    cursor: str | None = asked.get("cursor")
    if cursor is not None:
        try:
            cursor_place(cursor)
        except ValueError as error:
            raise NotFound("No page ends at this cursor.") from error
    return cursor


def _period(source: ApiContext, asked: Params) -> tuple[Any, int | None]:
    return source.scope(asked.get("bot_id"), asked.get("symbol")), source.since_ms(asked.get("hours"))


def _figure(value: Any) -> Any:
    if isinstance(value, Decimal):
        return number(value)
    if isinstance(value, dict) and value.get("ci95") is not None:
        return value | {"ci95": list(value["ci95"])}
    return value

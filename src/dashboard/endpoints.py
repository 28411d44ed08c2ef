"""The ten endpoints of the dashboard, its one snapshot, the journal and the chart, read-only."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from flask import Blueprint, Response, abort, current_app, jsonify, request

from src.dashboard import chart, journal
from src.dashboard.bot_view import CHARTS, TRADING, BotView
from src.dashboard.cards_market import last_turns
from src.dashboard.context import dashboard_context
from src.dashboard.page_query import PageQuery, page_query
from src.dashboard.site_pages import PAGES
from src.dashboard.states import DataSource, source_of
from src.domain.clock import instant_of
from src.domain.errors import StoreCorrupt, StoreUnavailable
from src.monitoring.health import exchange_trouble
from src.reporting.pages import NewsFilter, SignalFilter, TradeFilter

blueprint = Blueprint("endpoints", __name__)

_MOST: Final = 200
_TRUTHS: Final = {"true": True, "false": False, "1": True, "0": False}


@blueprint.get("/api/dashboard")
def dashboard() -> Response:
    """Return everything the page shows, from one instant; ETag tells whether anything changed."""
    with dashboard_context().turn:
        return _tagged(dashboard_context().snapshots.snapshot(_bot(), asked()))


@blueprint.get("/api/bot-status")
def bot_status() -> Response:
    """Return whether each process of each bot runs, by its last sign of life."""
    with _look() as look:
        rows = [_process(dict(row), look.wall_ms) for row in look.beats]
        own = [row for row in rows if row["bot_id"] == look.bot_id]
        by_name = {row["process"]: row for row in own}
        return _stated(
            look, "status", bot_id=look.bot_id, rl_bot=by_name.get(TRADING), chart_bot=by_name.get(CHARTS), bots=rows
        )


@blueprint.get("/api/market-data")
def market_data() -> Response:
    """Return price, indicators and signal of each contract at its last turn, and the market's context."""
    with _look() as look:
        turns = [_plain_turn(row) for row in last_turns(look)]
        return _stated(look, "market", data=turns, context=look.reports.market_context(look.scope))


@blueprint.get("/api/chart-analysis")
def chart_analysis() -> Response:
    """Return the newest look at a chart, null before the first."""
    with _look() as look:
        return _stated(look, "analysis", analysis=look.reports.chart_analysis(look.scope))


@blueprint.get("/api/trades")
def trades() -> Response:
    """Return closed and open trades, newest first: ``limit``, ``cursor``, ``status``."""
    status = request.args.get("status")
    with _look() as look:
        wanted = TradeFilter(scope=look.scope, status=status)
        page = look.reports.trades(wanted, limit=_limit(10), cursor=request.args.get("cursor"))
        return _stated(look, "trades", trades=page.rows, total=page.total, cursor=page.cursor)


@blueprint.get("/api/performance")
def performance() -> Response:
    """Return what trading brought, net of fees and funding."""
    with _look() as look:
        return _stated(look, "performance", performance=look.reports.performance(look.scope).as_dict())


@blueprint.get("/api/positions")
def positions() -> Response:
    """Return the open positions as the exchange last had them."""
    with _look() as look:
        return _stated(look, "positions", positions=look.reports.open_positions(look.scope))


@blueprint.get("/api/signals")
def signals() -> Response:
    """Return turns, newest first: ``limit``, ``cursor``, ``acted=true|false``."""
    acted = request.args.get("acted")
    if acted is not None and acted.lower() not in _TRUTHS:
        abort(400, "acted must be true or false.")
    with _look() as look:
        wanted = SignalFilter(scope=look.scope, acted=None if acted is None else _TRUTHS[acted.lower()])
        page = look.reports.signals(wanted, limit=_limit(5), cursor=request.args.get("cursor"))
        return _stated(look, "signals", signals=page.rows, total=page.total, cursor=page.cursor)


@blueprint.get("/api/news")
def news() -> Response:
    """Return the newest articles with their sentiment."""
    with _look() as look:
        world = look.scope.world if look.scope.world in ("synthetic", "replay") else None
        page = look.reports.news(NewsFilter(world=world), limit=_limit(20), cursor=request.args.get("cursor"))
        return _stated(look, "news", news=page.rows, total=page.total, cursor=page.cursor)


@blueprint.get("/api/health")
def health() -> Response:
    """Return 200 where this server can do its work, else 503; the bots' own state stands beside it."""
    here = dashboard_context()
    now_ms = here.clock.now_ms()
    try:
        rows = [_process(row, now_ms) for row in here.reports.bot_status(now_ms)]
    except (StoreUnavailable, StoreCorrupt):
        answer = jsonify(status="unhealthy", database="cannot be read", bots=[])
        answer.status_code = 503
        return answer
    shown = ("bot_id", "process", "status", "age_s")
    bots = [{name: row[name] for name in shown} | {"exchange": exchange_trouble(row) or "ok"} for row in rows]
    return jsonify(status="healthy", database="ok", bots=bots)


@blueprint.get("/api/journal")
def journal_page() -> Response:
    """Return a page of the decision journal as the page draws it: ``journal pair text gate``, ``cursor``."""
    with _look() as look:
        page = _or_400(lambda: journal.read(look, asked(), request.args.get("cursor"), _limit(journal.PAGE)))
        return jsonify(rows=[journal.turn_row(look, row) for row in page.rows], cursor=page.cursor, total=page.total)


@blueprint.get("/api/chart")
def chart_data() -> Response:
    """Return one contract's candles in one timeframe, with indicators, entries, exits and levels.

    ``symbol``, ``timeframe``; ``until`` is an instant in ms at which the chart ends.
    """
    with dashboard_context().turn, _look() as look:
        timeframe = request.args.get("timeframe", "")
        if timeframe and timeframe not in chart.TIMEFRAMES:
            abort(400, f"timeframe must be one of {', '.join(chart.TIMEFRAMES)}.")
        return _tagged(chart.chart(look, request.args.get("symbol"), timeframe, _instant("until")))


@contextmanager
def _look() -> Iterator[BotView]:
    """Lend a look at one instant on behalf of the bot that was asked for; nonsense in the query is 400."""
    here = dashboard_context()
    try:
        with here.reports.at_one_instant() as reports:
            yield here.snapshots.look(reports, _bot())
    except ValueError as error:
        abort(400, str(error))


def _stated(look: BotView, name: str, **content: Any) -> Response:
    """Return content with its own age and the state of its card."""
    card, state = dashboard_context().snapshots.card(name, look.bot_id)
    age_s = None if card.as_of_ms is None else round((look.wall_ms - card.as_of_ms) / 1000, 3)
    frame = {
        "bot_id": look.bot_id,
        "mode": look.scope.mode,
        "world": look.scope.world,
        "state": state,
        "reason": card.reason if card.base in ("empty", "unknown", "error") else "",
        "age_s": age_s,
    }
    return jsonify(**(frame | content))


def _process(row: dict[str, Any], now_ms: int) -> dict[str, Any]:
    source: DataSource = source_of("", "", row)
    ended = row["phase"] in ("stopped", "stopping")
    status = row["phase"] if ended else "down" if source.is_down(now_ms) else "running"
    age_s = round((now_ms - instant_of(row["beat_at"])) / 1000, 3)
    return row | {"status": status, "running": status == "running", "age_s": age_s}


def _plain_turn(row: dict[str, Any]) -> dict[str, Any]:
    return row | {"signal": row["signal_type"]}


def _tagged(content: dict[str, Any]) -> Response:
    """Answer with a strong ETag over the content, 304 where the browser has it; the server's time goes beside it."""
    body = current_app.json.dumps(content)
    answer = Response(body + "\n", content_type="application/json")
    answer.set_etag(hashlib.sha256(body.encode()).hexdigest()[:24])
    answer.headers["Cache-Control"] = "no-cache"
    answer.make_conditional(request)
    answer.headers["X-Server-Time-Ms"] = str(dashboard_context().clock.now_ms())
    return answer


def _bot() -> str | None:
    wanted = request.args.get("bot", "")
    return wanted[:64] or None


def asked() -> PageQuery:
    """Return what the query string asks of a page; 400 for nonsense."""
    given = dict(request.args)
    if "filter" in given:  # the journal's own name for it
        given["journal"] = given["filter"]
    query: PageQuery = _or_400(lambda: page_query(given, PAGES))
    return query


def _instant(name: str) -> int | None:
    given = request.args.get(name, "")
    if given and not (given.isascii() and given.isdecimal() and len(given) <= 15):
        abort(400, f"{name} must be an instant in milliseconds.")
    return int(given) if given else None


def _limit(default: int) -> int:
    given = request.args.get("limit", str(default))
    if not given.isdecimal() or not 1 <= int(given) <= _MOST:
        abort(400, f"limit must be a whole number from 1 to {_MOST}.")
    return int(given)


def _or_400(work: Callable[[], Any]) -> Any:
    try:
        return work()
    except ValueError as error:
        abort(400, str(error))

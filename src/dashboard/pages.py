"""The page itself, drawn once by the server so that it says something before any script runs."""

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlencode

from flask import Blueprint, Response, abort, current_app, render_template, request

from src.dashboard.context import DashboardContext, amounts_hidden, dashboard_context, session_words
from src.dashboard.page_query import LEVELS, PERIODS, PageQuery, page_query
from src.dashboard.site_pages import MENU, PAGES, STORY, SitePage
from src.dashboard.states import ENDED, DataSource, State, age_words, state_of
from src.dashboard.widgets import HIDDEN, NOTHING, Card
from src.domain.clock import DAY_MS, instant_of, utc_text
from src.runtime.lab_jobs import KINDS
from src.runtime.log_reader import LOG_NAMES

blueprint = Blueprint("pages", __name__)

TILES: Final = (
    ("status", 0, "Bot"),
    ("breaker", 0, "Circuit breaker"),
    ("positions", 0, "Open PnL, USDT"),
    ("balance", 0, "Equity, USDT"),
    ("balance", 1, "Today, USDT"),
    ("performance", 0, "Net PnL, USDT"),
    ("market", 0, "Price"),
    ("signals", 0, "Last decision"),
)
"""What stands on top: of which card, which of its tiles, and what it is called before it is known."""
UNKNOWN_POSITIONS: Final = "It is unknown whether positions are open."
_ICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><rect width="16" height="16" rx="3" fill="#121820"/>'
    '<path d="M3 11l3-4 3 2 4-6" fill="none" stroke="#2dd4bf" stroke-width="2"/></svg>'
)


def _add_pages() -> None:
    """Give every page of the site its address."""
    for each in PAGES.values():
        if each is STORY:
            blueprint.add_url_rule(f"{each.path}/<int:trade>", each.name, _story)
        else:
            blueprint.add_url_rule(each.path, each.name, lambda site=each: _served(site))


def _story(trade: int) -> Response:
    return _served(STORY, trade)


def _served(site: SitePage, trade: int = 0) -> Response:
    """Return a page with the newest snapshot in it; nonsense in its query string shows the page without it."""
    try:
        given = {name: value for name, value in request.args.items() if name != "page"}
        query = page_query(given | {"page": site.name, "trade": str(trade)}, PAGES)
    except ValueError as error:
        abort(400, str(error))
    with dashboard_context().turn:
        return Response(_page(dashboard_context(), site, query), content_type="text/html; charset=utf-8")


def _page(here: DashboardContext, site: SitePage, query: PageQuery) -> str:
    hidden = here.reading_needs_pin and here.session() is None
    now_ms = here.clock.now_ms()
    wanted = request.args.get("bot", "")[:64] or None
    content = {} if hidden else here.snapshots.snapshot(wanted, query)
    return render_template(
        "dashboard.html",
        site=site,
        menu=MENU,
        query=query,
        snapshot=content,
        server_ms=now_ms,
        today=utc_text(now_ms)[:10],
        gone=lambda moment: age_words((now_ms - instant_of(moment)) / 1000),
        left=lambda moment: age_words((instant_of(moment) - now_ms) / 1000),
        cards={card["name"]: card for card in _drawn(content, now_ms)},
        zones=site.zones,
        tiles=TILES if site.glance else (),
        alarm=_alarm(content, now_ms),
        hidden=amounts_hidden(),
        dots=HIDDEN,
        shelf=current_app.extensions["shelf"],
        locked=hidden,
        periods=PERIODS,
        logs=LOG_NAMES,
        levels=LEVELS,
        kinds=KINDS,
        linked=_linked,
        session=current_app.json.dumps(session_words(here)),
    )


def _linked(path: str) -> str:
    """Return a page's address with the bot that was chosen, so that links keep it."""
    bot = request.args.get("bot", "")[:64]
    return request.script_root + (f"{path}?{urlencode({'bot': bot})}" if bot else path)


@blueprint.get("/manifest.webmanifest")
def manifest() -> Response:
    """Return what lets a browser install the dashboard as an app; it caches nothing, so nothing old looks live."""
    root = request.script_root
    told = {
        "name": "Trading bot", "short_name": "Trading bot", "start_url": f"{root}/", "display": "standalone",
        "background_color": "#0b0f14", "theme_color": "#0b0f14",
        "icons": [{"src": f"{root}/favicon.ico", "sizes": "any", "type": "image/svg+xml", "purpose": "any"}],
    }  # fmt: skip
    headers = {"Cache-Control": "public, max-age=86400"}
    return Response(current_app.json.dumps(told), content_type="application/manifest+json", headers=headers)


@blueprint.get("/favicon.ico")
def icon() -> Response:
    """Return the page's mark; the page's own script paints another while the bot is down."""
    return Response(_ICON, content_type="image/svg+xml", headers={"Cache-Control": "public, max-age=86400"})


def _drawn(content: dict[str, Any], now_ms: int) -> list[dict[str, Any]]:
    """Return the cards with their state and age in words, as the template draws them."""
    sources = {name: DataSource(**source) for name, source in content.get("sources", {}).items()}
    drawn = []
    for name, card in content.get("cards", {}).items():
        as_of_ms, source = card["as_of_ms"], sources.get(card["source"])
        state = state_of(Card(name, card["title"], card["base"], as_of_ms, card["max_age_s"]), source, now_ms)
        age = "" if as_of_ms is None else age_words((now_ms - as_of_ms) / 1000)
        moment = "" if as_of_ms is None else f"{utc_text(as_of_ms)[11:19]} UTC"
        tables = [
            table | {"rows": [_alive(row, card["base"], sources, now_ms) for row in table["rows"]]}
            for table in card["tables"]
        ]
        drawn.append(card | {"state": str(state), "age": age, "moment": moment, "tables": tables})
    return drawn


def _alive(row: dict[str, Any], base: str, sources: Mapping[str, DataSource], now_ms: int) -> dict[str, Any]:
    """Return a row with its own state, where it has one, and with the words for it (as ``draw.js`` does)."""
    life = row.get("life")
    if life is None:
        return row
    state = state_of(Card("", "", base, life["as_of_ms"], life["max_age_s"]), sources.get(life["source"]), now_ms)
    cells = [_life_cell(cell, state) if cell["kind"] == "life" else cell for cell in row["cells"]]
    return row | {"state": str(state), "cells": cells}


def _life_cell(cell: dict[str, Any], state: State) -> dict[str, Any]:
    if state == State.ERROR:
        return cell | {"text": NOTHING}
    said = cell["text"] if state == State.FRESH else state.upper()
    if state == State.DOWN and str(cell["text"]).lower() in ENDED:
        said = cell["text"]
    tone = {State.FRESH: "good", State.LATE: "warn"}.get(state, "bad")
    return cell | {"text": said, "tone": tone}


def _alarm(content: dict[str, Any], now_ms: int) -> str:
    """Return what must be said above everything, empty where nothing is wrong."""
    if not content:
        return ""
    if content["database"] != "ok":
        return str(content["database"])
    others = [each for each in content["bots"] if each["bot_id"] != content["bot_id"]]
    said = [_own_alarm(content, now_ms), *(_other_alarm(each, now_ms) for each in others)]
    return " ".join(filter(None, said))


def _other_alarm(bot: dict[str, Any], now_ms: int) -> str:
    """Say that another bot fell silent which nobody stopped; after a day its row alone tells of it."""
    source = DataSource("bot", bot["bot_id"], bot["beat_ms"], bot["phase"], bot["down_after_s"])
    if source.beat_ms is None or source.phase in ENDED or not source.is_down(now_ms):
        return ""
    gone_ms = now_ms - source.beat_ms
    return "" if gone_ms >= DAY_MS else f"DOWN: bot {bot['bot_id']} has not reported for {age_words(gone_ms / 1000)}."


def _own_alarm(content: dict[str, Any], now_ms: int) -> str:
    bot, exchange = (DataSource(**content["sources"][name]) for name in ("bot", "exchange"))
    held = content["held"]
    if held and amounts_hidden():
        held = [_without_amounts(each) for each in held]
    open_now = f"May be open at the exchange: {'; '.join(held)}." if held else UNKNOWN_POSITIONS
    if bot.beat_ms is not None and bot.is_down(now_ms):
        return f"DOWN. The bot has not reported for {age_words((now_ms - bot.beat_ms) / 1000)}. {open_now}"
    if exchange.beat_ms is not None and exchange.is_down(now_ms):
        gone = age_words((now_ms - exchange.beat_ms) / 1000)
        return f"EXCHANGE NOT REACHABLE. The bot runs but has had no market data for {gone}. {open_now}"
    return ""


def _without_amounts(held: str) -> str:
    """Say who may be open (``LONG 0.1 BTCUSDT from 62052.8``) to a viewer from whom amounts are hidden."""
    side, _, symbol, *_ = held.split(" ")
    return f"{side} {symbol}"


_add_pages()

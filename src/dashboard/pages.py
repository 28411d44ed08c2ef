"""The page itself, drawn once by the server so that it says something before any script runs."""

from collections.abc import Mapping
from typing import Any, Final

from flask import Blueprint, Response, current_app, render_template, request

from src.dashboard.context import DashboardContext, amounts_hidden, desk, session_words
from src.dashboard.states import ENDED, DataSource, State, age_words, state_of
from src.dashboard.widgets import HIDDEN, NOTHING, Card
from src.domain.clock import DAY_MS, instant_of, utc_text

blueprint = Blueprint("pages", __name__)

ZONES: Final = (
    ("all", ("bots",)),
    ("wide", ("positions", "chart", "market", "trades")),
    ("side", ("balance", "signals", "performance", "status", "breaker", "reconciliation")),
    ("even", ("analysis", "context", "news", "training")),
    ("full", ("journal", "costs", "control")),
)
"""Where cards stand; on a phone one under the other in this order. The tiles that say the most in a word stand below
the first zone, which is about all bots, and above the others, which are about the one that was chosen."""
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
_ICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><rect width="16" height="16" rx="3" fill="#121820"/>'
    '<path d="M3 11l3-4 3 2 4-6" fill="none" stroke="#2dd4bf" stroke-width="2"/></svg>'
)


@blueprint.get("/")
def page() -> str:
    """Return the page with the newest snapshot in it."""
    with desk().turn:
        return _page(desk())


def _page(here: DashboardContext) -> str:
    hidden = here.reading_needs_pin and here.session() is None
    now_ms = here.clock.now_ms()
    wanted = request.args.get("bot", "")[:64] or None
    content = {} if hidden else here.snapshots.snapshot(wanted)
    return render_template(
        "dashboard.html",
        snapshot=content,
        server_ms=now_ms,
        today=utc_text(now_ms)[:10],
        gone=lambda moment: age_words((now_ms - instant_of(moment)) / 1000),
        cards={card["name"]: card for card in _drawn(content, now_ms)},
        zones=ZONES,
        tiles=TILES,
        alarm=_alarm(content, now_ms),
        hidden=amounts_hidden(),
        dots=HIDDEN,
        shelf=current_app.extensions["shelf"],
        locked=hidden,
        session=current_app.json.dumps(session_words(here)),
    )


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
    if state == State.DOWN and cell["text"] != "RUNNING":
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
    bot = DataSource(**content["sources"]["bot"])
    if bot.beat_ms is None or not bot.is_down(now_ms):
        return ""
    gone = age_words((now_ms - bot.beat_ms) / 1000)
    held = content["held"]
    if held and amounts_hidden():
        held = [_without_amounts(each) for each in held]
    if held:
        return f"DOWN. The bot has not reported for {gone}. May be open at the exchange: {'; '.join(held)}."
    return f"DOWN. The bot has not reported for {gone}. Whether positions are open is not known now."


def _without_amounts(held: str) -> str:
    """Say who may be open (``LONG 0.1 BTCUSDT from 62052.8``) to somebody who shall not see how much."""
    side, _, symbol, *_ = held.split(" ")
    return f"{side} {symbol}"

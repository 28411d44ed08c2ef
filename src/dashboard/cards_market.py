"""The cards about the market and what is said of it: prices, context, chart analysis, news."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from src.dashboard.bot_view import CHARTS, BotView
from src.dashboard.chart_files import picture_address
from src.dashboard.journal import candles_of, votes_of
from src.dashboard.widgets import (
    UNKNOWN,
    Card,
    Cell,
    Fact,
    Row,
    Table,
    Tile,
    amount,
    count,
    instant,
    number,
    percent,
    price,
    share,
    side_word,
    word,
    words,
)
from src.reporting.pages import NewsFilter, SignalFilter

SHOWN_ONLY: Final = "none: it is shown and scored, and no decision follows from it"
_EFFECTS: Final = {
    "size": "the rules in force make entries against it smaller",
    "veto": "the rules in force make entries against it wait",
}
_UNSCORED: Final = "not scored yet"
_HEADLINES: Final = 6
_MOODS: Final = {"bullish": "up", "bearish": "down"}
_LEVELS: Final = {"high": "good", "medium": "", "low": "warn"}


def last_turns(look: BotView) -> list[dict[str, Any]]:
    """Return each contract's newest turn."""
    if "turns" not in look.kept:
        newest: dict[str, dict[str, Any]] = {}
        for row in look.reports.signals(SignalFilter(scope=look.scope), limit=100).rows:
            newest.setdefault(row["symbol"], row)
        look.kept["turns"] = [newest[symbol] for symbol in sorted(newest)]
    found: list[dict[str, Any]] = look.kept["turns"]
    return found


def market(look: BotView) -> Card:
    """Return price, indicators and signal of each contract, as the bot saw them in its last turn."""
    turns = last_turns(look)
    if not turns:
        return Card("market", "Live market data", reason="The bot has not finished a turn yet.")
    rows = tuple(_market(look, row) for row in turns)
    table = Table(
        "The market at the last turn",
        ("Contract", "Price", "Mark now", "RSI", "VWAP", "ATR", "Signal", "Strength", "Agent", "Confidence", "Candles"),
        rows,
        (1, 2, 3, 4, 5, 7, 9),
    )
    first = rows[0].cells
    now = first[1] if first[2] is UNKNOWN else first[2]
    tile = Tile(first[0].text, now, Cell(f"{first[6].text} {first[7].text}", tone=first[6].tone, raw=first[6].raw))
    seen_ms = _market_ms(look, turns)
    return Card("market", "Live market data", "data", seen_ms, look.turn_s, "exchange", tables=(table,), tiles=(tile,))


def _market_ms(look: BotView, turns: list[dict[str, Any]]) -> int | None:
    """When the prices shown were made, by the machine's clock: the oldest mark price, else the last turn."""
    marks = [str(mark["as_of"]) for mark in (look.details.get("marks") or {}).values() if mark.get("as_of")]
    return look.wall_of(min(marks) if marks else max(row["timestamp"] for row in turns))


def _market(look: BotView, row: Mapping[str, Any]) -> Row:
    tick = look.tick(row["symbol"])
    mark = (look.details.get("marks") or {}).get(row["symbol"])
    cells = (
        words(row["symbol"]),
        price(row["price"], tick),
        UNKNOWN if not mark else price(Decimal(mark["mark"]), tick),
        number(row["rsi"], 2),
        price(row["vwap"], tick),
        number(row["atr"], 2),
        side_word(row["signal_type"]),
        votes_of(row),
        side_word(row["rl_action"]),
        number(row["confidence"], 2),
        candles_of(row),
    )
    return Row(cells, key=f"market-{row['symbol']}")


def context(look: BotView) -> Card:
    """Return the wider market; what no source told is unknown, with the reason."""
    title, row = "Market context", look.reports.market_context(look.scope)
    if row is None:
        return Card("context", title, reason="No context has been recorded yet.")
    figures = ("btc_price", "eth_price", "btc_dominance", "fear_greed_index")
    known = [name for name in figures if row[name] is not None]
    facts = (
        Fact("BTC", price(row["btc_price"])),
        Fact("BTC, 24 h", percent(row["btc_change_24h"], of="the price a day ago")),
        Fact("ETH", price(row["eth_price"])),
        Fact("ETH, 24 h", percent(row["eth_change_24h"], of="the price a day ago")),
        Fact("BTC dominance", percent(row["btc_dominance"], 1, False, "all coins' value")),
        Fact("Fear & Greed", _fear(row["fear_greed_index"])),
        Fact("Trend", words(row["market_trend"])),
        Fact("BTC trend", words(row["btc_trend"])),
        Fact("Regime", words(row["market_regime"])),
        Fact("Volatility", words(row["volatility_level"])),
        Fact("Fear & Greed as a forecast", words(_verdict(look, "fear_greed"))),
        Fact("Effect of the regime on orders", words(_effect(look, "regime"))),
    )
    missing = tuple(f"{name.replace('_', ' ')}: {why}" for name, why in sorted((row["unknown"] or {}).items()))
    age_s = look.machine_s(look.limits.context_s) + look.turn_s
    if not known:
        why = "; ".join(missing) or "no source answered"
        return Card("context", title, "error", look.wall_of(row["timestamp"]), age_s, "bot", why, facts)
    return Card("context", title, "data", look.wall_of(row["timestamp"]), age_s, facts=facts, notes=missing)


def _fear(index: int | None) -> Cell:
    if index is None:
        return UNKNOWN
    names = ((25, "extreme fear"), (45, "fear"), (55, "neutral"), (75, "greed"), (101, "extreme greed"))
    return Cell(f"{index} of 100, {next(name for most, name in names if index < most)}", raw=str(index))


def analysis(look: BotView) -> Card:
    """Return what the analyst last read from a chart, at what cost, and how old it is."""
    title, newest = "AI chart analysis", look.reports.chart_analysis(look.scope)
    if newest is None:
        return Card("analysis", title, source="charts", reason="No chart has been looked at yet.")
    good = look.reports.chart_analysis(look.scope, only_good=True)
    row = good or newest
    age_s = look.machine_s(look.limits.chart_s, CHARTS) + 120.0
    facts = _analysis(look, row) if good else ()
    notes = (row["summary"],) if good and row["summary"] else ()
    failed = newest["status"] != "ok"
    why = f"The last look failed: {newest['error'] or 'no reason was given'}" if failed else ""
    picture = picture_address(look.chart_dir, row["chart_file"]) if good else ""
    made_ms = look.wall_of(row["timestamp"], CHARTS) or 0
    # A chart whose price has hardly moved is not read again: the round that found so confirms the last answer.
    as_of = made_ms if failed else max(made_ms, _round_ms(look, look.beat(CHARTS)))
    return Card("analysis", title, "error" if failed else "data", as_of, age_s,
                "charts", why, facts, notes=notes, picture=picture)  # fmt: skip


def _analysis(look: BotView, row: Mapping[str, Any]) -> tuple[Fact, ...]:
    tick = look.tick(row["symbol"])
    return (
        Fact("Contract", Cell(f"{row['symbol']}, {row['candles']} candles of {row['interval']}", raw=row["symbol"])),
        Fact("Recommendation", side_word(row["recommendation"])),
        Fact("Confidence", word(row["confidence"] or UNKNOWN.text, _LEVELS.get(row["confidence"] or "", ""))),
        Fact("Trend", side_word(row["trend"])),
        Fact("Score", number(row["overall_score"], 1, "of 10")),
        Fact("Support", _levels(row["support_levels"], tick)),
        Fact("Resistance", _levels(row["resistance_levels"], tick)),
        Fact("Price then", price(row["price"], tick)),
        Fact("Analyst", words(" ".join(filter(None, (row["analyst"], row["model"]))))),
        Fact("Cost", amount(row["cost_usd"], "USD", 4)),
        Fact("Made", instant(row["timestamp"])),
        *_panel(row),
        Fact("Verdict", words(_verdict(look, "chart", row["model"] or row["analyst"]))),
        Fact("Effect on orders", words(_effect(look, "chart"))),
    )


def _panel(row: Mapping[str, Any]) -> tuple[Fact, ...]:
    """Return how far a panel disagrees and the strongest argument against it; nothing for a single analyst."""
    if row["disagreement"] is None:
        return ()
    return (
        Fact("Panel disagrees", share(row["disagreement"], 0)),
        Fact("Against it", words(row["counter_argument"] or "nothing was said")),
    )


def _verdict(look: BotView, forecaster: str, model: str = "") -> str:
    """Return how the forecasts behind an opinion are judged."""
    return look.reports.forecast_verdict(look.scope, forecaster, model) or _UNSCORED


def _effect(look: BotView, name: str) -> str:
    """Return what the rule set in force lets an opinion do."""
    counted = getattr(look.rules.evidence, name) if look.rules is not None else "off"
    return _EFFECTS.get(counted, SHOWN_ONLY)


def _levels(levels: list[float] | None, tick: Decimal | None) -> Cell:
    shown = [price(level, tick).text for level in (levels or [])[:3]]
    return Cell("  ".join(shown), "price", raw=",".join(map(str, (levels or [])[:3]))) if shown else UNKNOWN


def news(look: BotView) -> Card:
    """Return the newest headlines with what was judged of them."""
    title = "News sentiment"
    world = look.scope.world if look.scope.world in ("synthetic", "replay") else None
    page = look.reports.news(NewsFilter(world=world), limit=50)
    age_s = look.machine_s(look.limits.news_s, CHARTS) + 120.0
    charts = look.beat(CHARTS)
    if not page.rows:
        made_up = f" A {world} market has no news of its own." if world else ""
        if charts is None or not charts["cycle_finished"]:
            return Card("news", title, source="charts", reason="News have not been fetched yet." + made_up)
        as_of = look.wall_of(charts["cycle_finished"], CHARTS)
        return Card("news", title, "empty", as_of, age_s, "charts", "No news were found." + made_up)
    judged = [row for row in page.rows if row["sentiment"]]
    score = sum(float(row["score"] or 0) for row in judged) / len(judged) if judged else None
    facts = (
        Fact("Mood of the last articles", number(score, 2, signed=True)),
        Fact("Bullish", count(sum(row["sentiment"] == "bullish" for row in judged))),
        Fact("Bearish", count(sum(row["sentiment"] == "bearish" for row in judged))),
        Fact("Neutral", count(sum(row["sentiment"] == "neutral" for row in judged))),
        Fact("Mood as a forecast", words(_verdict(look, "news", "local" if _read_locally(judged) else "model"))),
        Fact("Effect on orders", words(_effect(look, "news"))),
    )
    rows = tuple(_headline(row) for row in page.rows[:_HEADLINES])
    table = Table("Newest headlines", ("Headline", "Mood", "Score", "Source", "Published"), rows, (2,), look="news")
    as_of = max(look.wall_of(page.rows[0]["timestamp"], CHARTS) or 0, _round_ms(look, charts))
    return Card("news", title, "data", as_of, age_s, "charts", facts=facts, tables=(table,))


def _read_locally(judged: Sequence[Mapping[str, Any]]) -> bool:
    """Return whether the newest headline was judged on this machine."""
    return not judged or str(judged[0]["sentiment_mode"]).startswith("LOCAL")


def _round_ms(look: BotView, charts: Mapping[str, Any] | None) -> int:
    """When the chart bot's last round ended: known headlines are confirmed then, no new row is written."""
    finished = None if charts is None else charts["cycle_finished"]
    return look.wall_of(finished, CHARTS) or 0


def _headline(row: Mapping[str, Any]) -> Row:
    mood = row["sentiment"]
    cells = (
        words(row["title"]),
        word(mood, _MOODS.get(mood, "")) if mood else UNKNOWN,
        number(row["score"], 2, signed=True),
        words(row["source"]),
        instant(row["published_at"]),
    )
    details = (
        Fact("Why", words(row["sentiment_reason"])),
        Fact("Read by", words(row["sentiment_mode"])),
        Fact("Summary", words(row["summary"])),
        Fact("Address", words(row["url"])),
    )
    return Row(cells, key=f"news-{row['id']}", details=details)

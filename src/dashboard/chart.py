"""The chart: the candles the bot saw, its own indicators, what it did, its levels, and the equity.

Indicators are those that the bot wrote down in its turns. For candles before its first turn they are folded from the
same candles by the same function, so that the picture does not begin empty.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import select

from src.dashboard.bot_view import BotView
from src.dashboard.widgets import MINUS, Row, Table, instant, number, price
from src.domain.clock import MINUTE_MS, instant_of, utc_text
from src.domain.market import INTERVAL_MS
from src.reporting.equity import EquityPoint
from src.storage.tables import candles, signals, trades
from src.strategy.indicators import EMPTY, ready, step

SHOWN: Final = 500
_WARM: Final = 1_000
_LINES: Final = ("rsi", "vwap", "ema_50", "ema_200", "bollinger_upper", "bollinger_lower", "macd", "macd_signal",
                 "macd_histogram")  # fmt: skip
_BARS_TOLD: Final = 20
_EQUITY_POINTS: Final = 150
_MOST_TRADES: Final = 200
_DAYS: Final = 30
_WEEK: Final = 7


def chart(look: BotView, wanted: str | None) -> dict[str, Any]:
    """Return the chart of one contract, of the first one where none is named."""
    rows = _candles(look, wanted)
    symbol = rows[-1]["symbol"] if rows else wanted or ""
    frame = {"bot_id": look.bot_id, "symbol": symbol, "source": "bot", "max_age_s": look.turn_s}
    if not rows:
        nothing = {"base": "unknown", "as_of_ms": None, "reason": "The bot has not written down a candle yet."}
        return frame | nothing | {"candles": [], "equity": _equity(look, symbol)}
    shown = rows[-SHOWN:]
    length_ms = INTERVAL_MS.get(shown[-1]["interval"], MINUTE_MS)
    turns = _turns(look, symbol, shown[0]["open_ms"])
    lines = _indicators(rows, turns, length_ms)
    levels = _levels(look, symbol)
    tick = look.tick(symbol)
    return frame | {
        "base": "data",
        "reason": "",
        "as_of_ms": look.wall_of(utc_text(shown[-1]["open_ms"] + length_ms)),
        "interval": shown[-1]["interval"],
        "precision": 2 if tick is None else max(0, -int(tick.normalize().as_tuple().exponent)),
        "candles": [
            [row["open_ms"] // 1000, *(row[name] for name in ("open", "high", "low", "close"))] for row in shown
        ],
        "volumes": [row["volume"] for row in shown],
        "indicators": {name: _short(values[-SHOWN:], _places(name, tick)) for name, values in lines.items()},
        "last_turn": None if not turns else turns[-1]["timestamp"],
        "marks": _marks(look, symbol, shown[0]["open_ms"]),
        "levels": levels,
        "sentence": _sentence(look, symbol, shown[-1], levels, lines["rsi"][-1]),
        "table": _told(look, symbol, shown, lines["rsi"][-SHOWN:]),
        "equity": _equity(look, symbol),
    }


def _candles(look: BotView, wanted: str | None) -> list[dict[str, Any]]:
    """Return the last candles of the contract, oldest first."""
    own = look.scope.conditions(candles)
    if wanted is None:
        newest = look.reports.rows(select(candles.c.symbol).where(*own).order_by(candles.c.symbol).limit(1))
        if not newest:
            return []
        wanted = newest[0]["symbol"]
    query = select(candles).where(*own, candles.c.symbol == wanted).order_by(candles.c.open_ms.desc()).limit(_WARM)
    return look.reports.rows(query)[::-1]


def _turns(look: BotView, symbol: str, since_ms: int) -> list[dict[str, Any]]:
    """Return what the bot wrote down of its indicators in these turns, oldest first."""
    columns = [signals.c.timestamp, signals.c.instant_ms, signals.c.close, *(signals.c[name] for name in _LINES)]
    query = (
        select(*columns)
        .where(*look.scope.account.conditions(signals), signals.c.symbol == symbol)
        .where(signals.c.timestamp >= utc_text(since_ms))
        .order_by(signals.c.timestamp.desc())
        .limit(2 * SHOWN)
    )
    return look.reports.rows(query)[::-1]


def _indicators(
    rows: Sequence[Mapping[str, Any]], turns: Sequence[Mapping[str, Any]], length_ms: int
) -> dict[str, list[float | None]]:
    """Return each indicator's value at every candle, the bot's own where it took a turn."""
    places = {row["open_ms"]: index for index, row in enumerate(rows)}
    seen: dict[int, Mapping[str, Any]] = {}
    for turn in turns:
        last = places.get((turn["instant_ms"] // length_ms - 1) * length_ms)
        if last is None:
            continue
        near = [index for index in (last, last - 1, last + 1) if 0 <= index < len(rows)]
        same = next((index for index in near if rows[index]["close"] == turn["close"]), last)
        seen[same] = turn
    shown_from = max(0, len(rows) - SHOWN)
    folded = _folded(rows) if any(index not in seen for index in range(shown_from, len(rows))) else {}
    return {
        name: [seen[index][name] if index in seen else folded.get(name, {}).get(index) for index in range(len(rows))]
        for name in _LINES
    }


def _short(values: list[float | None], places: int) -> list[float | None]:
    """Return the values as finely as a picture can show, the newest with all it has: bytes matter on a phone."""
    return [None if value is None else round(value, places) for value in values[:-1]] + values[-1:]


def _places(name: str, tick: Decimal | None) -> int:
    """Return the decimals of an indicator: prices those of the contract's step, what swings about 0 one more."""
    if name == "rsi":
        return 2
    own = 4 if tick is None else max(0, -int(tick.normalize().as_tuple().exponent))
    return max(own + 1, 2) if name.startswith("macd") else own


def _folded(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[int, float]]:
    state = EMPTY
    found: dict[str, dict[int, float]] = {name: {} for name in _LINES}
    for index, row in enumerate(rows):
        state, values = step(state, row["high"], row["low"], row["close"], row["volume"])
        if ready(values):
            for name in _LINES:
                value = float(getattr(values, name))
                if math.isfinite(value):
                    found[name][index] = value
    return found


def _marks(look: BotView, symbol: str, since_ms: int) -> list[dict[str, Any]]:
    """Return entries and exits since an instant, oldest first."""
    query = (
        select(trades)
        .where(*look.scope.account.conditions(trades), trades.c.symbol == symbol)
        .where(trades.c.timestamp >= utc_text(since_ms))
        .order_by(trades.c.timestamp.desc())
        .limit(_MOST_TRADES)
    )
    found = []
    for row in look.reports.rows(query):
        found.append({"time": instant_of(row["entry_time"]) // 1000, "kind": "entry", "side": row["side"],
                      "text": f"{row['side'].lower()} {row['entry_price']:f}"})  # fmt: skip
        if row["exit_time"]:
            won = row["pnl"] is not None and row["pnl"] > 0
            found.append({"time": instant_of(row["exit_time"]) // 1000, "kind": "exit", "side": row["side"],
                          "text": f"out {row['pnl'] or 0:+.2f}".replace("-", MINUS), "won": won})  # fmt: skip
    return sorted((mark for mark in found if mark["time"] * 1000 >= since_ms), key=lambda mark: mark["time"])


def _levels(look: BotView, symbol: str) -> list[dict[str, Any]]:
    """Return the prices that matter: entry, stop, target, liquidation of the position, the analyst's levels."""
    found = []
    for row in look.reports.open_positions(look.scope):
        if row["symbol"] == symbol:
            names = {"entry_price": "entry", "stop_price": "stop", "target_price": "target",
                     "liquidation_price": "liquidation"}  # fmt: skip
            found += [
                {"kind": kind, "price": float(row[name]), "side": row["side"]}
                for name, kind in names.items()
                if row[name] is not None
            ]
    analysis = look.reports.chart_analysis(look.scope, only_good=True)
    if analysis is not None and analysis["symbol"] == symbol:
        for kind in ("support", "resistance"):
            found += [{"kind": kind, "price": level, "side": ""} for level in (analysis[f"{kind}_levels"] or [])[:3]]
    return found


def _sentence(
    look: BotView, symbol: str, last: Mapping[str, Any], levels: Sequence[Mapping[str, Any]], rsi: float | None
) -> str:
    """Say what the picture shows, for who does not see it."""
    tick = look.tick(symbol)
    said = [f"{symbol} {last['interval']} candles, last close {price(last['close'], tick).text}"]
    if rsi is not None:
        said.append(f"RSI {rsi:.2f}")
    entry = next((level for level in levels if level["kind"] == "entry"), None)
    if entry is not None:
        said.append(f"{entry['side'].lower()} from {price(entry['price'], tick).text}")
    for level in levels:
        if level["kind"] in ("stop", "target", "liquidation"):
            away = f"{(level['price'] / last['close'] - 1) * 100:+.2f}".replace("-", MINUS)
            said.append(f"{level['kind']} {price(level['price'], tick).text} ({away} %)")
    return ", ".join(said) + "."


def _told(look: BotView, symbol: str, rows: Sequence[Mapping[str, Any]], rsi: Sequence[float | None]) -> dict[str, Any]:
    """Return the last bars as a table."""
    tick = look.tick(symbol)
    told = [
        Row(
            (
                instant(row["timestamp"]),
                *(price(row[name], tick) for name in ("open", "high", "low", "close")),
                number(row["volume"], 3),
                number(value, 2),
            ),
            key=f"bar-{row['open_ms']}",
        )
        for row, value in list(zip(rows, rsi, strict=True))[-_BARS_TOLD:][::-1]
    ]
    columns = ("Opened", "Open", "High", "Low", "Close", "Volume", "RSI")
    return asdict(Table(f"The last {_BARS_TOLD} candles of {symbol}", columns, tuple(told), (1, 2, 3, 4, 5, 6)))


def _equity(look: BotView, symbol: str) -> dict[str, Any]:
    """Return equity, its fall below the highest until then, and what holding the contract would have made of it.

    Money paid in or out moves the highest with it, and lies beside what is held.
    """
    points = look.reports.equity_curve(look.scope, look.since(_DAYS), look.now, _EQUITY_POINTS)
    if len(points) <= _WEEK:  # too few days for a line: every few turns of the week
        points = look.reports.equity_curve(look.scope, look.since(_WEEK), look.now, _EQUITY_POINTS)
    fine = [point for point in points if len(point[0]) > 10]
    if not fine:  # longer than a week: days; their end is midnight
        points = [point._replace(moment=f"{point.moment}T23:59:59.999Z") for point in points]
    by_second = {instant_of(point.moment) // 1000: point for point in points}
    first: EquityPoint | None = None
    first_price: float | None = None
    earned = Decimal("-Infinity")
    found = []
    for second, point in sorted(by_second.items()):
        first, earned = first or point, max(earned, point.equity - point.transferred)
        seen, highest = _price_at(look, symbol, point.moment), earned + point.transferred
        first_price = first_price or seen
        paid = float(point.transferred - first.transferred)
        hold = None if seen is None or not first_price else float(first.equity) * seen / first_price + paid
        fall = 0.0 if not highest else float(point.equity / highest) - 1.0
        found.append([second, float(point.equity), fall, hold])
    return {"points": found, "against": f"holding {symbol}" if symbol else ""}


def _price_at(look: BotView, symbol: str, moment: str) -> float | None:
    query = (
        select(signals.c.price)
        .where(*look.scope.account.conditions(signals), signals.c.symbol == symbol, signals.c.timestamp <= moment)
        .order_by(signals.c.timestamp.desc(), signals.c.id.desc())
        .limit(1)
    )
    rows = look.reports.rows(query)
    return None if not rows else rows[0]["price"]

"""The chart: the candles the bot saw in a chosen timeframe, indicators, what it did, its levels.

Candles and indicators are always of one timeframe. A value that the bot recorded is drawn at a candle only where it was
computed from that candle: same timeframe, close and volume. All others are computed from the drawn candles.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from decimal import Decimal
from itertools import groupby
from typing import Any, Final

from sqlalchemy import select

from src.dashboard.bot_view import BotView
from src.dashboard.widgets import MINUS, Row, Table, instant, number, price
from src.domain.clock import MINUTE_MS, instant_of, utc_text
from src.domain.market import INTERVAL_MS
from src.storage.tables import candles, signals, trades
from src.strategy.indicators import EMPTY, ready, step

SHOWN: Final = 500
_WARM: Final = 3_000
_LINES: Final = ("rsi", "vwap", "ema_50", "ema_200", "bollinger_upper", "bollinger_lower", "macd", "macd_signal",
                 "macd_histogram")  # fmt: skip
_BARS_TOLD: Final = 20
_MOST_TRADES: Final = 200
TIMEFRAMES: Final = ("1m", "5m", "15m", "1h", "4h", "1d")
_SAME_VOLUME: Final = 1e-6  # the exchange's longer candle against the sum of the minutes in it


def chart(look: BotView, wanted: str | None, timeframe: str = "", until_ms: int | None = None) -> dict[str, Any]:
    """Return the chart of one contract (the first where none is named) in one timeframe (the stored one by default).

    With ``until_ms`` it ends there, else with the newest candle.
    """
    rows = _candles(look, wanted, until_ms)
    symbol = rows[-1]["symbol"] if rows else wanted or ""
    frame = {"bot_id": look.bot_id, "symbol": symbol, "source": "exchange", "max_age_s": look.turn_s,
             "timeframes": TIMEFRAMES, "decides_on": look.candle_interval}  # fmt: skip
    if not rows:
        nothing = {"base": "unknown", "as_of_ms": None, "reason": "The bot has not written down a candle yet."}
        return frame | nothing | {"candles": [], "timeframe": timeframe}
    stored = rows[-1]["interval"]
    last_ms = rows[-1]["open_ms"] + INTERVAL_MS.get(stored, MINUTE_MS)
    length_ms = INTERVAL_MS.get(timeframe or stored, MINUTE_MS)
    rows = list(_merged(rows, length_ms)) if timeframe not in ("", stored) else rows
    return (
        frame
        | {"base": "data", "reason": "", "as_of_ms": look.wall_of(utc_text(last_ms))}
        | _drawn(look, symbol, rows, length_ms, timeframe or stored)
    )


def _drawn(
    look: BotView, symbol: str, rows: Sequence[dict[str, Any]], length_ms: int, timeframe: str
) -> dict[str, Any]:
    """Return what stands in the chart."""
    shown = rows[-SHOWN:]
    turns = _turns(look, symbol, shown[0]["open_ms"], timeframe)
    lines = _indicators(rows, turns)
    levels = _levels(look, symbol)
    tick = look.tick(symbol)
    return {
        "timeframe": timeframe,
        "interval": timeframe,
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
    }


def _merged(rows: Sequence[Mapping[str, Any]], length_ms: int) -> Iterator[dict[str, Any]]:
    """Yield the candles of a longer timeframe; the first one is left out where its beginning is not stored."""
    interval = next(name for name, each in INTERVAL_MS.items() if each == length_ms)
    for open_ms, group in groupby(rows, key=lambda row: int(row["open_ms"]) // length_ms * length_ms):
        part = list(group)
        if part[0]["open_ms"] != open_ms and part[0] is rows[0]:
            continue
        yield {
            "symbol": part[0]["symbol"],
            "interval": interval,
            "open_ms": open_ms,
            "timestamp": utc_text(open_ms),
            "open": part[0]["open"],
            "high": max(row["high"] for row in part),
            "low": min(row["low"] for row in part),
            "close": part[-1]["close"],
            "volume": sum(row["volume"] for row in part),
        }


def _candles(look: BotView, wanted: str | None, until_ms: int | None = None) -> list[dict[str, Any]]:
    """Return the last candles of the contract, oldest first."""
    own = look.scope.conditions(candles)
    if wanted is None:
        newest = look.reports.rows(select(candles.c.symbol).where(*own).order_by(candles.c.symbol).limit(1))
        if not newest:
            return []
        wanted = newest[0]["symbol"]
    query = select(candles).where(*own, candles.c.symbol == wanted).order_by(candles.c.open_ms.desc()).limit(_WARM)
    if until_ms is not None:
        query = query.where(candles.c.open_ms <= until_ms)
    return look.reports.rows(query)[::-1]


def _turns(look: BotView, symbol: str, since_ms: int, timeframe: str) -> list[dict[str, Any]]:
    """Return what the bot recorded of its indicators of this timeframe in these turns, oldest first."""
    column = signals.c
    columns = [column.timestamp, column.instant_ms, column.close, column.volume, *(column[name] for name in _LINES)]
    query = (
        select(*columns)
        .where(*look.scope.account.conditions(signals), column.symbol == symbol)
        .where(column.timestamp >= utc_text(since_ms), column.candle_interval == timeframe)
        .order_by(column.timestamp.desc())
        .limit(2 * SHOWN)
    )
    return look.reports.rows(query)[::-1]


def _indicators(rows: Sequence[Mapping[str, Any]], turns: Sequence[Mapping[str, Any]]) -> dict[str, list[float | None]]:
    """Return each indicator's value at every candle: the bot's own where it looked at that candle."""
    seen: dict[int, Mapping[str, Any]] = {}
    places = {(row["close"]): index for index, row in enumerate(rows)}
    for turn in turns:
        index = places.get(turn["close"])
        if index is not None and math.isclose(rows[index]["volume"], turn["volume"] or 0.0, rel_tol=_SAME_VOLUME):
            seen[index] = turn
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

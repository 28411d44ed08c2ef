"""Writes snapshots of the running bot for the dashboard: candles, live prices, tick and step sizes, warnings.

The dashboard reads these rows instead of querying the exchange, so that it shows the bot's own candles, needs no key,
and stays correct while the exchange is unavailable.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final, Protocol

from sqlalchemy import Connection, delete

from src.domain.clock import ExchangeClock, SystemClock, utc_text
from src.domain.market import Candle, Instrument, MarkPrice
from src.domain.portfolio import Account
from src.runtime.settings import Settings
from src.storage.database import TradingDatabase
from src.storage.engine import BATCH, insert_or
from src.storage.rows import Heartbeat
from src.storage.tables import candles

KEPT: Final = 3_000
"""Candles kept for each pair: a week of quarter hours, two days of minutes."""
_KEY: Final = ("bot_id", "mode", "world", "symbol", "interval", "open_ms")


class SnapshotFeed(Protocol):
    """The part of the market feed that is used here."""

    def candles(self, symbol: str) -> Sequence[Candle]:
        """Return the closed candles of a pair, oldest first."""

    def mark_price(self, symbol: str) -> MarkPrice | None:
        """Return the newest mark price."""


class BotSnapshotWriter:
    """Writes the bot's snapshots; ``interval`` is that of the candles in ``feed``.

    ``cautions`` are warnings for the operator, shown as long as the bot runs.
    """

    def __init__(
        self,
        *,
        database: TradingDatabase,
        feed: SnapshotFeed,
        instruments: Iterable[Instrument],
        interval: str,
        interval_ms: int,
        cautions: Sequence[str] = (),
    ) -> None:
        self._database = database
        self._feed = feed
        self._instruments = {each.symbol: each for each in instruments}
        self._interval = interval
        self._interval_ms = interval_ms
        self._cautions = tuple(cautions)
        self._written_ms: dict[str, int] = {}

    def note_candles(self) -> None:
        """Write, in the background, the candles that closed since the last call; at the first call all of them."""
        for symbol in self._instruments:
            last_ms = self._written_ms.get(symbol, -1)
            new = [each for each in self._feed.candles(symbol)[-KEPT:] if each.open_ms > last_ms]
            if new:
                self._write(symbol, new, everything=last_ms < 0)
                self._written_ms[symbol] = new[-1].open_ms

    def details(self) -> dict[str, Any]:
        """Return the newest mark price and funding of each pair, the steps of prices and sizes, and the cautions."""
        marks = {symbol: self._feed.mark_price(symbol) for symbol in self._instruments}
        return {
            "marks": {symbol: _mark(mark) for symbol, mark in marks.items() if mark is not None},
            "instruments": {
                symbol: {"tick": f"{each.tick_size:f}", "step": f"{each.step_size:f}", "base": each.base_asset}
                for symbol, each in self._instruments.items()
            },
            "cautions": list(self._cautions),
        }

    def valued(self, account: Account) -> Account:
        """Return the account with the time of the prices at which its positions are valued."""
        marks = [self._feed.mark_price(each.symbol) for each in account.positions]
        valued_ms = max((mark.time_ms for mark in marks if mark is not None), default=0)
        if valued_ms <= account.as_of_ms:
            return account
        held = tuple(replace(each, updated_ms=max(each.updated_ms, valued_ms)) for each in account.positions)
        return replace(account, as_of_ms=valued_ms, positions=held)

    def _write(self, symbol: str, new: Sequence[Candle], everything: bool) -> None:
        own = self._database.owner.columns(symbol) | {"interval": self._interval}
        rows = [own | _row(candle) for candle in new]
        for start in range(0, len(rows), BATCH):
            piece = rows[start : start + BATCH]
            self._database.write_later(partial(_save, rows=piece))
        if everything or new[-1].open_ms // self._interval_ms % 100 == 0:
            oldest = new[-1].open_ms - KEPT * self._interval_ms
            old = delete(candles).where(
                self._database.owner.rows_of(candles), candles.c.symbol == symbol, candles.c.open_ms < oldest
            )
            self._database.write_later(lambda connection: connection.execute(old))


def first_beat(settings: Settings, clock: ExchangeClock, version: str) -> Heartbeat:
    """Return the heartbeat of a bot that is starting."""
    now = utc_text(clock.now_ms())
    return Heartbeat(
        timestamp=now,
        beat_at=utc_text(SystemClock().now_ms()),
        process="trading_bot",
        pid=os.getpid(),
        started_at=now,
        phase="starting",
        version=version,
        config_hash=settings.config_hash(),
        interval_s=settings.interval_s,
        speed=clock.speed,
    )


def _row(candle: Candle) -> dict[str, Any]:
    return {
        "timestamp": utc_text(candle.open_ms),
        "open_ms": candle.open_ms,
        "open": candle.open,
        "high": candle.high,
        "low": candle.low,
        "close": candle.close,
        "volume": candle.volume,
    }


def _save(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write candles; a known candle is not written twice."""
    statement = insert_or(connection, candles).on_conflict_do_nothing(index_elements=_KEY)
    connection.execute(statement, list(rows))


def _mark(mark: MarkPrice) -> dict[str, str]:
    return {
        "mark": f"{mark.mark:f}",
        "as_of": utc_text(mark.time_ms),
        "funding_rate": f"{mark.funding_rate:f}",
        "next_funding": utc_text(mark.next_funding_ms),
    }

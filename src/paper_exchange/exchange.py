"""The venue with its clock, listeners and storage; everything but the network."""

import asyncio
import logging
import re
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import asdict
from hashlib import blake2b
from typing import Any

from src.domain.clock import SystemClock, instant_of, monotonic_s
from src.domain.errors import DataRefused
from src.domain.market import Instrument
from src.paper_exchange.charts import Charts
from src.paper_exchange.config import PaperConfig
from src.paper_exchange.contracts import Contract
from src.paper_exchange.depth_history import DepthHistory
from src.paper_exchange.events import Event
from src.paper_exchange.faults import Faults
from src.paper_exchange.intrabar_path import MINUTE_MS
from src.paper_exchange.limits import RequestLimits
from src.paper_exchange.listen_keys import ListenKey, ListenKeys
from src.paper_exchange.listing import changed
from src.paper_exchange.market_clock import Anchor, MarketClock
from src.paper_exchange.markets import Market, OpenedMarket
from src.paper_exchange.model import VenueError
from src.paper_exchange.store import DiskFull, StateStore
from src.paper_exchange.trade_tape import Tick, ticks_of
from src.paper_exchange.venue import Venue

log = logging.getLogger(__name__)

# A replay begins so many minutes into its file (or a quarter of it), so that there is a history.
PAST_MINUTES = 11_520
# A picture is saved at most so often, and never for more than a fiftieth of the time.
SAVE_EVERY_S = 0.2
SAVE_SHARE = 50
IDLE_SAVE_S = 30.0

EventSink = Callable[[list[Event]], None]
KeySink = Callable[[ListenKey], None]


class PaperExchange:
    """One paper exchange; ``tick`` brings it to the present, and everybody calls it before asking anything."""

    def __init__(self, config: PaperConfig, market: OpenedMarket, store: StateStore) -> None:
        self.config = config
        self.market = market
        self.contracts = _listed(config, market)
        self.instruments: dict[str, Instrument] = {
            symbol: contract.rules for symbol, contract in self.contracts.items()
        }
        self.limits = RequestLimits()
        self.faults = Faults()
        self.shown = DepthHistory()
        self.listen_keys = ListenKeys()
        self.on_events: list[EventSink] = []
        self.on_expired_key: list[KeySink] = []
        self._store = store
        self._dirty = True
        self._next_save_s = 0.0
        self._last_save_s = 0.0
        self._disk_full = False
        self._ticks: dict[tuple[str, int], list[Tick]] = {}
        saved = self._saved()
        begin_ms = start_of(market, config)
        anchor, start_ms = saved_anchor(saved, store) if saved else (Anchor(begin_ms, _wall_ms()), begin_ms)
        self.market_clock = MarketClock(anchor, config.speed, market.end_ms)
        self.venue = Venue(market, start_ms, contracts=self.contracts, balance=config.balance)
        if saved:
            self._take_over(saved)
        self.quotes = self.venue.quotes
        self.charts = Charts(market, self.quotes, lambda: self.venue.now_ms)
        for key in config.keys.secrets:
            self.venue.open_account(key)

    def _saved(self) -> dict[str, Any] | None:
        """The picture of this world; that of another one is put aside."""
        saved = self._store.load()
        if saved is None or saved.get("world") == self._world_name():
            return saved
        self._store.set_aside(str(saved.get("world")), self._world_name())
        return self._store.load()

    def _take_over(self, saved: dict[str, Any]) -> None:
        try:
            self.venue.restore(saved["venue"])
            self.listen_keys.restore(saved["listen_keys"])
        except (ArithmeticError, AttributeError, KeyError, LookupError, TypeError, ValueError) as error:
            raise self._store.corrupt(f"its inside is not understood ({type(error).__name__}: {error})") from error

    def repeat(self, perform: Callable[[str, str, dict[str, str]], None]) -> int:
        """Carry out the journal's commands once more, each at its instant, and return how many there were.

        ``perform`` takes endpoint, account and parameters.
        """
        count = 0
        for command in self._store.commands():
            self.venue.advance(command.market_ms)
            perform(command.endpoint, command.account, command.parameters)
            count += 1
        return count

    def tick(self) -> int:
        """Let everything happen up to now, tell the listeners, and return the market instant."""
        now = self.market_clock.now_ms()
        if now > self.venue.now_ms:
            self.venue.advance(now)
        self.publish()
        return self.venue.now_ms

    def publish(self) -> None:
        """Tell the listeners what has happened since the last time."""
        events = self.venue.drain()
        if events:
            self._dirty = True
            for tell in self.on_events:
                tell(events)
        for key in self.listen_keys.expired(self.venue.now_ms):
            self._dirty = True
            for tell_key in self.on_expired_key:
                tell_key(key)

    def wire_ms(self) -> int:
        """Return the time sent to clients: the market's, plus a fault's skew."""
        return self.market_clock.now_ms() + self.faults.skew_ms

    def remember(self, account: str, endpoint: str, parameters: dict[str, str]) -> None:
        """Write a command to the disk; call before it is carried out.

        Raises:
            VenueError: HTTP 503, "Service Unavailable.": the disk is full, so nothing may happen.
        """
        try:
            self._store.append(self.venue.now_ms, account, endpoint, parameters)
        except DiskFull as error:
            self._note_disk(error)
            raise VenueError(-1000, "Service Unavailable.", 503) from error
        self._dirty = True

    def ticks(self, symbol: str, open_ms: int) -> list[Tick]:
        """Return the aggregated trades of one minute, up to now; none in a gap."""
        if self.market.candle(symbol, open_ms) is None:
            return []
        known = self._ticks.get((symbol, open_ms))
        if known is None:
            if len(self._ticks) > 4096:
                self._ticks.clear()
            known = ticks_of(self.quotes.minute(symbol, open_ms), self.instruments[symbol])
            self._ticks[symbol, open_ms] = known
        now = self.venue.now_ms
        return known if open_ms + MINUTE_MS <= now else [tick for tick in known if tick.time_ms <= now]

    def change_contract(self, symbol: str, changes: dict[str, Any], listed: bool = True) -> None:
        """Put other rules of a contract in force, or take it off the list."""
        contract = changed(self.contracts[symbol], changes) if listed else None
        self.venue.change_contract(symbol, contract)
        if contract is None:
            self.publish()  # what its end told is written by its rules
            del self.contracts[symbol], self.instruments[symbol]
        else:
            self.contracts[symbol], self.instruments[symbol] = contract, contract.rules

    def forget_ticks(self) -> None:
        """Drop the trades made so far: prices were shocked."""
        self._ticks.clear()

    def save_is_due(self) -> bool:
        """Return whether something changed, and the last picture is long enough ago."""
        now_s = monotonic_s()
        return (self._dirty and now_s >= self._next_save_s) or now_s - self._last_save_s > IDLE_SAVE_S

    async def save_beside(self, side: Executor) -> None:
        """Save a snapshot while the event loop continues: only taking it blocks the loop."""
        start_s, loop = monotonic_s(), asyncio.get_running_loop()
        picture = self._store.picture(self._state())
        self._dirty = False
        took_s = monotonic_s() - start_s
        try:
            await loop.run_in_executor(side, self._store.write, picture)
            self._store.trim(picture)
            self._note_disk(None)
        except DiskFull as error:
            self._note_disk(error)
        self._last_save_s = monotonic_s()
        self._next_save_s = self._last_save_s + max(SAVE_EVERY_S, SAVE_SHARE * took_s)

    async def sync_beside(self, side: Executor) -> None:
        """Flush the journal to disk while the event loop continues."""
        try:
            await asyncio.get_running_loop().run_in_executor(side, self._store.sync_journal)
        except DiskFull as error:
            self._note_disk(error)

    def save(self) -> bool:
        """Save a snapshot of everything now; return whether there was space for it.

        Without space the last snapshot and the journal stand, which hold every answered command.
        """
        try:
            self._store.save(self._state())
        except DiskFull as error:
            self._note_disk(error)
            return False
        self._note_disk(None)
        self._dirty = False
        self._last_save_s = monotonic_s()
        return True

    def _note_disk(self, error: DiskFull | None) -> None:
        """Say once that the disk is full, and once that it takes pictures again."""
        if error is not None:
            self._dirty = True
            if not self._disk_full:
                log.error("disk full: continuing in memory; orders that cannot be stored are refused: reason=%s", error)
        elif self._disk_full:
            log.warning("the disk has space again: state saved")
        self._disk_full = error is not None

    def _state(self) -> dict[str, Any]:
        return {
            "world": self._world_name(),
            "anchor": asdict(self.market_clock.anchor()),
            "venue_ms": self.venue.now_ms,
            "venue": self.venue.snapshot(),
            "listen_keys": self.listen_keys.snapshot(),
        }

    def _world_name(self) -> str:
        """Name the world that the accounts live in: figures of two worlds are never mixed in one state file."""
        spec, start = self.config.market, self.config.start
        readable = re.sub(r"[^A-Za-z0-9]+", "-", spec.partition(":")[0])
        return f"{readable}-{blake2b(f'{spec}|{start}'.encode(), digest_size=4).hexdigest()}"


def saved_anchor(saved: dict[str, Any], store: StateStore) -> tuple[Anchor, int]:
    """Return the clocks' anchor and the venue's instant of a picture; raises ``StateCorrupt``."""
    try:
        return Anchor(**saved["anchor"]), int(saved["venue_ms"])
    except (KeyError, TypeError, ValueError) as error:
        raise store.corrupt(f"it tells no instant ({error})") from error


def _listed(config: PaperConfig, market: OpenedMarket) -> dict[str, Contract]:
    """Return the traded contracts: the requested ones of the market whose rules are known."""
    wanted = config.symbols or market.symbols
    absent = [symbol for symbol in wanted if symbol not in market.symbols]
    if absent:
        had = ", ".join(market.symbols)
        raise DataRefused(f"PAPER_SYMBOLS: the market {config.market} has no {absent[0]}, only {had}")
    unknown = [symbol for symbol in wanted if symbol not in config.contracts]
    if unknown:
        raise DataRefused(
            f"the rules of {', '.join(unknown)} are not known; fetch them with python3 -m src.market_data contracts "
            "--update, or name others in PAPER_SYMBOLS"
        )
    return {symbol: contract for symbol, contract in config.contracts.items() if symbol in wanted}


def start_of(market: OpenedMarket, config: PaperConfig) -> int:
    """Return the market instant of a first start: ``PAPER_START``, or now, or a good way into a recording.

    Raises:
        DataRefused: the start is no instant, or lies outside the market.
    """
    if config.start:
        return _chosen_start(market, config.start)
    if market.end_ms is None:
        return _wall_ms() - market.lag_ms
    minutes = (market.end_ms - market.first_ms) // MINUTE_MS
    past = PAST_MINUTES if minutes > 2 * PAST_MINUTES else minutes // 4
    return market.first_ms + past * MINUTE_MS


def _chosen_start(market: Market, text: str) -> int:
    try:
        start_ms = instant_of(text)
    except ValueError:
        raise DataRefused(f"PAPER_START={text} is no instant: write it as 2023-07-10T00:00:00") from None
    if start_ms < market.first_ms or (market.end_ms is not None and start_ms >= market.end_ms):
        raise DataRefused(f"PAPER_START={text} lies outside the market's recording")
    return start_ms


def _wall_ms() -> int:
    return SystemClock().now_ms()

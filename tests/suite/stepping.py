"""A market that stands and is moved on minute by minute: each step ends when the bot's turn is done and on disk.

Between two turns nothing happens that the bot would see, but where a price comes near a stop, an early stop or a
target: such a minute goes by second for second, as it would for a bot that hears every second's mark price. What the
bot does by the wall's clock (its sockets, and confirming its account every ten minutes) is waited for.
"""

import json
import sqlite3
from decimal import Decimal
from http.client import HTTPConnection
from time import sleep
from typing import Any, Self

from src.domain.clock import MINUTE_MS, monotonic_s, utc_text
from src.domain.portfolio import Direction
from src.domain.risk import RiskLimits, early_stop_price
from src.market_data.columns import Candles
from tests.paper_exchange.running import CONTROL_TOKEN, PaperExchange, wait_until
from tests.suite.running import Bot

SECOND_MS = 1_000
NEAR_SHARE = 0.0005
"""A minute whose prices come so near to a level, as a share of the price, is stepped through by seconds."""
_POLL_S = 0.001
_REACTS_WITHIN_S = 1.0
_TURN_WITHIN_S = 60.0
_PATIENCE_S = 20.0
_SETTLES_S = 0.03
_SETTLED = """
    SELECT (SELECT COUNT(*) FROM trades WHERE status = 'open') + (SELECT COUNT(*) FROM orders WHERE NOT finished)
"""

_ENTRIES = "SELECT COUNT(*) FROM orders WHERE NOT finished AND purpose = 'entry'"
_WAITING = "SELECT COUNT(*) FROM orders WHERE NOT finished AND purpose IN ('stop', 'target')"
_REFUSED = "SELECT COUNT(*) FROM orders WHERE purpose = 'exit' AND status = 'REJECTED' AND timestamp >= '{}'"
"""Exits tried since an instant that the exchange did not take: after a jump no price lies within its bounds."""


def standing(start_ms: int) -> dict[str, Any]:
    """Return what ``suite`` needs for a market that will stand at ``start_ms``, a whole minute.

    The bot's clock runs on between two events, at a hundredth of the wall's speed: so little that the exchange, whose
    patience is measured at its own speed, does not refuse it.
    """
    return {"speed": 1.0, "start_at": utc_text(start_ms - MINUTE_MS)[:19], "PAPER_SPEED": "0.01"}


class Steps:
    """Moves one market, made as ``standing`` says, on under one bot; ``candles`` are those that the market replays.

    Without them no minute is stepped through by seconds: right only for markets that stay far from every level.
    """

    def __init__(
        self,
        exchange: PaperExchange,
        bot: Bot,
        start_ms: int,
        candles: Candles | None = None,
        limits: RiskLimits | None = None,
        reconcile_s: float = 600.0,
    ) -> None:
        self._wire = HTTPConnection(exchange.host, exchange.port, timeout=30)
        self._bot = bot
        self._start_ms = start_ms
        self._candles = candles
        self._limits = limits or RiskLimits()
        self._database: sqlite3.Connection | None = None
        self._cycle = 0
        self._confirm_every_ms = int(reconcile_s * 1_000) + MINUTE_MS
        self._confirmed = (0, 0)
        self.by_seconds = 0
        self.late = list[str]()

    def __enter__(self) -> Self:
        """Let the market stand at its start."""
        self._control("POST", "clock", freeze=True, advance_to=self._start_ms)
        return self

    def __exit__(self, *_details: object) -> None:
        """Close what was opened; the market keeps standing."""
        self._wire.close()
        if self._database is not None:
            self._database.close()

    def wait_for_start(self) -> None:
        """Wait until the bot that was just started has taken its first turn and hears both kinds of news."""
        wait_until(lambda: self._running() or not self._bot.alive, _TURN_WITHIN_S, 0.02)
        self._cycle = self._cycle_done()
        clock = self._clock()
        self._confirmed = _account_calls(clock), int(clock["now_ms"])

    def forward(self, minutes: int) -> None:
        """Let so many minutes go by, each until the bot has taken its turn."""
        for _ in range(minutes):
            now = int(self._ready_clock()["now_ms"])
            if self._is_rough(now):
                self._pass_by_seconds(now)
            self._turn_at((now // MINUTE_MS + 1) * MINUTE_MS)

    def _turn_at(self, boundary_ms: int) -> None:
        self._advance(boundary_ms)
        if not self._turn_seen(_PATIENCE_S):
            self._let_time_pass(boundary_ms)
        self._cycle = self._cycle_done()

    def _let_time_pass(self, boundary_ms: int) -> None:
        """Let the market go on by seconds until a turn is taken that does not come: a socket was lost meanwhile.

        In a market that stands, the candle that was not heard would never be missed. Such a turn is late.
        """
        self.late.append(utc_text(boundary_ms))
        for second in range(1, 31):
            self._advance(boundary_ms + second * SECOND_MS)
            if self._turn_seen(2.0):
                return
        raise AssertionError(f"no turn at {utc_text(boundary_ms)}: {self._bot.log[-3000:]}")

    def _turn_seen(self, within_s: float) -> bool:
        deadline_s = monotonic_s() + within_s
        while self._cycle_done() <= self._cycle and monotonic_s() < deadline_s:
            assert self._bot.alive, self._bot.log[-3000:]
            sleep(_POLL_S)
        return self._cycle_done() > self._cycle

    def _pass_by_seconds(self, now_ms: int) -> None:
        self.by_seconds += 1
        boundary_ms = (now_ms // MINUTE_MS + 1) * MINUTE_MS
        held, waits = self._position()[0], self._entry_waits()
        for at in range(now_ms // SECOND_MS * SECOND_MS + SECOND_MS, boundary_ms, SECOND_MS):
            looked = self._order_calls() if waits else 0
            self._advance(at)
            if waits:
                self._let_entry_be_followed(looked)
                waits = self._entry_waits()
            position, levels = self._position()
            if position is not None and held is not None and position["positionAmt"] != held["positionAmt"]:
                resting = len(levels)  # a part was closed: the bot takes note of it
                self._wait(lambda resting=resting: self._one(_WAITING) == resting)
            held = position
            if self._exit_was_refused(now_ms):  # tried again after growing pauses: not in each second
                self._give_time(lambda at=at: self._closed() or self._exit_was_refused(at))
            elif (position is None and not waits) or (position is not None and self._early_stop_reached(position)):
                self._wait(lambda at=at: self._closed() or self._exit_was_refused(at))

    def _entry_waits(self) -> bool:
        """Return whether an entry rests at the exchange: the bot looks at it each second."""
        return self._one(_ENTRIES) > 0

    def _order_calls(self) -> int:
        return sum(count for name, count in self._clock()["asked"].items() if name.endswith("/order"))

    def _let_entry_be_followed(self, looked: int) -> None:
        """Wait until the bot has looked at its order in this second, and asks nothing more."""
        self._wait(lambda: self._order_calls() > looked or not self._entry_waits())
        before = dict[str, int]()
        while (now := self._clock()["asked"]) != before:
            before = now
            sleep(_SETTLES_S)

    def _exit_was_refused(self, since_ms: int) -> bool:
        return self._one(_REFUSED.format(utc_text(since_ms))) > 0

    def _closed(self) -> bool:
        return self._position()[0] is None and self._one(_SETTLED) == 0

    def _is_rough(self, now_ms: int) -> bool:
        """Return whether a price of the coming minute comes near a level at which exchange or bot would act.

        A mark price looks back half a minute, so the minute before counts too.
        """
        if self._candles is None:
            return False
        if self._entry_waits():
            return True
        position, levels = self._position()
        row = self._candles.place(now_ms // MINUTE_MS * MINUTE_MS)
        if position is None or row is None:
            return position is not None
        if self._exit_was_refused(now_ms // MINUTE_MS * MINUTE_MS):
            return True
        rows = slice(max(row - 1, 0), row + 1)
        low = float(self._candles.low[rows].min()) * (1.0 - NEAR_SHARE)
        high = float(self._candles.high[rows].max()) * (1.0 + NEAR_SHARE)
        return any(low <= float(level) <= high for level in [*levels, self._early_stop(position)])

    def _position(self) -> tuple[dict[str, str] | None, list[Decimal]]:
        """Return the exchange's word on the open position, None when flat, and its orders' trigger prices."""
        account = next(iter(self._control("GET", "state")["accounts"].values()))
        held = [row for row in account["positions"] if Decimal(row["positionAmt"]) != 0]
        return (held[0] if held else None), [Decimal(row["triggerPrice"]) for row in account["algo_orders"]]

    def _early_stop(self, position: dict[str, str]) -> Decimal:
        direction = Direction.LONG if Decimal(position["positionAmt"]) > 0 else Direction.SHORT
        return early_stop_price(Decimal(position["entryPrice"]), direction, self._limits)

    def _early_stop_reached(self, position: dict[str, str]) -> bool:
        mark = Decimal(self._ask("GET", f"/fapi/v1/premiumIndex?symbol={position['symbol']}")["markPrice"])
        beyond = mark - self._early_stop(position)
        return beyond <= 0 if Decimal(position["positionAmt"]) > 0 else beyond >= 0

    def _ready_clock(self) -> Any:
        """Return the clock's state when the bot hears both kinds of news and has confirmed its account, if that is due.

        The exchange ends each socket after a day. A bot looks four times a second whether its account is to be
        confirmed: minutes that go by in milliseconds would make it older than it gets in any real market.
        """
        found = self._clock()
        if not self._is_ready(found):
            self._wait(lambda: self._is_ready(self._clock()))
        return found

    def _is_ready(self, clock: Any) -> bool:
        calls, since_ms = self._confirmed
        asked, now = _account_calls(clock), int(clock["now_ms"])
        if asked > calls:
            self._confirmed = asked, now
        late = asked == calls and now + MINUTE_MS - since_ms > self._confirm_every_ms
        return not late and {"market", "private"} <= set(clock["routes"])

    def _running(self) -> bool:
        assert self._bot.process is not None
        query = "SELECT COUNT(*) FROM bot_status WHERE process = 'trading_bot' AND phase = 'waiting' AND pid = "
        rows = self._bot.rows(f"{query}{self._bot.process.pid}")
        return bool(rows and rows[0][0])

    def _cycle_done(self) -> int:
        query = "SELECT COALESCE(MAX(cycle_no), 0) FROM bot_status WHERE process = 'trading_bot' AND phase = 'waiting'"
        return self._one(query)

    def _one(self, query: str) -> int:
        if self._database is None:
            self._database = sqlite3.connect(f"file:{self._bot.database}?mode=ro", uri=True, timeout=10)
        return int(self._database.execute(query).fetchone()[0])

    def _give_time(self, seen: Any) -> None:
        """Let the bot react to this second of the market; what it does not do in it, it does in a later one."""
        deadline_s = monotonic_s() + _REACTS_WITHIN_S
        while not seen() and monotonic_s() < deadline_s:
            sleep(_POLL_S)

    def _wait(self, seen: Any) -> None:
        wait_until(lambda: seen() or not self._bot.alive, _TURN_WITHIN_S, _POLL_S)
        assert self._bot.alive, self._bot.log[-3000:]

    def _clock(self) -> Any:
        return self._control("GET", "clock")

    def _advance(self, to_ms: int) -> None:
        self._control("POST", "clock", advance_to=to_ms, save=False)

    def _control(self, method: str, path: str, **command: Any) -> Any:
        return self._ask(method, f"/control/{path}", json.dumps(command) if method == "POST" else None)

    def _ask(self, method: str, path: str, body: str | None = None) -> Any:
        self._wire.request(method, path, body, {"X-Control-Token": CONTROL_TOKEN})
        answer = self._wire.getresponse()
        found = answer.read()
        assert answer.status == 200, f"{method} {path}: {answer.status} {found[:300]!r}"
        return json.loads(found)


def _account_calls(clock: Any) -> int:
    return sum(count for name, count in clock["asked"].items() if name.endswith("/account"))

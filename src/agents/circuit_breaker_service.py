"""Circuit-breaker operations for agents: read the state, trip it, request a reset. Agents cannot reset.

A change is appended after the newest event; if another process wrote in between, it is evaluated again.
"""

import logging
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final

from src.domain.circuit_breaker import BreakerState, TripCause, as_row, from_events, request_reset, trip
from src.domain.clock import Clock, utc_day, utc_text
from src.domain.errors import StoreUnavailable
from src.domain.risk import loss_share
from src.monitoring.alert_inputs import market_ms, read_beats
from src.monitoring.health import heartbeat_health
from src.reporting.pages import Scope, TradeFilter
from src.reporting.service import ReportService
from src.runtime.settings import Settings
from src.storage.database import TradingDatabase

log = logging.getLogger(__name__)

_TRIES: Final = 10
_LAST_TRADES: Final = 30
_TRADES: Final = "trading_bot"
Change = Callable[[BreakerState], BreakerState]


def change_breaker(
    database: TradingDatabase, bot_id: str, now_ms: int, change: Change
) -> tuple[BreakerState, BreakerState]:
    """Append what ``change`` makes of the breaker's newest state and return the states before and after.

    Nothing is written where they are equal. ``change`` is called again if another process wrote in between.

    Raises:
        StoreUnavailable, StoreCorrupt: nothing was written.
    """
    for _ in range(_TRIES):
        before = from_events(database.breaker_events(bot_id, limit=1), now_ms)
        after = change(before)
        if after == before or database.append_breaker_event(as_row(after), now_ms, bot_id):
            return before, after
    raise StoreUnavailable("The circuit breaker is being changed by others at this moment: try again.")


class CircuitBreakerService:
    """What agents may know of one bot's risk, and the two things they may do about it.

    Every method may raise ``StoreUnavailable`` or ``StoreCorrupt``.
    """

    def __init__(self, database: TradingDatabase, settings: Settings, wall: Clock) -> None:
        self._database = database
        self._reports = ReportService(database)
        self._settings = settings
        self._wall = wall
        self._scope = Scope(settings.bot_id, settings.mode, settings.world)

    def state(self) -> BreakerState:
        """Return the breaker's state; TRIPPED where it cannot be made out."""
        return from_events(self._database.breaker_events(self._settings.bot_id, limit=1), self._now_ms())

    def trip(self, reason: str, actor: str) -> BreakerState:
        """Stop all entries and return the state; exits go on, and what is tripped stays as it is."""
        now_ms = self._now_ms()
        cause = TripCause("agent", reason)
        return self._change("trip", actor, reason, now_ms, lambda state: trip(state, cause, actor, now_ms))

    def ask_for_reset(self, reason: str, actor: str) -> BreakerState:
        """Record the request for a reset by a person and return the state: nothing else changes."""
        now_ms = self._now_ms()
        return self._change("ask for reset", actor, reason, now_ms, lambda state: request_reset(state, actor, now_ms))

    def history(self, limit: int) -> list[dict[str, Any]]:
        """Return the breaker's last events, newest first."""
        names = ("timestamp", "version", "status", "trigger", "reason", "actor", "reset_requested_by")
        events = self._database.breaker_events(self._settings.bot_id, limit)
        return [{name: event[name] for name in names} for event in events]

    def figures(self) -> dict[str, Any]:
        """Return the risk as it stands beside the limits that the bot itself trips at.

        Shares are shares of 1, money is text in USDT, what is not known is None.
        """
        day = utc_day(self._now_ms())
        today: dict[str, Any] = next((row for row in self._reports.daily_equity(self._scope) if row["day"] == day), {})
        start, equity = today.get("start_balance"), today.get("end_equity")
        base = start and start + today["transfers"]
        performance = self._reports.performance(self._scope)
        return {
            "bot": self._bot(),
            "losses": self._losses(),
            "drawdown_share": performance.present_drawdown_share,
            "day": {
                "loss_share": None if not base or equity is None else float(loss_share(base, equity)),
                "limit_hit": bool(today.get("limit_hit", False)),
            },
            "equity_usdt": _text(performance.equity),
            "open_positions": [self._position(row) for row in self._reports.open_positions(self._scope)],
            "limits": self._limits(),
        }

    def _change(self, action: str, actor: str, reason: str, now_ms: int, change: Change) -> BreakerState:
        _, after = change_breaker(self._database, self._settings.bot_id, now_ms, change)
        log.warning("circuit breaker: action=%s by=%s status=%s reason=%s", action, actor, after.status, reason)
        return after

    def _now_ms(self) -> int:
        """The market's time by the bot's last sign of life; the machine's where there is none."""
        wall_ms = self._wall.now_ms()
        own = [row for row in read_beats(self._database) if self._is_own(row)]
        return market_ms(own[0], wall_ms) if own else wall_ms

    def _is_own(self, row: dict[str, Any]) -> bool:
        return bool(row["bot_id"] == self._settings.bot_id and row["process"] == _TRADES)

    def _bot(self) -> dict[str, Any]:
        own = [row for row in read_beats(self._database) if self._is_own(row)]
        health = heartbeat_health(own[0] if own else None, self._wall.now_ms())
        label = f"{self._settings.mode}, {self._settings.world}"
        return {"id": self._settings.bot_id, "label": label, "well": health.healthy, "condition": health.reason}

    def _losses(self) -> dict[str, Any]:
        """Count the last trades since the breaker was armed, as the bot does."""
        since = utc_text(self.state().since_ms)
        page = self._reports.trades(TradeFilter(scope=self._scope, status="closed"), limit=_LAST_TRADES)
        own = [row["pnl"] for row in page.rows if row["timestamp"] >= since]
        streak = next((place for place, pnl in enumerate(own) if pnl >= 0), len(own))
        lost = sum(1 for pnl in own if pnl < 0)
        return {"in_a_row": streak, "rate": lost / len(own) if own else None, "counted_trades": len(own)}

    def _position(self, row: dict[str, Any]) -> dict[str, Any]:
        names = ("entry_price", "mark_price", "quantity", "unrealized_pnl", "stop_price", "liquidation_price")
        return {"symbol": row["symbol"], "side": row["side"], "own": row["own"]} | {
            name: _text(row[name]) for name in names
        }

    def _limits(self) -> dict[str, Any]:
        own = self._settings
        return {
            "losses_in_a_row": own.breaker_max_consecutive_losses,
            "drawdown_share": float(own.breaker_max_drawdown_percentage),
            "loss_rate": own.breaker_max_loss_rate,
            "loss_rate_trades": own.breaker_loss_rate_trades,
            "day_loss_share": float(own.max_daily_loss_percentage),
        }


def _text(value: Decimal | None) -> str | None:
    return None if value is None else f"{value:f}"

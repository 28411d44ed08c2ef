"""The risk that all pairs of one bot share: daily loss limit, circuit breaker, operator's pause."""

import logging
from collections import deque
from dataclasses import dataclass
from decimal import Decimal

from src.domain.circuit_breaker import (
    BreakerLimits,
    BreakerState,
    ResetAnswer,
    RiskFigures,
    TripCause,
    evaluate,
    reset,
    trip,
)
from src.domain.clock import Clock, utc_day
from src.domain.errors import StoreUnavailable
from src.domain.market import Candle
from src.domain.portfolio import Account
from src.domain.risk import ActiveLimits, loss_share
from src.execution.journal import Journal
from src.strategy.indicators import Indicators

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class BreakerStatusView:
    """The circuit breaker as one turn sees it."""

    tripped: bool
    reason: str


class RiskManager:
    """Watches what the whole account may lose. Called by one pair's turn at a time."""

    def __init__(
        self, journal: Journal, clock: Clock, limits: ActiveLimits, breaker: BreakerLimits, candle_ms: int
    ) -> None:
        self._journal = journal
        self._clock = clock
        self._limits = limits
        self._breaker_limits = breaker
        self._candle_ms = candle_ms
        self._armed_ms = -1
        self._day = ""
        self._day_start: Decimal | None = None
        self._errors_ms: deque[int] = deque(maxlen=1_000)
        self._usual_volatility: float | None = None
        self._figures_are_old = True
        self._losses: tuple[int, float, int] = (0, 0.0, 0)
        self._last_ratio = 1.0
        self._last_candle: Candle | None = None
        self._seen_before = False
        self.pause_reason = ""

    def day_start(self, account: Account | None) -> Decimal | None:
        """Return the equity that the UTC day's loss is measured from; None while no account is known.

        It is the day's first, moved by what was paid in or out since: only trading can reach the limit.
        """
        if account is None:
            return None
        day = utc_day(self._clock.now_ms())
        if day != self._day:
            try:
                self._day_start = self._journal.day_start(day, account.earned)
                self._day = day
            except StoreUnavailable as error:
                log.warning("day's start not stored yet: reason=%s", error)
        return account.equity if self._day_start is None else self._day_start + account.transferred

    def daily_loss_hit(self, account: Account) -> bool:
        """Return whether the loss since the day's start has reached the limit."""
        start = self.day_start(account)
        return start is not None and loss_share(start, account.equity) >= self._limits.current.max_daily_loss_share

    @property
    def halt_reason(self) -> str:
        """Why the whole bot may open nothing: a person's pause, or a loss limit reached earlier this UTC day."""
        day = utc_day(self._clock.now_ms())
        if self._journal.limit_was_hit(day):
            return f"the loss limit of {day} was reached; entries wait for the next UTC day"
        return self.pause_reason

    @property
    def usual_volatility(self) -> float | None:
        """The slow mean of the true range as a share of the price, None before the first look."""
        return self._usual_volatility

    def pass_over(self, usual_volatility: float | None, highest_equity: Decimal | None) -> None:
        """Take over what looks that were left out would have found: the slow mean, and the highest equity or None."""
        self._usual_volatility = usual_volatility
        if highest_equity is not None:
            self._journal.peak_equity(highest_equity, self._journal.breaker().counted_from_ms)

    def note_exchange_error(self) -> None:
        """Count a failure of the exchange."""
        self._errors_ms.append(self._clock.now_ms())

    def note_trade_end(self) -> None:
        """Count the results of trades anew at the next look."""
        self._figures_are_old = True

    def note_exit(self, reason: str, account: Account | None) -> None:
        """Write down the day's loss limit, once a day, when it closes a position."""
        if reason == "daily_loss" and account is not None:
            self._note_limit(account)

    def note_flat(self, account: Account | None) -> None:
        """Write down the day's loss limit, once a day, where an exit for another reason has reached it."""
        if account is not None and self.daily_loss_hit(account):
            self._note_limit(account)

    def _note_limit(self, account: Account) -> None:
        if self._day_start is not None and not self._journal.limit_was_hit(self._day):
            self._journal.limit_hit(self._day, self._day_start - account.earned)

    def look(self, account: Account | None, indicators: Indicators | None, candle: Candle | None) -> BreakerStatusView:
        """Judge the figures, trip the breaker where they ask for it, and return its state."""
        state = self._journal.breaker()
        known = self._last_candle
        self._seen_before = known is not None and candle is not None and candle.open_ms == known.open_ms
        self._last_candle = candle
        if indicators is not None and self._usual_volatility:
            self._last_ratio = indicators.atr / indicators.close / self._usual_volatility
        if not state.tripped and account is not None:
            cause = evaluate(self._figures(state, account, indicators), self._breaker_limits)
            if cause is not None:
                state = self._trip(state, cause)
        return BreakerStatusView(state.tripped, state.reason)

    def trip_by_hand(self, actor: str, reason: str) -> BreakerState:
        """Trip the circuit breaker by hand and return its state; a tripped one stays as it is."""
        state = self._journal.breaker()
        return state if state.tripped else self._trip(state, TripCause("by_hand", reason), actor)

    def judge_reset(self, actor: str) -> ResetAnswer:
        """Return what a person's reset makes of the breaker now, or why it cannot be; nothing is written."""
        now = self._clock.now_ms()
        present = RiskFigures(
            exchange_errors=self._recent_errors(now), stale_s=self._stale_s(now), volatility_ratio=self._last_ratio
        )
        return reset(self._journal.breaker(), actor, True, present, self._breaker_limits, now)

    def _trip(self, state: BreakerState, cause: TripCause, actor: str = "bot") -> BreakerState:
        tripped = trip(state, cause, actor, now_ms=self._clock.now_ms())
        self._journal.trip_breaker(tripped)
        log.error("circuit breaker tripped: trigger=%s reason=%s", cause.trigger, cause.reason)
        return tripped

    def _figures(self, state: BreakerState, account: Account, indicators: Indicators | None) -> RiskFigures:
        """Return what the breaker looks at, counted from the instant it was last armed."""
        now = self._clock.now_ms()
        since_ms = state.counted_from_ms
        if self._figures_are_old or since_ms != self._armed_ms:
            self._losses = self._count_losses(since_ms)
            self._figures_are_old = False
            self._armed_ms = since_ms
        peak = self._journal.peak_equity(account.earned, since_ms)
        return RiskFigures(
            consecutive_losses=self._losses[0],
            loss_rate=self._losses[1],
            loss_rate_trades=self._losses[2],
            drawdown_share=float(loss_share(peak + account.transferred, account.equity)),
            exchange_errors=self._recent_errors(now),
            stale_s=self._stale_s(now),
            volatility_ratio=self._volatility_ratio(indicators),
        )

    def _recent_errors(self, now_ms: int) -> int:
        window_ms = self._breaker_limits.error_window_s * 1_000
        return sum(1 for instant in self._errors_ms if 0 <= now_ms - instant <= window_ms)

    def _stale_s(self, now_ms: int) -> float:
        """Return how long the candle after the last one seen is overdue; a jump of the clock alone makes none so."""
        candle = self._last_candle
        if candle is None or not self._seen_before:
            return 0.0
        return max(0, now_ms - candle.open_ms - self._candle_ms) / 1_000.0

    def _count_losses(self, since_ms: int) -> tuple[int, float, int]:
        most = max(self._breaker_limits.loss_rate_trades, self._breaker_limits.max_consecutive_losses)
        pnls = self._journal.closed_pnls(most, since_ms)
        streak = 0
        for pnl in reversed(pnls):
            if pnl >= 0:
                break
            streak += 1
        counted = pnls[-self._breaker_limits.loss_rate_trades :]
        lost = sum(1 for pnl in counted if pnl < 0)
        return streak, (lost / len(counted) if counted else 0.0), len(counted)

    def _volatility_ratio(self, indicators: Indicators | None) -> float:
        """Return the present true range against its slow mean (about a day of turns); 1 while unknown."""
        if indicators is None:
            return 1.0
        now = indicators.atr / indicators.close
        usual = self._usual_volatility
        self._usual_volatility = now if usual is None else usual + (now - usual) / 1_440.0
        return 1.0 if not usual else now / usual

"""Market time: how it runs against the wall clock, pauses, jumps and survives a restart."""

from collections.abc import Callable
from dataclasses import dataclass

from src.domain.clock import SystemClock, monotonic_s

_WALL = SystemClock()


@dataclass(frozen=True, slots=True)
class Anchor:
    """One instant of both clocks: what market time it was at ``wall_ms``, and whether it stood."""

    market_ms: float
    wall_ms: int
    frozen: bool = False


class MarketClock:
    """The market's clock: one wall second is ``speed`` market seconds.

    It runs on the wall's monotonic time, so that a correction of the machine's clock moves no market. ``end_ms``,
    where given, is the last instant: a recorded market stops when its recording ends.
    """

    def __init__(
        self,
        start: Anchor,
        speed: float,
        end_ms: int | None = None,
        *,
        wall_ms: Callable[[], int] = _WALL.now_ms,
        monotonic: Callable[[], float] = monotonic_s,
    ) -> None:
        if not speed > 0:
            raise ValueError("speed must be above 0")
        self.speed = speed
        self._end_ms = end_ms
        self._wall_ms = wall_ms
        self._monotonic = monotonic
        missed_ms = 0.0 if start.frozen else max(0.0, wall_ms() - start.wall_ms) * speed
        self._frozen = start.frozen
        self._market_ms = start.market_ms + missed_ms
        self._since_s = monotonic()

    @property
    def frozen(self) -> bool:
        """Whether market time was stopped by a command."""
        return self._frozen

    @property
    def finished(self) -> bool:
        """Whether the recording has ended."""
        return self._end_ms is not None and self.now_ms() >= self._end_ms

    def now_ms(self) -> int:
        """Return the present market instant, in UTC milliseconds; it never runs backwards."""
        now = self._market_ms
        if not self._frozen:
            now += (self._monotonic() - self._since_s) * 1000.0 * self.speed
        return int(now if self._end_ms is None else min(now, self._end_ms))

    def anchor(self) -> Anchor:
        """Return what must be kept to go on after a restart."""
        return Anchor(self.now_ms(), self._wall_ms(), self._frozen)

    def freeze(self) -> None:
        """Let market time stand until ``resume``."""
        self._set(self.now_ms(), frozen=True)

    def resume(self) -> None:
        """Resume market time from where it stopped."""
        self._set(self.now_ms(), frozen=False)

    def advance_to(self, market_ms: int) -> None:
        """Jump to a later market instant; raises ``ValueError`` for an earlier one."""
        now = self.now_ms()
        if market_ms < now:
            raise ValueError(f"market time does not run backwards: {market_ms} after {now}")
        self._set(market_ms, frozen=self._frozen)

    def _set(self, market_ms: int, *, frozen: bool) -> None:
        self._market_ms = float(market_ms)
        self._since_s = self._monotonic()
        self._frozen = frozen

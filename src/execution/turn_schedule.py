"""At which instants a bot takes its turns: each full interval of the exchange's clock, once.

The exchange's clock may jump, forward and back: what is due is always the next full interval of the time it shows now.
"""

from src.domain.clock import Clock


class TurnSchedule:
    """The instants of the turns; ``interval_ms`` lies between two of them."""

    def __init__(self, clock: Clock, interval_ms: int) -> None:
        self._clock, self._interval_ms = clock, interval_ms
        self._due_ms = -1

    @property
    def due_ms(self) -> int:
        """When the next turn is due."""
        return self._due_ms

    def advance(self) -> int:
        """Go on to the next full interval that was not taken yet, and return it."""
        following_ms = (self._clock.now_ms() // self._interval_ms + 1) * self._interval_ms
        if following_ms == self._due_ms:  # the candle that closes at it may tell of it before the clock
            following_ms += self._interval_ms
        self._due_ms = following_ms
        return following_ms

    def left_ms(self) -> int:
        """Return the market time until the turn that is due; a clock that came back makes an earlier one due."""
        if self._due_ms - self._clock.now_ms() > 2 * self._interval_ms:
            self.advance()
        return self._due_ms - self._clock.now_ms()

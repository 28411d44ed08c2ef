"""At which instants funding is settled: those on record, and the contract's grid where none is.

Most contracts settle every 8 hours, others every 4 or every hour, and an exchange may add settlements in a wild
market. A record of what was settled therefore decides; the grid stands in only where the record has a hole.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

HOUR_MS: Final = 3_600_000
_MINUTE_MS: Final = 60_000
LONGEST_INTERVAL_MS: Final = 8 * HOUR_MS
"""No contract settles less often: two recorded settlements further apart than this have a hole between them."""
USUAL_RATE: Final = 0.0001
"""The exchange's default, a share of notional, where no record tells the real one."""


class FundingRate(NamedTuple):
    """One settlement of funding: its instant and the rate as a share of notional; longs pay where it is above 0."""

    time_ms: int
    rate: float


def settled_ms(stamp_ms: int) -> int:
    """Return the settlement that a stamp speaks of: the exchange's stamps are some milliseconds late."""
    return (stamp_ms + _MINUTE_MS // 2) // _MINUTE_MS * _MINUTE_MS


class FundingRecord:
    """Recorded settlements of one contract: instants (UTC ms) with their rates as shares."""

    def __init__(self, rates: Mapping[int, float] | None = None) -> None:
        self._rates = dict(sorted((rates or {}).items()))
        self._instants = list(self._rates)

    def __len__(self) -> int:
        return len(self._instants)

    def add(self, rates: Mapping[int, float]) -> None:
        """Take in further settlements; where an instant is known already, the new rate counts."""
        self._rates = dict(sorted({**self._rates, **rates}.items()))
        self._instants = list(self._rates)

    def next_after(self, time_ms: int, every_ms: int) -> int:
        """Return the first settlement after an instant.

        Args:
            time_ms: UTC ms.
            every_ms: the contract's own interval, whose grid counts where nothing is on record.
        """
        instants = self._instants  # another thread may put a longer list in its place
        place = bisect_right(instants, time_ms)
        recorded = instants[place] if place < len(instants) else None
        planned = (time_ms // every_ms + 1) * every_ms
        while (recorded is None or planned < recorded) and _is_covered(instants, planned):
            planned += every_ms
        return planned if recorded is None else min(planned, recorded)

    def is_settlement(self, time_ms: int, every_ms: int) -> bool:
        """Return whether funding is settled at this very instant."""
        return self.next_after(time_ms - 1, every_ms) == time_ms

    def rate(self, settle_ms: int) -> float:
        """Return the share settled at an instant, or at the end of the interval around it; the usual one if unknown."""
        instants = self._instants
        place = bisect_left(instants, settle_ms)
        if place < len(instants) and instants[place] - settle_ms < LONGEST_INTERVAL_MS:
            return self._rates[instants[place]]
        return USUAL_RATE

    def between(self, from_ms: int, to_ms: int, every_ms: int) -> list[int]:
        """Return the settlements in ``from_ms <= instant < to_ms``, in order."""
        found = []
        instant = self.next_after(from_ms - 1, every_ms)
        while instant < to_ms:
            found.append(instant)
            instant = self.next_after(instant, every_ms)
        return found


def _is_covered(instants: Sequence[int], planned: int) -> bool:
    """Return whether a record speaks of the hours around an instant (which is not in it, or ends the search)."""
    place = bisect_right(instants, planned - LONGEST_INTERVAL_MS)
    return place < len(instants) and instants[place] < planned + LONGEST_INTERVAL_MS

"""The seven states of a card, and when a process counts as down.

Unknown is not empty, empty is not zero, old is not current. ``static/js/states.js`` holds the same rules for the
page's own clock; a test puts both through the same table.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Final

from src.dashboard.widgets import Card
from src.domain.clock import instant_of

DOWN_AFTER_S: Final = 35.0
"""A process beats every ten seconds; silent for this long it is down, and the page says so within 45 s."""
_LATE_FACTOR: Final = 3.0
ENDED: Final = frozenset({"stopped", "stopping"})


class State(StrEnum):
    """What a card is, in one word."""

    FRESH = "fresh"
    LATE = "late"
    STALE = "stale"
    ERROR = "error"
    UNKNOWN = "unknown"
    EMPTY = "empty"
    DOWN = "down"


@dataclass(frozen=True, slots=True)
class DataSource:
    """A process that brings data: when it was last heard of, by the machine's clock; None is never."""

    name: str
    title: str
    beat_ms: int | None = None
    phase: str = ""
    down_after_s: float = DOWN_AFTER_S

    def is_down(self, now_ms: int) -> bool:
        """Return whether it was heard of once and is silent or stopped now."""
        if self.beat_ms is None:
            return False
        return self.phase in ENDED or now_ms - self.beat_ms > self.down_after_s * 1000

    def as_dict(self) -> dict[str, Any]:
        """Return the source as the page's script reads it."""
        return asdict(self)


def source_of(name: str, title: str, beat: Mapping[str, Any] | None) -> DataSource:
    """Return the source that a row of ``bot_status`` speaks of."""
    if beat is None:
        return DataSource(name, title)
    return DataSource(name, title, instant_of(beat["beat_at"]), beat["phase"])


def state_of(card: Card, source: DataSource | None, now_ms: int) -> State:
    """Return the card's state at ``now_ms`` by the machine's clock."""
    if card.base == State.ERROR:
        return State.ERROR
    if card.base == State.UNKNOWN or card.as_of_ms is None:
        return State.UNKNOWN
    if source is not None and source.is_down(now_ms):
        return State.DOWN
    age_s = (now_ms - card.as_of_ms) / 1000
    if age_s > _LATE_FACTOR * card.max_age_s:
        return State.STALE
    if age_s > card.max_age_s:
        return State.LATE
    return State.EMPTY if card.base == State.EMPTY else State.FRESH


def age_words(seconds: float) -> str:
    """Return an age as people say it: ``4 s``, ``3 min 20 s``, ``2 h 5 min``, ``3 d 4 h``."""
    whole = max(0, int(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3_600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 86_400:
        return f"{whole // 3_600} h {whole % 3_600 // 60} min"
    return f"{whole // 86_400} d {whole % 86_400 // 3_600} h"

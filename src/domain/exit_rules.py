"""When a position's stop is moved, parts of it are sold, and how long it is held: the figures, with their bounds."""

from dataclasses import dataclass
from decimal import Decimal

_ZERO = Decimal(0)
MOST_PARTS = 5
"""Partial targets of one position at most; each is an order that rests at the exchange."""


@dataclass(frozen=True, slots=True)
class ExitRules:
    """Exits beside the fixed stop and target; a figure of 0, or an empty list, is no such exit.

    All shares are of price move from the entry, in the position's favour. ``trailing_stop_share`` is how far the stop
    follows behind the best price, once the best price is ``trailing_after_share`` beyond the entry. From
    ``break_even_after_share`` on the stop lies at the entry price. ``take_partial`` holds pairs: the move at which a
    part is closed, and the part as a share of what was entered. ``max_holding_ms`` is the age at which the position is
    closed.
    """

    trailing_stop_share: Decimal = _ZERO
    trailing_after_share: Decimal = _ZERO
    break_even_after_share: Decimal = _ZERO
    take_partial: tuple[tuple[Decimal, Decimal], ...] = ()
    max_holding_ms: int = 0

    def __post_init__(self) -> None:
        for name in ("trailing_stop_share", "trailing_after_share", "break_even_after_share"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must lie in [0, 1); 0 is no such exit")
        if 0 < self.trailing_stop_share < Decimal("0.0005"):
            raise ValueError("trailing_stop_share must be 0 or at least 0.0005: less is within the spread")
        if self.trailing_after_share and not self.trailing_stop_share:
            raise ValueError("trailing_after_share needs a trailing_stop_share above 0")
        if self.max_holding_ms < 0:
            raise ValueError("max_holding_ms must not be negative")
        self._refuse_parts()

    def _refuse_parts(self) -> None:
        moves = [move for move, _ in self.take_partial]
        if len(moves) > MOST_PARTS:
            raise ValueError(f"take_partial must hold at most {MOST_PARTS} pairs")
        if any(not 0 < move < 1 for move in moves) or moves != sorted(set(moves)):
            raise ValueError("take_partial needs moves between 0 and 1 that rise from pair to pair, as [[0.03, 0.5]]")
        parts = [part for _, part in self.take_partial]
        if any(part <= 0 for part in parts) or sum(parts, _ZERO) >= 1:
            raise ValueError("the parts of take_partial must be above 0 and add up to less than 1")

    @property
    def moves_stop(self) -> bool:
        """Whether the stop may be moved while a position is open."""
        return self.trailing_stop_share > 0 or self.break_even_after_share > 0

    @property
    def any(self) -> bool:
        """Whether there is any exit beside the fixed stop and target."""
        return self.moves_stop or bool(self.take_partial) or self.max_holding_ms > 0

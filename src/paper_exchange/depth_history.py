"""Remembers which levels GET depth has returned, so that diff streams can remove them.

A client puts its book together from one answer of GET depth and the differences that follow. Here prices move from
instant to instant, so that an answer between two frames holds levels that no frame ever had; nobody would ever call
them gone, and the client's bids would come to stand above its asks.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Final

_KEPT: Final = 16
"""Answers; far more than come between two frames, and a megabyte or two at most."""

Side = tuple[tuple[str, str], ...]


class DepthHistory:
    """The last answers of GET depth, numbered as they came."""

    def __init__(self) -> None:
        self.count = 0
        self._books: deque[tuple[int, str, tuple[Side, Side]]] = deque(maxlen=_KEPT)

    def note(self, symbol: str, bids: Sequence[Sequence[str]], asks: Sequence[Sequence[str]]) -> None:
        """Remember what a client was shown: price and size of each level, as text."""
        self.count += 1
        sides = (tuple((row[0], row[1]) for row in bids), tuple((row[0], row[1]) for row in asks))
        self._books.append((self.count, symbol, sides))

    def since(self, number: int, symbol: str) -> Iterator[tuple[Side, Side]]:
        """Yield bids and asks of the answers about a contract after the ``number``-th answer of all."""
        return (sides for each, about, sides in self._books if each > number and about == symbol)

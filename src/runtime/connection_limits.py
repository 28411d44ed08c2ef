"""Bounds the connections of a server: per address, in all, and in the time a request may take to arrive.

A connection that sends nothing, or a header byte by byte, costs its client nothing and occupies a slot here. When all
slots are taken, the connection that has waited longest without a request is closed, so new requests are always served.
"""

from collections.abc import Iterable
from typing import Any, Final, Protocol

from src.domain.clock import monotonic_s

MOST: Final = 200
MOST_OF_ONE_ADDRESS: Final = 150
HEADER_WITHIN_S: Final = 10.0
BODY_WITHIN_S: Final = 30.0
IDLE_S: Final = 30.0
_SWEEP_EVERY_S: Final = 1.0


class Connection(Protocol):
    """The methods of a connection that are used: a channel of waitress."""

    addr: Any
    requests: list[Any]
    request: Any
    total_outbufs_len: int
    since_s: float
    served: bool

    def handle_close(self) -> None:
        """End it."""


class ConnectionLimits:
    """Decides which connections of a server are closed; called by the thread of its loop."""

    def __init__(self, most: int = MOST, most_of_one_address: int = MOST_OF_ONE_ADDRESS) -> None:
        self._most, self._most_of_one = most, most_of_one_address
        self._swept_s = 0.0

    def admit(self, new: Connection, others: Iterable[Connection]) -> None:
        """Free a slot for a connection that was just accepted; close it if all others are being served."""
        known = [each for each in others if each is not new]
        of_address = [each for each in known if _address(each) == _address(new)]
        crowd = of_address if len(of_address) >= self._most_of_one else known if len(known) >= self._most else []
        if not crowd:
            return
        waiting = [each for each in crowd if _waits(each)]
        victim = min(waiting, key=lambda each: each.since_s, default=new)
        victim.handle_close()

    def sweep(self, connections: Iterable[Connection]) -> None:
        """Close connections whose request took too long to arrive; about once a second."""
        now_s = monotonic_s()
        if now_s - self._swept_s < _SWEEP_EVERY_S:
            return
        self._swept_s = now_s
        for each in list(connections):
            if not _waits(each):
                each.since_s, each.served = now_s, True
            elif now_s - each.since_s > _patience_s(each):
                each.handle_close()


def _patience_s(connection: Connection) -> float:
    if connection.request is None:
        return IDLE_S if connection.served else HEADER_WITHIN_S
    return BODY_WITHIN_S if connection.request.headers_finished else HEADER_WITHIN_S


def _waits(connection: Connection) -> bool:
    """Return whether no response is being made or sent for the connection."""
    return not connection.requests and not connection.total_outbufs_len


def _address(connection: Connection) -> str:
    return str(connection.addr[0])

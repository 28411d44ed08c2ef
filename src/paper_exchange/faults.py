"""Faults that tests switch on, and what each does to a request."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from src.domain.clock import monotonic_s
from src.paper_exchange.limits import too_many_requests

UNKNOWN_TEXT = "Unknown error, please check your request or try again later."
# name: HTTP status, body. The test sets with ``placed`` which of them leave the order placed.
ANSWERS: dict[str, tuple[int, Any]] = {
    "unknown_error": (503, {"code": -1000, "msg": UNKNOWN_TEXT}),
    "service_unavailable": (503, {"code": -1000, "msg": "Service Unavailable."}),
    "internal_error": (
        503,
        {"code": -1001, "msg": "Internal error; unable to process your request. Please try again."},
    ),
    "message_bus": (
        503,
        {"code": -1006, "msg": "An unexpected response was received from the message bus. Execution status unknown."},
    ),
    "backend_timeout": (
        408,
        {
            "code": -1007,
            "msg": "Timeout waiting for response from backend server. Send status unknown; execution status unknown.",
        },
    ),
    "throttled": (
        503,
        {
            "code": -1008,
            "msg": "Request throttled by system-level protection. "
            "Reduce-only/close-position orders are exempt. Please try again.",
        },
    ),
    "server_error": (500, "<html><body><h1>500 Internal Server Error</h1></body></html>"),
    "bad_gateway": (502, "<html><body><h1>502 Bad Gateway</h1></body></html>"),
    "order_missing": (400, {"code": -2013, "msg": "Order does not exist."}),
    "too_many": (429, {"code": -1003, "msg": too_many_requests().msg}),
}
REQUEST_KINDS = frozenset((*ANSWERS, "delay", "lost", "hang"))
SOCKET_KINDS = frozenset(("silence", "refuse_sockets", "duplicate", "late"))
ROUTES = frozenset(("public", "market", "private"))


@dataclass(slots=True)
class Fault:
    """One fault that is switched on.

    ``paths`` are "POST /fapi/v1/order", "POST" or "/fapi/v1/order" (a fault of requests) or routes (a fault of
    sockets), empty for all; ``times`` counts down, None for ever; ``until_s`` is the monotonic wall
    second at which it ends by itself.
    """

    number: int
    kind: str
    paths: tuple[str, ...] = ()
    times: int | None = 1
    until_s: float | None = None
    delay_ms: float = 0.0
    placed: bool = False

    def applies(self, name: str) -> bool:
        """Return whether the request or route called ``name`` is meant."""
        return not self.paths or name in self.paths or not set(name.split(" ")).isdisjoint(self.paths)


@dataclass(slots=True)
class Faults:
    """All faults switched on, and how far the exchange's clock is out."""

    monotonic: Callable[[], float] = monotonic_s
    skew_ms: int = 0
    _active: list[Fault] = field(default_factory=list)
    _numbers: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    def add(self, kind: str, **details: Any) -> Fault:
        """Switch a fault on and return it; ``for_s`` ends it after so many wall seconds.

        Raises:
            ValueError: an unknown kind or detail.
        """
        if kind not in REQUEST_KINDS | SOCKET_KINDS:
            raise ValueError(f"no such fault: {kind}")
        for_s = details.pop("for_s", None)
        paths = tuple(details.pop("paths", ()))
        times = details.pop("times", None if for_s is not None or kind in SOCKET_KINDS else 1)
        until_s = None if for_s is None else self.monotonic() + float(for_s)
        if kind in SOCKET_KINDS and not set(paths) <= ROUTES:
            raise ValueError(f"paths of {kind} are routes: {', '.join(sorted(ROUTES))}")
        fault = Fault(
            next(self._numbers),
            kind,
            paths,
            times,
            until_s,
            float(details.pop("delay_ms", 0.0)),
            bool(details.pop("placed", False)),
        )
        if details:
            raise ValueError(f"unknown details: {', '.join(sorted(details))}")
        self._active.append(fault)
        return fault

    def clear(self) -> None:
        """Switch everything off."""
        self._active.clear()
        self.skew_ms = 0

    def active(self) -> list[Fault]:
        """Return what is switched on now."""
        now_s = self.monotonic()
        self._active = [
            fault for fault in self._active if fault.times != 0 and (fault.until_s is None or now_s < fault.until_s)
        ]
        return list(self._active)

    def take(self, kinds: frozenset[str], name: str) -> list[Fault]:
        """Return the faults of these kinds that meet ``name``, and count each once."""
        if not self._active:
            return []
        met = [fault for fault in self.active() if fault.kind in kinds and fault.applies(name)]
        for fault in met:
            if fault.times is not None:
                fault.times -= 1
        return met

    def holds(self, kind: str, name: str) -> Fault | None:
        """Return a fault that lasts (it is not counted), None when there is none."""
        if not self._active:
            return None
        return next((fault for fault in self.active() if fault.kind == kind and fault.applies(name)), None)

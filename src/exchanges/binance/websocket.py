"""A reconnecting WebSocket: detects stale connections, backs off, reports its health."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from src.domain.clock import Clock, monotonic_s
from src.domain.errors import ExchangeError

log = logging.getLogger(__name__)

_TROUBLE = (OSError, WebSocketException, ExchangeError)
_OPEN_S = 5.0
_CLOSE_S = 0.3
_PING_S = 20.0
_PONG_S = 10.0
_FIRST_WAIT_S = 0.25
_LONGEST_WAIT_S = 30.0
_STEADY_S = 5.0
_frame_log = logging.getLogger(f"{__name__}.frames")
_frame_log.setLevel(logging.WARNING)  # its debug lines would hold the listen key


@dataclass(frozen=True, slots=True)
class SocketHealth:
    """The health of a socket; ``last_frame_ms`` is 0 before the first frame, ``connects`` counts successes."""

    name: str
    connected: bool = False
    last_frame_ms: int = 0
    connects: int = 0
    last_error: str = ""

    @property
    def reconnects(self) -> int:
        """How often it was reconnected."""
        return max(0, self.connects - 1)


class ReconnectingWebSocket:
    """Connects, passes frames on, and reconnects when the connection is lost, stale or restarted.

    Args:
        name: for log and health.
        address: returns the URL for each connection (a listen key may have changed).
        on_frame: called with each frame's bytes in the loop's thread; must be quick.
        on_connected: called after each handshake with the health as it was before.
        clock: for ``last_frame_ms``.
        silence_s: wall seconds without a frame after which the connection counts as dead; None where no traffic is
            normal.
    """

    def __init__(
        self,
        *,
        name: str,
        address: Callable[[], Awaitable[str]],
        on_frame: Callable[[bytes], None],
        on_connected: Callable[[SocketHealth], None],
        clock: Clock,
        stale_after_s: float | None,
    ) -> None:
        self._address, self._on_frame, self._on_connected = address, on_frame, on_connected
        self._clock, self._stale_after_s = clock, stale_after_s
        self._health = SocketHealth(name)
        self._connection: ClientConnection | None = None
        self._failures = 0
        self._since_s = 0.0
        self._lost_s: float | None = None
        self._chance = random.SystemRandom()

    @property
    def health(self) -> SocketHealth:
        """How the socket fares now."""
        return self._health

    def uptime_s(self) -> float:
        """Return the age of the present connection in wall seconds, 0 without one."""
        return monotonic_s() - self._since_s if self._connection is not None else 0.0

    async def run(self) -> None:
        """Keep the socket connected until cancelled."""
        while True:
            began_s = monotonic_s()
            try:
                await self._live()
            except _TROUBLE as error:
                self._note_loss(error)
            if monotonic_s() - began_s > _STEADY_S:
                self._failures = 0
            wait_s = min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 2.0**self._failures)
            self._failures = min(self._failures + 1, 10)
            await asyncio.sleep(wait_s * (0.5 + self._chance.random() / 2.0))

    def restart(self, reason: str) -> None:
        """Drop the connection and reconnect."""
        log.warning("socket dropped: name=%s reason=%s", self._health.name, reason)
        if self._connection is not None:
            self._connection.transport.abort()

    async def _live(self) -> None:
        url = await self._address()
        async with connect(
            url,
            open_timeout=_OPEN_S,
            close_timeout=_CLOSE_S,
            ping_interval=_PING_S,
            ping_timeout=_PONG_S,
            compression=None,
            max_queue=1_024,
            logger=_frame_log,
        ) as connection:
            self._note_connection(connection)
            await self._listen(connection)

    async def _listen(self, connection: ClientConnection) -> None:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._stale_after_s) as limit:
                while True:
                    frame = await connection.recv(decode=False)
                    if self._stale_after_s is not None:
                        limit.reschedule(loop.time() + self._stale_after_s)
                    self._health = replace(self._health, last_frame_ms=self._clock.now_ms())
                    self._on_frame(frame)
        except TimeoutError as error:
            connection.transport.abort()
            raise TimeoutError(f"no data for {self._stale_after_s:g} s") from error
        finally:
            self._connection = None

    def _note_connection(self, connection: ClientConnection) -> None:
        self._connection, self._since_s = connection, monotonic_s()
        before = self._health
        self._health = replace(before, connected=True, connects=before.connects + 1)
        if self._lost_s is not None:
            log.info("socket back: name=%s away_s=%.1f", before.name, monotonic_s() - self._lost_s)
            self._lost_s = None
        self._on_connected(before)

    def _note_loss(self, error: BaseException) -> None:
        """Log the first loss of an outage; later failures appear only in the health."""
        text = f"{type(error).__name__}: {str(error)[:160]}"
        self._health = replace(self._health, connected=False, last_error=text)
        if self._lost_s is None:
            self._lost_s = monotonic_s()
            log.warning("socket lost: name=%s reason=%s", self._health.name, text)

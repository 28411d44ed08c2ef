"""Sends REST calls: a python-binance client per thread, server time, rate limit, retries, errors.

Callers decide *what* to request; this module decides how often, how long, and what a missing response means.
"""

import logging
import math
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import urlsplit

from requests import RequestException
from tenacity import (
    Retrying,
    retry_if_exception,
    stop_after_attempt,
    stop_after_delay,
    stop_any,
    wait_random_exponential,
)

from src.domain.clock import ExchangeClock, is_over, monotonic_s
from src.domain.errors import ExchangeUnavailable, RateLimited, SettingsError
from src.exchanges.binance.errors import (
    CLOCK_CODE,
    LIBRARY_ERRORS,
    banned_until_ms,
    code_of,
    is_limit,
    retry_after_s,
    translated,
)
from src.exchanges.binance.rate_limiter import SharedRateLimiter, Urgency
from src.exchanges.binance.sdk import Client

log = logging.getLogger(__name__)
Answer = TypeVar("Answer")

_CONNECT_S = 3.0
_READ_S = 5.0
_ATTEMPTS = 3
_PATIENCE_S = 8.0
_PAUSE_S = 1.0
_WAIT_FOR_BUDGET_S = 2.0
_SYNC_EVERY_MS = 3_600_000
_WINDOW_MS = 5_000
_WIDE_WINDOW_MS = 60_000
_PAPER_STATUS = "/paper/v1/status"


@dataclass(frozen=True, slots=True)
class Addresses:
    """The addresses of an exchange: REST of futures, REST of the wallet (key permissions), and the streams' root."""

    mode: str
    rest: str
    wallet: str
    streams: str

    @classmethod
    def of_base(cls, mode: str, base_url: str) -> "Addresses":
        """Return the addresses of an exchange that serves all of them at one ``http(s)://`` address."""
        base = base_url.rstrip("/")
        return cls(mode, base, base, "ws" + base.removeprefix("http"))

    @property
    def loopback(self) -> bool:
        """Whether the exchange runs on this machine (no proxy may stand between)."""
        return urlsplit(self.rest).hostname in ("127.0.0.1", "localhost", "::1")


TESTNET = Addresses(
    "testnet", "https://demo-fapi.binance.com", "https://demo-api.binance.com", "wss://fstream.binancefuture.com"
)
LIVE = Addresses("live", "https://fapi.binance.com", "https://api.binance.com", "wss://fstream.binance.com")


@dataclass(frozen=True, slots=True)
class Credentials:
    """An API key with its secret."""

    key: str = field(repr=False)
    secret: str = field(repr=False)


class BinanceTransport:
    """Makes the calls; thread-safe: each thread has its own client and connection.

    Args:
        addresses: where the exchange lives.
        credentials: key and secret; empty ones serve public questions.
        clock: set here from the exchange's time.
        budget: shared by all processes of this address.
        pause: waits wall seconds between two attempts.
    """

    def __init__(
        self,
        addresses: Addresses,
        credentials: Credentials,
        clock: ExchangeClock,
        budget: SharedRateLimiter,
        pause: Callable[[float], None] | None = None,
    ) -> None:
        self.addresses, self.clock, self.budget = addresses, clock, budget
        self._credentials = credentials
        self._library = _addressed(addresses)
        self._leaving = threading.Event()
        self.pause = pause or self._rest
        self._threads = threading.local()
        self._synced_ms: int | None = None
        self._sync_lock = threading.Lock()
        self._leave_s: float | None = None
        self.round_trip_s = 0.0

    def leave_within(self, duration_s: float) -> None:
        """Make every call end within ``duration_s`` from now and send nothing afterwards: the process is shutting down.

        A call in progress keeps its own time limit. Later calls raise ``ExchangeUnavailable``, also for an order: it
        was certainly not sent.
        """
        self._leave_s = monotonic_s() + duration_s
        self._leaving.set()  # no more pauses between two attempts

    def read(self, ask: Callable[[Client], Answer], weight: int, urgency: Urgency = Urgency.ROUTINE) -> Answer:
        """Send a request that may be repeated: retried a bounded number of times while the exchange is in trouble.

        Raises:
            ExchangeUnavailable: no answer after the last attempt (RateLimited: at once).
            CredentialsRefused: the key is wrong.
            OrderRefused: the exchange refuses the request.
        """
        attempts = Retrying(
            retry=retry_if_exception(lambda error: _worth_repeating(error) and self._left_s() > _PAUSE_S),
            stop=stop_any(stop_after_attempt(_ATTEMPTS), stop_after_delay(_PATIENCE_S)),
            wait=wait_random_exponential(multiplier=0.2, max=_PAUSE_S),
            sleep=self.pause,
            reraise=True,
        )
        answer: Answer = attempts(self._within_budget, ask, weight, urgency)
        return answer

    def send(self, act: Callable[[Client], Answer], client_id: str, urgency: Urgency) -> Answer:
        """Send an order once.

        Raises:
            OrderRefused, RateLimited, ExchangeUnavailable, CredentialsRefused: certainly without effect.
            OutcomeUnknown: the order may have been accepted.
        """
        if self._synced_ms is None:
            self.sync_clock()
        self.budget.take(0, 1, urgency)
        return self._once(act, client_id)

    def sync_clock(self) -> None:
        """Take over the exchange's time; costs one call of weight 1.

        Raises:
            SettingsError: at the first time, a paper exchange that runs at another speed than our clock.
        """
        self.budget.take(1, 0, Urgency.EXIT)
        began_s = monotonic_s()
        try:
            server_ms = int(self._asked(lambda client: client.futures_time(), None)["serverTime"])
        except LIBRARY_ERRORS as error:
            raise self._ours(error, None) from error
        self.round_trip_s = monotonic_s() - began_s
        self._check_speed()
        self.clock.follow(server_ms, self.round_trip_s)
        self._synced_ms = self.clock.now_ms()

    def _check_speed(self) -> None:
        """Refuse a paper exchange with another market speed: it would reject our timestamps again and again."""
        if self.addresses.mode != "paper" or self.clock.speed < 1.0:  # so slow only if time is stepped by a test
            return
        try:
            answer = self._client().session.get(self.addresses.rest + _PAPER_STATUS, timeout=_READ_S)
            speed = float(answer.json()["speed"]) if answer.ok else self.clock.speed
        except (RequestException, KeyError, TypeError, ValueError):  # a substitute server without this information
            return
        if speed == self.clock.speed:
            return
        sentence = (
            f"PAPER_SPEED is {self.clock.speed:g} here, but the running paper exchange runs at {speed:g}: "
            "type ./scripts/restart_all.sh, which starts both with the same."
        )
        raise SettingsError((sentence,)) if self._synced_ms is None else ExchangeUnavailable(sentence)

    def sync_clock_if_due(self) -> None:
        """Take over the exchange's time when that was never done, or an hour of its time ago."""
        with self._sync_lock:
            if self._synced_ms is None or is_over(_SYNC_EVERY_MS, self._synced_ms, self.clock.now_ms()):
                self.sync_clock()

    def _within_budget(self, ask: Callable[[Client], Answer], weight: int, urgency: Urgency) -> Answer:
        self.sync_clock_if_due()
        try:
            self.budget.take(weight, 0, urgency)
        except RateLimited as refusal:
            if refusal.retry_after_s > _WAIT_FOR_BUDGET_S:
                raise
            self.pause(refusal.retry_after_s)
            self.budget.take(weight, 0, urgency)
        return self._once(ask, None)

    def _once(self, act: Callable[[Client], Answer], client_id: str | None) -> Answer:
        """Call; a refused clock is set and the call repeated once, since it certainly had no effect."""
        try:
            return self._asked(act, client_id)
        except LIBRARY_ERRORS as error:
            if code_of(error) != CLOCK_CODE:
                raise self._ours(error, client_id) from error
            log.info("clock refused by the exchange: offset_ms=%d", self.clock.offset_ms())
        self.sync_clock()
        try:
            return self._asked(act, client_id)
        except LIBRARY_ERRORS as error:
            raise self._ours(error, client_id) from error

    def _asked(self, act: Callable[[Client], Answer], client_id: str | None) -> Answer:
        left_s = self._left_s()
        if left_s <= 0:
            raise ExchangeUnavailable("request not sent: this process is shutting down")
        client = self._client()
        client._requests_params = {"timeout": (min(_CONNECT_S, left_s), min(_READ_S, left_s))}
        client.response = None
        client.timestamp_offset = self.clock.offset_ms()
        asked_ms = self.clock.now_ms()
        try:
            return act(client)
        finally:
            if client.response is not None:
                self.budget.observe(client.response.headers, asked_ms)

    def _ours(self, error: BaseException, client_id: str | None) -> Exception:
        if is_limit(error):
            wait_s = self.budget.block(banned_until_ms(error), retry_after_s(error))
            log.warning("requests refused by the exchange: wait_s=%.1f reason=%s", wait_s, error)
            return RateLimited(f"the exchange refuses further requests for {wait_s:.1f} s", wait_s)
        return translated(error, client_id)

    def _rest(self, duration_s: float) -> None:
        self._leaving.wait(duration_s)

    def _left_s(self) -> float:
        """Return the remaining time for calls: unlimited until the process shuts down."""
        return math.inf if self._leave_s is None else self._leave_s - monotonic_s()

    def _client(self) -> Client:
        client = getattr(self._threads, "client", None)
        if client is None:
            client = self._threads.client = self._made()
        return client

    def _made(self) -> Client:
        client = self._library(
            self._credentials.key or None,
            self._credentials.secret or None,
            ping=False,
        )
        client.REQUEST_RECVWINDOW = _WINDOW_MS if self.clock.speed <= 1 else _WIDE_WINDOW_MS
        client.session.trust_env = not self.addresses.loopback
        if threading.current_thread() is not threading.main_thread() and not client.loop.is_running():
            client.loop.close()  # the library made it for a WebSocket API that is not used here
        return client


def _addressed(addresses: Addresses) -> Any:
    """Return python-binance's client class with these addresses in place of its own."""
    return type(
        "AddressedClient",
        (Client,),
        {
            "API_URL": addresses.wallet + "/api",
            "MARGIN_API_URL": addresses.wallet + "/sapi",
            "FUTURES_URL": addresses.rest + "/fapi",
            "FUTURES_DATA_URL": addresses.rest + "/futures/data",
        },
    )


def _worth_repeating(error: BaseException) -> bool:
    return isinstance(error, ExchangeUnavailable) and not isinstance(error, RateLimited) and error.retry_after_s <= 1.0

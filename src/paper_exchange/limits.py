"""Rate limits per address and account, counted in market time."""

from collections import Counter
from dataclasses import dataclass

from src.paper_exchange.model import VenueError

MINUTE_MS = 60_000
WEIGHT_LIMIT = 2_400
ORDERS_10S_LIMIT = 300
ORDERS_1M_LIMIT = 1_200
FUNDING_POOL_LIMIT = 500
FUNDING_POOL_MS = 300_000
CONNECTION_LIMIT = 300
CONNECTION_WINDOW_MS = 300_000
# How many requests may ignore a 429 before the address is banned, and for how long it then is.
PATIENCE = 20
FIRST_BAN_MS = 120_000
LONGEST_BAN_MS = 3 * 86_400_000


@dataclass(slots=True)
class _Window:
    """How much was used in the present span of ``length_ms``; spans begin at its whole multiples."""

    length_ms: int
    start_ms: int = 0
    used: int = 0

    def at(self, now_ms: int) -> "_Window":
        start_ms = now_ms - now_ms % self.length_ms
        if start_ms != self.start_ms:
            self.start_ms, self.used = start_ms, 0
        return self


class _Address:
    """What one network address has used, and its bans."""

    def __init__(self) -> None:
        self.weight = _Window(MINUTE_MS)
        self.funding = _Window(FUNDING_POOL_MS)
        self.connections = _Window(CONNECTION_WINDOW_MS)
        self.ignored = _Window(MINUTE_MS)
        self.banned_until_ms = 0
        self.next_ban_ms = FIRST_BAN_MS


class _Orders:
    """What one account has ordered."""

    def __init__(self) -> None:
        self.ten_seconds = _Window(10_000)
        self.minute = _Window(MINUTE_MS)


@dataclass(slots=True)
class LimitUsage:
    """How near to the limits anybody came since this process began, for who watches the watchers.

    ``exceeded`` counts requests refused because a limit was passed, ``banned`` those that came during a ban.
    """

    weight_1m: int = 0
    orders_10s: int = 0
    orders_1m: int = 0
    exceeded: int = 0
    banned: int = 0


@dataclass(frozen=True, slots=True)
class OrderCount:
    """How many orders an account has sent in the present ten seconds and the present minute."""

    ten_seconds: int
    minute: int


class RequestLimits:
    """Counts request weight per address and orders per account, and refuses as Binance does."""

    def __init__(self) -> None:
        self._addresses: dict[str, _Address] = {}
        self._orders: dict[str, _Orders] = {}
        self.requests: Counter[tuple[int, str]] = Counter()
        self.strain = LimitUsage()

    def charge(self, address: str, weight: int, now_ms: int) -> int:
        """Count a request of ``weight`` and return what the address has used in this minute, this one included.

        Raises:
            VenueError: -1003, HTTP 429 above the limit, HTTP 418 while banned.
        """
        seen = self._address(address)
        self._refuse_banned(seen, now_ms)
        window = seen.weight.at(now_ms)
        window.used += weight
        self.strain.weight_1m = max(self.strain.weight_1m, window.used)
        if window.used > WEIGHT_LIMIT:
            raise self._too_many(seen, now_ms)
        return window.used

    def used(self, address: str, now_ms: int) -> int:
        """Return the weight that the address has used in this minute."""
        return self._address(address).weight.at(now_ms).used

    def charge_funding(self, address: str, now_ms: int) -> None:
        """Count a request to the pool that funding history has to itself; raises ``VenueError`` like ``charge``."""
        seen = self._address(address)
        self._refuse_banned(seen, now_ms)
        window = seen.funding.at(now_ms)
        window.used += 1
        if window.used > FUNDING_POOL_LIMIT:
            raise self._too_many(seen, now_ms)

    def may_connect(self, address: str, now_ms: int) -> bool:
        """Count an attempt to open a socket and return whether it is allowed."""
        seen = self._address(address)
        window = seen.connections.at(now_ms)
        window.used += 1
        return window.used <= CONNECTION_LIMIT and now_ms >= seen.banned_until_ms

    def charge_orders(self, account: str, ten_seconds: int, minute: int, now_ms: int) -> OrderCount:
        """Count order placements of one account and return its counters.

        Raises:
            VenueError: -1015, HTTP 429, above 300 in ten seconds or 1,200 in a minute.
        """
        orders = self._orders.setdefault(account, _Orders())
        short, long = orders.ten_seconds.at(now_ms), orders.minute.at(now_ms)
        if short.used + ten_seconds > ORDERS_10S_LIMIT:
            self.strain.exceeded += 1
            raise _too_many_orders(f"{ORDERS_10S_LIMIT} orders per 10 SECONDS")
        if long.used + minute > ORDERS_1M_LIMIT:
            self.strain.exceeded += 1
            raise _too_many_orders(f"{ORDERS_1M_LIMIT} orders per 1 MINUTE")
        short.used += ten_seconds
        long.used += minute
        self.strain.orders_10s = max(self.strain.orders_10s, short.used)
        self.strain.orders_1m = max(self.strain.orders_1m, long.used)
        return OrderCount(short.used, long.used)

    def ban(self, address: str, until_ms: int) -> None:
        """Ban the address until the market instant ``until_ms``."""
        self._address(address).banned_until_ms = until_ms

    def note(self, endpoint: str, now_ms: int) -> None:
        """Count a request to ``endpoint`` ("GET /fapi/v1/time") in its market hour."""
        self.requests[now_ms // 3_600_000 * 3_600_000, endpoint] += 1

    def _refuse_banned(self, seen: _Address, now_ms: int) -> None:
        if now_ms < seen.banned_until_ms:
            self.strain.banned += 1
            raise banned(seen.banned_until_ms)

    def _too_many(self, seen: _Address, now_ms: int) -> VenueError:
        self.strain.exceeded += 1
        ignored = seen.ignored.at(now_ms)
        ignored.used += 1
        if ignored.used <= PATIENCE:
            return too_many_requests()
        seen.banned_until_ms = now_ms + seen.next_ban_ms
        seen.next_ban_ms = min(seen.next_ban_ms * 2, LONGEST_BAN_MS)
        return banned(seen.banned_until_ms)

    def _address(self, address: str) -> _Address:
        return self._addresses.setdefault(address, _Address())


def too_many_requests() -> VenueError:
    """Return Binance's refusal of a request above the weight limit (HTTP 429)."""
    return VenueError(
        -1003,
        f"Too many requests; current limit is {WEIGHT_LIMIT} requests per minute. "
        "Please use the websocket for live updates to avoid polling the API.",
        429,
    )


def banned(until_ms: int) -> VenueError:
    """Return Binance's answer to a banned address (HTTP 418)."""
    return VenueError(
        -1003,
        f"Way too many requests; IP banned until {until_ms}. Please use the websocket for live updates to avoid bans.",
        418,
    )


def _too_many_orders(limit: str) -> VenueError:
    return VenueError(-1015, f"Too many new orders; current limit is {limit}.", 429)

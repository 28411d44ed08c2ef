"""Listen keys, each valid for sixty market minutes of one account's events."""

from dataclasses import asdict, dataclass
from hashlib import blake2b
from typing import Any

from src.paper_exchange.model import VenueError

LIFE_MS = 3_600_000
_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


@dataclass(frozen=True, slots=True)
class ListenKey:
    """A key and the market time until which it is valid."""

    account: str
    key: str
    expires_ms: int


class ListenKeys:
    """The living listen keys; at most one for each account."""

    def __init__(self) -> None:
        self._by_account: dict[str, ListenKey] = {}
        self._made = 0

    def create(self, account: str, now_ms: int) -> str:
        """Return the account's key, a new or the present one, valid for an hour from now."""
        known = self._by_account.get(account)
        key = known.key if known and now_ms < known.expires_ms else self._new_key(account, now_ms)
        self._by_account[account] = ListenKey(account, key, now_ms + LIFE_MS)
        return key

    def keep(self, account: str, now_ms: int) -> str:
        """Give the living key another hour and return it; -1125 when there is none."""
        known = self._by_account.get(account)
        if known is None or now_ms >= known.expires_ms:
            raise VenueError(-1125, "This listenKey does not exist.")
        return self.create(account, now_ms)

    def close(self, account: str) -> None:
        """Forget the account's key; nothing happens when it has none."""
        self._by_account.pop(account, None)

    def owner(self, key: str) -> str | None:
        """Return the account to which a living key belongs."""
        return next((row.account for row in self._by_account.values() if row.key == key), None)

    def expired(self, now_ms: int) -> list[ListenKey]:
        """Take out and return the keys whose time is over."""
        over = [row for row in self._by_account.values() if now_ms >= row.expires_ms]
        for row in over:
            del self._by_account[row.account]
        return over

    def expire_all(self, now_ms: int) -> None:
        """Let every key's time be over at ``now_ms`` (a fault for tests)."""
        self._by_account = {account: ListenKey(account, row.key, now_ms) for account, row in self._by_account.items()}

    def snapshot(self) -> dict[str, Any]:
        """Return the keys as JSON values."""
        return {"made": self._made, "keys": [asdict(row) for row in self._by_account.values()]}

    def restore(self, state: dict[str, Any]) -> None:
        """Take over what ``snapshot`` returned."""
        self._made = int(state["made"])
        rows = [ListenKey(str(row["account"]), str(row["key"]), int(row["expires_ms"])) for row in state["keys"]]
        self._by_account = {row.account: row for row in rows}

    def _new_key(self, account: str, now_ms: int) -> str:
        """A function of account, instant and number: a restart that replays its journal makes the same key."""
        self._made += 1
        noise = blake2b(f"{account}|{now_ms}|{self._made}".encode(), digest_size=64).digest()
        return "".join(_ALPHABET[byte % len(_ALPHABET)] for byte in noise)

"""One REST request as the endpoints see it, and the table of endpoints."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any

from src.paper_exchange.contracts import Contract
from src.paper_exchange.exchange import PaperExchange
from src.paper_exchange.model import VenueError
from src.paper_exchange.signing import mandatory

_DECIMAL_FORM = r"^([0-9]{1,20})(\.[0-9]{1,20})?$"
_DECIMAL = re.compile(_DECIMAL_FORM)
_WHOLE_FORM = r"^[0-9]{1,20}$"
_WHOLE = re.compile(_WHOLE_FORM)
DAY_MS = 86_400_000


class Security(StrEnum):
    """Who may call: anybody, holders of a key, or signed requests (TRADE also changes something)."""

    NONE = "NONE"
    KEY = "MARKET_DATA"
    USER = "USER_DATA"
    TRADE = "TRADE"

    @property
    def signed(self) -> bool:
        """Whether the request must carry a signature."""
        return self in (Security.USER, Security.TRADE)


@dataclass(frozen=True, slots=True)
class Call:
    """A request's parameters, its account ("" without one) and the market time of its arrival."""

    parameters: Mapping[str, str]
    account: str
    now_ms: int

    def has(self, name: str) -> bool:
        """Return whether the parameter was sent with a value."""
        return bool(self.parameters.get(name))

    def text(self, name: str, default: str | None = None) -> str:
        """Return a text; without ``default`` it must be there (-1102)."""
        value = self.parameters.get(name)
        if value:
            return value
        if default is None:
            raise mandatory(name)
        return default

    def whole(self, name: str, default: int | None = None) -> int:
        """Return a whole number; without ``default`` it must be there (-1102); -1100 for anything else."""
        value = self.parameters.get(name)
        if not value:
            if default is None:
                raise mandatory(name)
            return default
        if not _WHOLE.match(value):
            raise _illegal(name, _WHOLE_FORM)
        return int(value)

    def instant(self, name: str) -> int | None:
        """Return an instant in milliseconds, None when it was not sent."""
        return self.whole(name) if self.has(name) else None

    def decimal(self, name: str) -> Decimal | None:
        """Return a decimal number, None when it was not sent; -1100 for anything else, exponents included."""
        value = self.parameters.get(name)
        if not value:
            return None
        if not _DECIMAL.match(value):
            raise _illegal(name, _DECIMAL_FORM)
        return Decimal(value)

    def flag(self, name: str) -> bool | None:
        """Return true or false, None when it was not sent; -1102 for anything else."""
        value = self.parameters.get(name, "").lower()
        if not value:
            return None
        if value not in ("true", "false"):
            raise mandatory(name)
        return value == "true"

    def limit(self, default: int, most: int) -> int:
        """Return ``limit``; -1130 outside 1..``most``."""
        value = self.whole("limit", default)
        if not 1 <= value <= most:
            raise VenueError(-1130, "Data sent for parameter 'limit' is not valid.")
        return value

    def window(self, longest_ms: int | None = None) -> tuple[int | None, int | None]:
        """Return startTime and endTime; -1127 when they lie further apart than ``longest_ms``."""
        start_ms, end_ms = self.instant("startTime"), self.instant("endTime")
        if start_ms is not None and end_ms is not None:
            if end_ms < start_ms:
                raise VenueError(-1023, "Start time is greater than end time.")
            if longest_ms is not None and end_ms - start_ms > longest_ms:
                hours = longest_ms // 3_600_000
                raise VenueError(-1127, f"More than {hours} hours between startTime and endTime.")
        return start_ms, end_ms

    def contract(self, contracts: Mapping[str, Contract], name: str = "symbol") -> Contract:
        """Return the contract that is named; -1102 without a name, -1121 for one that is not listed."""
        found = contracts.get(self.text(name))
        if found is None:
            raise invalid_symbol()
        return found

    def symbol_or_all(self, contracts: Mapping[str, Contract]) -> str:
        """Return the symbol that is named, "" when no name was sent; -1121 for one that is not listed."""
        found = self.contract_or_none(contracts)
        return found.symbol if found else ""

    def contract_or_none(self, contracts: Mapping[str, Contract]) -> Contract | None:
        """Return the contract that is named, None when no name was sent; -1121 for one that is not listed."""
        return self.contract(contracts) if self.has("symbol") else None


def invalid_symbol() -> VenueError:
    """Return Binance's refusal of a symbol it does not list."""
    return VenueError(-1121, "Invalid symbol.")


def _illegal(name: str, form: str) -> VenueError:
    return VenueError(-1100, f"Illegal characters found in parameter '{name}'; legal range is '{form}'.")


Handler = Callable[[PaperExchange, Call], Any]
Weight = int | Callable[[Mapping[str, str]], int]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One row of the table of endpoints.

    ``weight`` counts for the address; ``orders`` counts (per ten seconds, per minute) for the account;
    ``funding_pool`` marks the requests that have a limit of their own and report no weight; ``long`` tells which
    requests take so long that they are answered beside the event loop.
    """

    method: str
    path: str
    security: Security
    weight: Weight
    handler: Handler
    orders: tuple[int, int] = (0, 0)
    funding_pool: bool = False
    long: Callable[[Mapping[str, str]], bool] | None = None

    @property
    def name(self) -> str:
        """Method and path: ``POST /fapi/v1/order``."""
        return f"{self.method} {self.path}"

    def weight_of(self, parameters: Mapping[str, str]) -> int:
        """Return the weight of a request with these parameters."""
        return self.weight if isinstance(self.weight, int) else self.weight(parameters)


def per_symbol(one: int, every: int) -> Weight:
    """Return a weight of ``one`` with a symbol and ``every`` without."""
    return lambda parameters: one if parameters.get("symbol") else every

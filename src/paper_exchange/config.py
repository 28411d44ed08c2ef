"""Settings of the paper exchange, validated once."""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

from src.paper_exchange.contracts import CONTRACTS, Contract
from src.paper_exchange.signing import KeyRing


@dataclass(frozen=True, slots=True)
class PaperConfig:
    """What the operator chose.

    ``symbols`` are the contracts that are listed, empty for all that the market has; ``contracts`` their rules.
    ``start`` is UTC text, "" for the market's own beginning; ``port`` 0 takes a free one; an empty
    ``control_token`` leaves the control paths switched off.
    """

    market: str
    speed: float
    host: str
    port: int
    balance: Decimal
    start: str
    state: Path
    keys: KeyRing
    control_token: str = field(default="", repr=False)
    symbols: tuple[str, ...] = ()
    contracts: Mapping[str, Contract] = field(default_factory=lambda: CONTRACTS, repr=False)

    def __post_init__(self) -> None:
        if not self.market.strip():
            raise ValueError("PAPER_MARKET is empty: write synthetic, replay:FILE or mirror")
        if not 0 < self.speed <= 10_000:
            raise ValueError("PAPER_SPEED must lie above 0 and be at most 10000")
        if not is_loopback(self.host):
            raise ValueError(f"PAPER_HOST={self.host} is not this machine alone: write 127.0.0.1")
        if not 0 <= self.port <= 65_535:
            raise ValueError("PAPER_PORT must lie in 0..65535")
        if not (self.balance.is_finite() and self.balance >= 0):
            raise ValueError("PAPER_BALANCE must be a number, at least 0")
        if self.control_token and len(self.control_token) < 16:
            raise ValueError("PAPER_CONTROL_TOKEN must have at least 16 characters")
        if self.market.startswith("mirror") and self.speed != 1:
            raise ValueError("PAPER_MARKET=mirror runs with the real market: write PAPER_SPEED=1")


def is_loopback(host: str) -> bool:
    """Return whether ``host`` can be reached from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False

"""How an entry is sent: by market at once, or as a maker for a while first."""

from dataclasses import dataclass

LONGEST_WAIT_MS = 600_000


@dataclass(frozen=True, slots=True)
class EntryRules:
    """``maker_wait_ms`` is how long a post-only order at the best price may wait before the rest is bought by market.

    0 sends a market order at once.
    """

    maker_wait_ms: int = 0

    def __post_init__(self) -> None:
        if self.maker_wait_ms and not 1_000 <= self.maker_wait_ms <= LONGEST_WAIT_MS:
            raise ValueError(f"maker_wait_ms must lie in 1000..{LONGEST_WAIT_MS}")

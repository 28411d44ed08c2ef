"""Trading costs: fee rates and slippage."""

from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class CostRates:
    """Fees as shares of notional, and the slippage expected of a market order, in basis points.

    The defaults are Binance USDⓈ-M's lowest tier (VIP 0) without BNB discount.
    """

    taker_share: Decimal = Decimal("0.0005")
    maker_share: Decimal = Decimal("0.0002")
    slippage_bps: Decimal = Decimal("1")

    def __post_init__(self) -> None:
        if not (0 <= self.maker_share < 1 and 0 <= self.taker_share < 1 and self.slippage_bps >= 0):
            raise ValueError("need 0 <= fees < 1 and slippage_bps >= 0")

    @property
    def one_way_share(self) -> float:
        """Fee and slippage of one market order, as a share of its notional."""
        return float(self.taker_share + self.slippage_bps / 10_000)

    def taker_fee(self, price: Decimal, quantity: Decimal) -> Decimal:
        """Return the fee of a market order in quote currency."""
        return price * quantity * self.taker_share

"""What a soak changes about account and contract: settings by the owner's hand, the exchange's rules, its clock."""

import random
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tests.paper_exchange.wire import Wire
from tests.suite.running import open_position

if TYPE_CHECKING:
    from tests.suite.soak import Soak

SYMBOL = "BTCUSDT"
FLAT_WITHIN_S = 20.0
HOUR_MS = 3_600_000


class AccountFaults:
    """Each is done while the bot runs; what the bot does not set right by itself is put back."""

    def __init__(self, soak: "Soak", dice: random.Random) -> None:
        self._soak, self._dice = soak, dice

    def lasting(self) -> dict[str, Callable[[], None]]:
        """Return the faults; all leave every process alive."""
        return {
            "settings: leverage by hand": lambda: self._by_hand("leverage", leverage=self._dice.choice((1, 3, 20, 50))),
            "settings: margin type by hand": lambda: self._flat_by_hand("marginType", marginType="ISOLATED"),
            "settings: hedge mode by hand": lambda: self._flat_by_hand("positionSide/dual", dualSidePosition="true"),
            "settings: multi-assets by hand": self._multi_assets,
            "settings: new tick": lambda: self._rules({"tick_size": "0.50"}, {"tick_size": "0.10"}),
            "settings: new step": lambda: self._rules({"step_size": "0.005"}, {"step_size": "0.001"}),
            "settings: smaller largest order": lambda: self._rules(
                {"max_market_quantity": "0.020"}, {"max_market_quantity": "120"}
            ),
            "settings: contract stops trading": lambda: self._rules({"status": "SETTLING"}, {"status": "TRADING"}),
            "settings: funding every hour": lambda: self._rules({"funding_hours": 1}, {"funding_hours": 8}),
            "settings: clock jumps ahead": lambda: self._jump(2 * HOUR_MS),
            "settings: clock jumps back": lambda: self._jump(-6 * HOUR_MS),
        }

    def _by_hand(self, path: str, **asked: Any) -> bool:
        """Change a setting as another client of the account; return whether the exchange took it."""
        if path in ("leverage", "marginType"):
            asked["symbol"] = SYMBOL
        taken = Wire(self._soak.exchange).signed("POST", f"/fapi/v1/{path}", **asked).status == 200
        self._soak.counts.checks[f"settings: {path} {'changed' if taken else 'refused'} by hand"] += 1
        return taken

    def _flat_by_hand(self, path: str, **asked: Any) -> None:
        """The exchange takes this with neither position nor order alone; the next entry must find it set right."""
        soak = self._soak
        soak.until(lambda: open_position(soak.exchange) == 0, FLAT_WITHIN_S)
        before = self._refused()
        if self._by_hand(path, **asked):
            time.sleep(self._dice.uniform(2, 6))
            soak.expect(self._refused() - before <= 1, f"orders refused again and again after {path} by hand")

    def _refused(self) -> int:
        rows = self._soak.bot.rows("SELECT COUNT(*) FROM orders WHERE purpose = 'entry' AND status = 'REJECTED'")
        return int(rows[0][0]) if rows else 0

    def _multi_assets(self) -> None:
        if self._by_hand("multiAssetsMargin", multiAssetsMargin="true"):
            time.sleep(self._dice.uniform(1, 4))
            self._by_hand("multiAssetsMargin", multiAssetsMargin="false")

    def _rules(self, changed: dict[str, Any], usual: dict[str, Any]) -> None:
        """Let the exchange change a rule of the contract for a while, whatever stands then."""
        exchange, held = self._soak.exchange, open_position(self._soak.exchange) != 0
        exchange.control("POST", "contract", symbol=SYMBOL, **changed)
        name = next(iter(changed))
        self._soak.counts.checks[f"settings: {name} changed, {'a position open' if held else 'flat'}"] += 1
        time.sleep(self._dice.uniform(2, 6))
        exchange.control("POST", "contract", symbol=SYMBOL, **usual)

    def _jump(self, skew_ms: int) -> None:
        """The exchange's clock is hours off for some seconds; afterwards the turns must go on as before."""
        soak = self._soak
        soak.exchange.control("POST", "skew", skew_ms=skew_ms)
        time.sleep(self._dice.uniform(3, 8))
        soak.exchange.control("POST", "skew", skew_ms=0)
        began = soak.cycles()
        on = soak.until(lambda: soak.cycles() >= began + 3, 30.0)
        soak.expect(bool(on), f"no turn within 30 s after the clock was {skew_ms // HOUR_MS} h off")

"""What a soak does to the account as its owner, or as the exchange: each counts how often it met an open position."""

import random
import shutil
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.paper_exchange.wire import Wire
from tests.suite.running import open_position, wallet

if TYPE_CHECKING:
    from tests.suite.soak import Soak

SYMBOL = "BTCUSDT"
MEETS_WITHIN_S = 20.0
BACK_WITHIN_MARKET_S = 240.0  # a check every 90 s of the market, and the turn that makes it
BACKUP_EVERY_S = 25.0


class OwnerFaults:
    """The owner's orders, liquidation, and what happens to the database file."""

    def __init__(self, soak: "Soak", dice: random.Random) -> None:
        self._soak, self._dice = soak, dice
        self._backup: Path | None = None
        self._backup_s = 0.0

    def lasting(self) -> dict[str, Callable[[], None]]:
        """Return the faults that leave every process alive."""
        return {
            "owner: closes a part": self._close_part,
            "owner: closes all": lambda: self._close_part(whole=True),
            "owner: adds": self._add,
            "owner: sells and buys back": self._round_trip,
            "owner: flips": self._flip,
            "owner: cancels the stop": lambda: self._cancel("STOP_MARKET"),
            "owner: cancels the target": lambda: self._cancel("TAKE_PROFIT_MARKET"),
            "owner: cancels the stop while the user socket is silent": self._cancel_silently,
            "owner: own stop on the symbol": self._own_stop,
            "exchange: liquidation": self._liquidate,
        }

    def ending(self) -> dict[str, Callable[[], None]]:
        """Return the faults after which the bot is another process."""
        return {"bot: older backup restored": self._restore_backup}

    # --- with a position -----------------------------------------------------------------------------------------

    def _held(self, name: str) -> Decimal:
        """Wait for a position of the bot and return its signed size, 0 when none came."""
        soak = self._soak
        soak.until(lambda: open_position(soak.exchange) != 0 and self._open_trades() == 1, MEETS_WITHIN_S)
        held = open_position(soak.exchange)
        soak.counts.checks[f"{name}: met a position" if held else f"{name}: met none"] += 1
        return held

    def _open_trades(self) -> int:
        rows = self._soak.bot.rows("SELECT COUNT(*) FROM trades WHERE status = 'open'")
        return int(rows[0][0]) if rows else 0

    def _order(self, signed: Decimal, **more: Any) -> bool:
        """Send a market order of the owner and return whether the exchange took it."""
        side = "BUY" if signed > 0 else "SELL"
        return (
            Wire(self._soak.exchange).order(symbol=SYMBOL, side=side, quantity=f"{abs(signed):f}", **more).status == 200
        )

    def _close_part(self, whole: bool = False) -> None:
        held = self._held("part closed")
        share = Decimal(1) if whole else Decimal(self._dice.choice(("0.3", "0.5", "0.8")))
        part = (held * share).quantize(Decimal("0.001")) or held
        if held:
            self._order(-part, reduceOnly="true")

    def _add(self) -> None:
        held = self._held("added")
        if held and self._order(held):
            time.sleep(self._dice.uniform(0.3, 3.0))
            self._give_back(held)

    def _round_trip(self) -> None:
        """Sell what the bot holds and buy it back: its trade is over, what stands then is the owner's."""
        soak = self._soak
        held = self._held("sold and bought back")
        if not held or not self._order(-held):
            return
        time.sleep(self._dice.uniform(0.0, 0.5))
        before = wallet(soak.exchange)
        if open_position(soak.exchange) == 0 and self._order(held):
            noticed = soak.until(lambda: self._open_trades() == 0, 20.0)
            soak.expect(noticed, "a position that was sold and bought back was taken for the bot's own")
            if open_position(soak.exchange) == held:
                self._order(-held, reduceOnly="true")
                soak.foreign_money += wallet(soak.exchange) - before

    def _flip(self) -> None:
        """Reverse the position: the bot's trade is over, the new position is nobody's business but the owner's."""
        soak = self._soak
        held = self._held("flipped")
        if not held or not self._order(-2 * held):
            return
        sent = self._orders_sent()
        noticed = soak.until(lambda: self._open_trades() == 0 and "did not open" in soak.detail("differences"), 30.0)
        soak.expect(noticed, "a flipped position was not seen as somebody else's within 30 s")
        time.sleep(2.0)
        soak.expect(self._orders_sent() - sent <= 6, "orders were sent for a position that the bot did not open")
        soak.counts.checks["a flipped position is left alone"] += bool(noticed)
        self._give_back(-held)

    def _orders_sent(self) -> int:
        return len(self._soak.exchange.control("GET", "client_ids"))

    def _give_back(self, added: Decimal) -> None:
        """Close what the owner holds; what that changes after the bot's own trade is over is the owner's money."""
        soak = self._soak
        if open_position(soak.exchange) * added <= 0:
            return
        soak.until(lambda: self._open_trades() == 0 or "of which this bot" in soak.detail("differences"), 15.0)
        before, own = wallet(soak.exchange), self._open_trades()
        size = min(abs(added), abs(open_position(soak.exchange)))
        if size and self._order(size.copy_sign(-added), reduceOnly="true") and not own:
            soak.foreign_money += wallet(soak.exchange) - before

    def _algo_orders(self) -> list[dict[str, Any]]:
        account = next(iter(self._soak.exchange.control("GET", "state")["accounts"].values()))
        return [row for row in account["algo_orders"] if row["symbol"] == SYMBOL]

    def _cancel(self, kind: str) -> None:
        """Cancel a protective order: it is back while the position stands, by event or by the short clock."""
        soak = self._soak
        if not self._held(f"{kind} cancelled"):
            return
        for row in self._algo_orders():
            if row["orderType"] == kind:
                Wire(soak.exchange).signed("DELETE", "/fapi/v1/algoOrder", algoId=row["algoId"])
        within_s = max(5.0, BACK_WITHIN_MARKET_S / soak.exchange.options["speed"])
        back = soak.until(lambda: not open_position(soak.exchange) or kind in self._kinds(), within_s)
        soak.expect(back, f"{kind} was not placed again within {within_s:.0f} s")
        soak.counts.checks[f"{kind} is placed again"] += bool(back)

    def _kinds(self) -> set[str]:
        return {row["orderType"] for row in self._algo_orders()}

    def _cancel_silently(self) -> None:
        self._soak.exchange.fault("silence", "private", for_s=8.0)
        self._cancel("STOP_MARKET")
        self._soak.exchange.control("DELETE", "faults")

    def _own_stop(self) -> None:
        """The owner's own stop on the symbol: nothing is opened beside it, and it is never cancelled by the bot."""
        soak = self._soak
        held = self._held("own stop")
        price = Decimal(self._mark())
        trigger = (price * (Decimal("0.90") if held >= 0 else Decimal("1.10"))).quantize(Decimal("0.1"))
        answer = Wire(soak.exchange).signed(
            "POST",
            "/fapi/v1/algoOrder",
            algoType="CONDITIONAL",
            symbol=SYMBOL,
            side="SELL" if held >= 0 else "BUY",
            type="STOP_MARKET",
            triggerPrice=f"{trigger:f}",
            closePosition="true",
            clientAlgoId=f"by-hand-{int(time.monotonic() * 1000)}",
        )
        soak.expect(answer.status == 200, f"the owner's stop was refused: {answer.body}")
        time.sleep(self._dice.uniform(1.0, 4.0))
        still = any(row["clientAlgoId"].startswith("by-hand-") for row in self._algo_orders())
        soak.expect(still or not held or open_position(soak.exchange) == 0, "the owner's own stop was cancelled")
        for row in self._algo_orders():
            if row["clientAlgoId"].startswith("by-hand-"):
                Wire(soak.exchange).signed("DELETE", "/fapi/v1/algoOrder", algoId=row["algoId"])

    def _mark(self) -> str:
        return str(
            Wire(self._soak.exchange).plain("GET", "/fapi/v1/premiumIndex", f"symbol={SYMBOL}").body["markPrice"]
        )

    def _liquidate(self) -> None:
        """Take the protective orders and move the price beyond what the margin carries, then back."""
        soak = self._soak
        held = self._held("liquidation")
        if not held:
            return
        size = Decimal(9_000) / Decimal(self._mark()) * 8  # the owner adds until the account cannot carry it
        if not self._order(size.quantize(Decimal("0.001")).copy_sign(held)):
            return
        soak.exchange.control("POST", "shock", symbol=SYMBOL, percent=-14 if held > 0 else 14)
        gone = soak.until(lambda: open_position(soak.exchange) == 0, 15.0)
        soak.counts.checks["liquidation or stop ended the position"] += bool(gone)
        soak.exchange.control("POST", "shock", symbol=SYMBOL, percent=16 if held > 0 else -12)
        soak.exchange.control("POST", "transfer", asset="USDT", amount=str(max(10_000 - int(wallet(soak.exchange)), 0)))

    # --- the database file ---------------------------------------------------------------------------------------

    def keep_backup(self) -> None:
        """Now and then take a backup, as the backup command does, to be restored later."""
        soak = self._soak
        if time.monotonic() - self._backup_s < BACKUP_EVERY_S or not soak.bot.database.exists():
            return
        path = soak.place / "backup.db"
        with (
            closing(sqlite3.connect(soak.bot.database, timeout=10)) as source,
            closing(sqlite3.connect(path)) as target,
        ):
            source.backup(target)
        self._backup, self._backup_s = path, time.monotonic()

    def _restore_backup(self) -> None:
        """A backup older than the newest trades: positions keep their protection, trades come back by their fills."""
        soak = self._soak
        if self._backup is None:
            return
        held = self._held("backup restored")
        before = {row["clientAlgoId"] for row in self._algo_orders()}
        for name in soak.others.names:
            soak.others.kill(name)
        soak.bot.kill()
        soak.forgotten |= set(soak.exchange.control("GET", "client_ids"))
        for ending in ("", "-wal", "-shm"):
            Path(f"{soak.bot.database}{ending}").unlink(missing_ok=True)
        shutil.copy(self._backup, soak.bot.database)
        soak.bot.start()
        began = soak.cycles()
        soak.until(lambda: soak.cycles() >= began + 2 or not soak.bot.alive, 40.0)
        if held and open_position(soak.exchange) == held:
            kept = before & {row["clientAlgoId"] for row in self._algo_orders()}
            soak.expect("STOP_MARKET" in self._kinds(), "a restored backup cost a position its stop")
            soak.counts.checks["a restored backup keeps the protection"] += bool(kept)
        for name in soak.others.names:
            soak.others.start(name)
        self._backup = None

"""The faults of a soak: each is done to the running suite and leaves things as it found them."""

import os
import random
import signal
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any

from src.domain.clock import SystemClock
from src.monitoring.health import heartbeat_health, web_health
from tests.paper_exchange import running as paper
from tests.paper_exchange.wire import Wire
from tests.suite.running import open_position, wallet
from tests.suite.soak_account import AccountFaults
from tests.suite.soak_invariants import EXTERNAL_POSITION

if TYPE_CHECKING:
    from tests.suite.soak import Soak

ORDER, ALGO = "POST /fapi/v1/order", "POST /fapi/v1/algoOrder"
STOP_WITHIN_S = 10.0
FROZEN_S = 6.5  # five seconds is the shortest patience of the health check
FULL_DISK_S = 60.0
SPARE_BYTES = 1 << 20
BAD_SETTING = {"LEVERAGE": "1000"}


class Faults:
    """All faults of one soak, by name."""

    def __init__(self, soak: "Soak", dice: random.Random) -> None:
        self._soak = soak
        self._dice = dice
        self._full_disks = 0
        self._account = AccountFaults(soak, dice)

    def lasting(self) -> dict[str, Callable[[], None]]:
        """Return the faults that leave every process alive."""
        return {
            "bot: SIGSTOP": self._freeze_bot,
            "exchange: SIGSTOP": self._freeze_exchange,
            "database locked": self._lock_database,
            "disk full": self._fill_disk,
            "network cut": lambda: self._cut("cut"),
            "network silent": lambda: self._cut("silent"),
            "market clock +5 min": lambda: self._control("clock", advance_ms=300_000),
            "market stands still": self._freeze_market,
            "clock skew": self._skew,
            "price shock": lambda: self._control("shock", symbol="BTCUSDT", percent=self._dice.choice((-3, -1, 1, 3))),
            "listen keys expire": lambda: self._control("expire_listen_keys"),
            "triggers stuck": lambda: self._control("hold_triggers", count=self._dice.randint(1, 5)),
            "sockets dropped": lambda: self._control("sockets", how="drop", route=self._route()),
            "sockets closed": lambda: self._control("sockets", how="close", route=self._route()),
            "ban": self._ban,
            "breaker tripped by hand": self._trip_breaker,
            "money comes or goes": self._transfer,
            **{f"order: {kind}": self._unknown(kind, ORDER) for kind in _UNKNOWN},
            **{f"stop: {kind}": self._unknown(kind, ALGO) for kind in _UNKNOWN},
            "order throttled": lambda: self._passing("throttled", ORDER, times=2),
            "order not found": lambda: self._passing(
                "order_missing", "GET /fapi/v1/order", "GET /fapi/v1/algoOrder", times=3
            ),
            "503": lambda: self._passing("service_unavailable", times=3),
            "-1001": lambda: self._passing("internal_error", times=3),
            "502 for 2 s": lambda: self._passing("bad_gateway", for_s=2.0),
            "500 for 5 s": lambda: self._passing("server_error", for_s=5.0),
            "429": lambda: self._passing("too_many", times=1),
            "answers 0.4 s late": lambda: self._passing("delay", for_s=3.0, delay_ms=400.0),
            "GETs hang": lambda: self._passing("hang", "GET", for_s=2.0),
            "everything hangs": lambda: self._passing("hang", for_s=2.0),
            "market socket silent": lambda: self._passing("silence", "market", for_s=5.0),
            "user socket silent": lambda: self._passing("silence", "private", for_s=5.0),
            "sockets refused": self._refuse_sockets,
            "events twice": lambda: self._passing("duplicate", "private", for_s=5.0),
            "events 0.7 s late": lambda: self._passing("late", "private", for_s=5.0, delay_ms=700.0),
            **{f"{name}: SIGSTOP": lambda name=name: self._freeze_other(name) for name in self._soak.others.names},
            **self._account.lasting(),
        }

    def ending(self) -> dict[str, Callable[[], None]]:
        """Return the faults after which a process is another one."""
        return {
            "bot: kill -9": self._kill_bot,
            "bot: SIGTERM and start": self._restart_bot,
            "bot: SIGTERM while everything hangs": self._restart_hanging_bot,
            "bot: wrong setting": self._start_wrongly,
            "bot: model file damaged": self._damage_model,
            EXTERNAL_POSITION: self._open_external_position,
            "exchange: kill -9": self._kill_exchange,
            **{f"{name}: kill -9": lambda name=name: self._kill_other(name) for name in self._soak.others.names},
        }

    # --- the exchange and the way to it --------------------------------------------------------------------------

    def _control(self, path: str, **command: Any) -> None:
        self._soak.exchange.control("POST", path, **command)

    def _route(self) -> str:
        return self._dice.choice(("", "market", "private"))

    def _passing(self, kind: str, *paths: str, **details: Any) -> None:
        exchange = self._soak.exchange
        exchange.fault(kind, *paths, **details)
        self._soak.until(lambda: exchange.control("GET", "faults") == [], details.get("for_s", 0.0) + 15.0)
        exchange.control("DELETE", "faults")

    def _unknown(self, kind: str, path: str) -> Callable[[], None]:
        return lambda: self._passing(kind, path, times=1, placed=self._dice.random() < 0.5)

    def _refuse_sockets(self) -> None:
        self._soak.exchange.fault("refuse_sockets", for_s=3.0)
        self._control("sockets", how="drop", route="")
        time.sleep(3.1)

    def _skew(self) -> None:
        self._control("skew", skew_ms=self._dice.choice((-400_000, 400_000, 5_000)))
        time.sleep(3)
        self._control("skew", skew_ms=0)

    def _ban(self) -> None:
        self._control("ban", for_s=3.0)
        time.sleep(3.2)

    def _freeze_market(self) -> None:
        self._control("clock", freeze=True)
        time.sleep(self._dice.uniform(1, 4))
        self._control("clock", freeze=False)

    def _transfer(self) -> None:
        """What comes in or goes out is no profit: the journal must know it, and the day's loss limit leave it out."""
        self._control("transfer", asset="USDT", amount=str(self._dice.choice((50, -50, 100, -400, 600))))

    def _cut(self, how: str) -> None:
        self._soak.cable.do(how)
        time.sleep(self._dice.uniform(1, 8))
        self._soak.cable.do("open")

    def _kill_exchange(self) -> None:
        self._soak.exchange.kill()
        time.sleep(self._dice.uniform(0, 2))
        self._soak.exchange = paper.restart(self._soak.exchange)

    def _freeze_exchange(self) -> None:
        self._soak.exchange.process.send_signal(signal.SIGSTOP)
        time.sleep(self._dice.uniform(1, 4))
        self._soak.exchange.process.send_signal(signal.SIGCONT)

    # --- the machine ---------------------------------------------------------------------------------------------

    def _lock_database(self) -> None:
        """Another program holds the database, up to half a minute; every turn must be written down afterwards (S14)."""
        bot = self._soak.bot
        before = self._soak.turns_told()
        with closing(sqlite3.connect(bot.database, isolation_level=None, timeout=10)) as rude:
            rude.execute("BEGIN IMMEDIATE")
            time.sleep(self._dice.choice((1, 3, 8, 15, 30)))
            rude.execute("ROLLBACK")
        self._soak.until(lambda: self._soak.turns_told()[0] > before[0], 30.0)
        self._soak.until(lambda: self._soak.turns_lost(before) == 0, 20.0)
        lost = self._soak.turns_lost(before)
        self._soak.expect(lost <= 0, f"S14: {lost} turns were not written down after the database was locked")
        self._soak.counts.checks["S14: no turn lost by a locked database"] += lost <= 0

    def _fill_disk(self) -> None:
        """Fill the small file system that holds the bot's and the exchange's files; nothing without one (not root)."""
        place = self._soak.place
        if not os.path.ismount(place):
            self._soak.counts.faults["disk full"] -= 1
            return
        self._full_disks += 1
        ballast = place / "ballast"
        with ballast.open("wb", buffering=0) as file, suppress(OSError):
            while True:  # others write meanwhile: until nothing more fits
                free = os.statvfs(place)
                room = free.f_bavail * free.f_frsize
                os.posix_fallocate(file.fileno(), file.seek(0, os.SEEK_END), max(room - SPARE_BYTES, 4_096))
        time.sleep(FULL_DISK_S if self._full_disks <= 2 else self._dice.uniform(2, 10))
        ballast.unlink()

    # --- the bot -------------------------------------------------------------------------------------------------

    def _kill_bot(self) -> None:
        self._soak.bot.kill()
        time.sleep(self._dice.uniform(0, 1))
        self._soak.bot.start()

    def _restart_bot(self) -> None:
        self._stop_bot("SIGTERM")
        self._soak.bot.start()

    def _restart_hanging_bot(self) -> None:
        self._soak.exchange.fault("hang", for_s=60.0)
        time.sleep(self._dice.uniform(0.1, 3.0))
        self._stop_bot("SIGTERM while everything hangs")
        self._soak.exchange.control("DELETE", "faults")
        self._soak.bot.start()

    def _stop_bot(self, how: str) -> None:
        """S8: 0 within ten seconds, whatever the exchange does, and no position without a stop in fair weather."""
        soak, began = self._soak, time.monotonic()
        try:
            code: int | str = soak.bot.stop(within_s=20.0)
        except AssertionError:
            soak.bot.kill()
            code = "nothing within 20 s"
        soak.counts.stops_s.append(time.monotonic() - began)
        soak.expect(code == 0, f"S8: {how} ended the bot with {code}")
        took_s = soak.counts.stops_s[-1]
        soak.expect(took_s <= STOP_WITHIN_S, f"S8: {how}: the bot took {took_s:.1f} s to stop")
        if how == "SIGTERM":
            soak.expect(not soak.naked(), f"S8: {how} left a position without a stop")

    def _freeze_bot(self) -> None:
        """A frozen bot must not look alive (S15), neither to the scripts nor at the API; thawed, it must go on."""
        soak = self._soak
        assert soak.bot.process is not None
        soak.bot.process.send_signal(signal.SIGSTOP)
        time.sleep(FROZEN_S)
        row = soak.heartbeat()
        healthy = row is not None and heartbeat_health(row, SystemClock().now_ms(), soak.bot.process.pid).healthy
        soak.expect(not healthy, "S15: a frozen bot was called healthy")
        port, path = soak.others.address("mcp_server")
        down = soak.until(lambda: not web_health("127.0.0.1", port, path).healthy, 5.0)
        soak.expect(down, "S15: the API called a frozen bot healthy")
        soak.counts.checks["S15: a frozen bot seen as such"] += bool(not healthy and down)
        soak.bot.process.send_signal(signal.SIGCONT)

    def _start_wrongly(self) -> None:
        """S9: a wrong setting stops the start with 78 and a line that names it."""
        soak = self._soak
        soak.bot.kill()
        right = dict(soak.bot.settings)
        soak.bot.settings.update(BAD_SETTING)
        said = len(soak.bot.log)
        soak.bot.start()
        assert soak.bot.process is not None
        code = soak.bot.process.wait(30)
        soak.expect(
            code == 78 and "LEVERAGE" in soak.bot.log[said:], f"S9: a wrong setting ended the start with {code}"
        )
        soak.counts.checks["S9: wrong setting refused"] += code == 78
        soak.bot.settings.clear()
        soak.bot.settings.update(right)
        soak.bot.start()

    def _damage_model(self) -> None:
        """S9: a model file that cannot be read means HOLD; the file put back, the bot goes on."""
        soak = self._soak
        soak.bot.kill()
        model = soak.bot.folder / "model.pkl"
        kept = model.read_bytes() if model.exists() else None
        model.write_bytes(b"no model")
        soak.bot.start()
        began = soak.cycles()
        soak.until(lambda: soak.cycles() >= began + 6 or not soak.bot.alive, 60.0)
        before = soak.rows_since(began + 1, "decision LIKE 'ENTER%'")
        soak.expect(before == 0, f"S9: {before} entries decided with a damaged model")
        soak.counts.checks["S9: damaged model holds"] += before == 0
        soak.bot.kill()
        model.unlink()
        if kept is not None:
            model.write_bytes(kept)
        soak.bot.start()

    def _open_external_position(self) -> None:
        """S13: exposure that the bot did not open is noticed within a cycle, shown, left alone, and stops entries."""
        soak = self._soak
        self._stop_bot("SIGTERM")
        if open_position(soak.exchange) != 0:
            soak.bot.start()
            soak.counts.checks["S13 not judged: a position was open"] += 1
            return
        before = wallet(soak.exchange)
        other_client = Wire(soak.exchange)
        order = other_client.order(quantity="0.010")
        soak.expect(order.status == 200, f"the external order was refused: {order.body}")
        began = soak.cycles()
        soak.bot.start()
        soak.until(lambda: soak.cycles() >= began + 4 or not soak.bot.alive, 60.0)
        shown = bool(soak.until(lambda: "did not open" in soak.detail("differences"), 10.0))
        acted = soak.rows_since(began, "decision <> 'HOLD'")
        other_client.order(side="SELL", quantity="0.010", reduceOnly="true")
        soak.until(lambda: open_position(soak.exchange) == 0, 10.0)
        soak.foreign_money += wallet(soak.exchange) - before
        soak.expect(shown and acted == 0, f"S13: an external position: shown {shown}, turns that acted {acted}")
        soak.counts.checks["S13: external position shown, no entry"] += shown and acted == 0

    def _trip_breaker(self) -> None:
        """S6: tripped by a person, it lets no entry pass; the soak resets it as a person would."""
        self._soak.breaker("trip")
        began = self._soak.cycles()
        self._soak.until(lambda: self._soak.cycles() >= began + 5, 20.0)

    # --- the others ----------------------------------------------------------------------------------------------

    def _kill_other(self, name: str) -> None:
        self._soak.others.kill(name)
        self._soak.others.start(name)
        healthy = self._soak.until(lambda: self._soak.others.healthy(name), 60.0)
        self._soak.expect(healthy, f"{name} was not healthy within 60 s of its start")

    def _freeze_other(self, name: str) -> None:
        process = self._soak.others.processes[name]
        process.send_signal(signal.SIGSTOP)
        time.sleep(self._dice.uniform(1, 4))
        process.send_signal(signal.SIGCONT)
        healthy = self._soak.until(lambda: self._soak.others.healthy(name), 60.0)
        self._soak.expect(healthy, f"{name} was not healthy within 60 s after it was frozen")


_UNKNOWN = ("unknown_error", "message_bus", "backend_timeout", "lost")

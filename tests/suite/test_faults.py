"""S1-S3, S7, S8, S10, S13-S15 under faults: the real bot over HTTP and sockets, judged by the exchange's own state."""

import os
import random
import signal
import sqlite3
import time
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import pytest

from tests.paper_exchange import running as paper
from tests.suite.running import (
    BUSY,
    Bot,
    Observer,
    PaperExchange,
    duplicates,
    open_position,
    settled,
    suite,
    wait_until,
)

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

KILLS_OF_BOT = int(os.environ.get("KILLS_OF_BOT", "8"))
KILLS_OF_EXCHANGE = int(os.environ.get("KILLS_OF_EXCHANGE", "4"))
LONGEST_NAKED_S = 1.0
ORDER, ALGO = "POST /fapi/v1/order", "POST /fapi/v1/algoOrder"


def folder(tmp_path: Path) -> Path:
    place = tmp_path / "bot"
    place.mkdir()
    return place


def assert_books_agree(exchange: PaperExchange, bot: Bot, within_s: float = 30.0) -> None:
    """Journal, exchange and bot agree to the last digit; no order twice; the database is whole."""
    wait_until(lambda: settled(exchange, bot), within_s, 0.2)
    assert duplicates(exchange) == {}
    assert bot.rows("PRAGMA integrity_check") == [("ok",)]
    opened = bot.rows("SELECT side, quantity FROM trades WHERE status = 'open'")
    held = open_position(exchange)
    assert sum((Decimal(str(row[1])) for row in opened), Decimal(0)) == abs(held)


def trading(tmp_path: Path, speed: float = 60.0):
    return suite(folder(tmp_path), speed=speed, **BUSY)


def test_kill_9_of_the_bot_at_random_instants_loses_and_doubles_nothing(tmp_path):
    dice = random.Random(11)
    with trading(tmp_path) as (exchange, bot):
        bot.start()
        bot.wait_for_cycles(2)
        observer = Observer(exchange, bot)
        observer.start()
        for _ in range(KILLS_OF_BOT):
            time.sleep(dice.uniform(0.2, 3.0))
            bot.kill()
            bot.start()
            bot.wait_for_cycles(1)
        wait_until(lambda: len(bot.rows("SELECT id FROM trades")) >= 2, 120, 0.2)
        assert bot.stop() == 0
        observer.stop()
        assert_books_agree(exchange, bot)
        trades = bot.rows("SELECT COUNT(*) FROM trades")[0][0]
        print(f"kills {KILLS_OF_BOT}, trades {trades}, longest without a stop {observer.longest_naked_s:.2f} s")
        assert observer.longest_naked_s <= LONGEST_NAKED_S


def test_kill_9_of_the_exchange_at_random_instants_loses_and_doubles_nothing(tmp_path):
    dice = random.Random(12)
    with trading(tmp_path) as (exchange, bot):
        bot.start()
        bot.wait_for_cycles(2)
        current = exchange
        try:
            for _ in range(KILLS_OF_EXCHANGE):
                time.sleep(dice.uniform(0.5, 4.0))
                current.kill()
                time.sleep(dice.uniform(0.0, 1.0))
                current = paper.restart(current)
                bot.wait_for_cycles(2)
            assert bot.stop() == 0
            assert_books_agree(current, bot)
        finally:
            current.kill()


KINDS = ("lost", "unknown_error", "message_bus", "backend_timeout")
UNKNOWN = [(kind, placed) for kind in KINDS for placed in (True, False)]


def test_orders_of_unknown_outcome_are_looked_up_and_never_sent_twice(tmp_path):
    """Every kind, placed or not, meets an order; every kind meets a stop or target that was placed all the same."""
    with trading(tmp_path, speed=120.0) as (exchange, bot):
        bot.start()
        bot.wait_for_cycles(2)
        observer = Observer(exchange, bot)
        observer.start()
        for kind, placed in UNKNOWN:
            exchange.fault(kind, ORDER, times=1, placed=placed)
            if placed:  # with the same entry's guards: to wait for another entry would take longer than all the rest
                exchange.fault(kind, ALGO, times=1, placed=True)
            wait_until(lambda: exchange.control("GET", "faults") == [], 120, 0.1)
            bot.wait_for_cycles(1)
        assert bot.stop() == 0
        observer.stop()
        assert_books_agree(exchange, bot)
        per_minute = bot.rows(
            "SELECT COUNT(*) FROM orders WHERE purpose = 'entry' AND status = 'FILLED' "
            "GROUP BY substr(timestamp, 1, 16) HAVING COUNT(*) > 1"
        )
        assert per_minute == []


PASSING = [
    ("order_missing", ["GET /fapi/v1/order", "GET /fapi/v1/algoOrder"], {"times": 3}),
    ("throttled", [ORDER], {"times": 2}),
    ("service_unavailable", [], {"times": 3}),
    ("internal_error", [], {"times": 3}),
    ("bad_gateway", [], {"for_s": 2.0}),
    ("too_many", [], {"times": 1}),
    ("delay", [], {"for_s": 3.0, "delay_ms": 400.0}),
    ("hang", ["GET"], {"for_s": 2.0}),
    ("silence", ["market"], {"for_s": 5.0}),
    ("silence", ["private"], {"for_s": 5.0}),
    ("refuse_sockets", [], {"for_s": 3.0}),
    ("duplicate", ["private"], {"for_s": 5.0}),
    ("late", ["private"], {"for_s": 5.0, "delay_ms": 700.0}),
]


def test_every_passing_fault_leaves_the_books_in_order(tmp_path):
    with trading(tmp_path, speed=120.0) as (exchange, bot):
        bot.start()
        bot.wait_for_cycles(2)
        for kind, paths, details in PASSING:
            exchange.fault(kind, *paths, **details)
            if kind == "refuse_sockets":
                exchange.control("POST", "sockets", how="drop", route="")
            bot.wait_for_cycles(3, 90)
        for route in ("market", "private"):
            exchange.control("POST", "sockets", how="drop", route=route)
            bot.wait_for_cycles(2, 90)
        exchange.control("POST", "expire_listen_keys")
        bot.wait_for_cycles(2, 90)
        exchange.control("POST", "skew", skew_ms=400_000)
        bot.wait_for_cycles(2, 90)
        exchange.control("POST", "skew", skew_ms=0)
        exchange.control("DELETE", "faults")
        bot.wait_for_cycles(3, 90)
        assert bot.stop() == 0
        assert_books_agree(exchange, bot)


def test_a_stop_stuck_in_triggering_does_not_keep_the_position_open(tmp_path):
    with trading(tmp_path) as (exchange, bot):
        bot.start()
        wait_until(lambda: open_position(exchange) != 0, 120, 0.02)
        exchange.control("POST", "hold_triggers", count=10)
        exchange.control("POST", "shock", symbol="BTCUSDT", percent=-4)
        wait_until(lambda: open_position(exchange) == 0, 15, 0.05)
        bot.wait_for_cycles(1)
        assert bot.stop() == 0
        assert_books_agree(exchange, bot)


def test_twenty_seconds_of_http_500_and_the_bot_goes_on(tmp_path):
    with trading(tmp_path) as (exchange, bot):
        bot.start()
        bot.wait_for_cycles(2)
        exchange.fault("server_error", for_s=20.0)
        began = len(bot.log.splitlines())
        time.sleep(20.5)
        complaints = [line for line in bot.log.splitlines()[began:] if " WARNING " in line or " ERROR " in line]
        bot.wait_for_cycles(3)
        assert bot.stop() == 0
        assert_books_agree(exchange, bot)
        assert len(complaints) <= 40, "\n".join(complaints)


def asked_of_binance(exchange: PaperExchange) -> int:
    """Return how many requests of Binance's own protocol the exchange has counted."""
    hours = exchange.control("GET", "requests").values()
    return sum(count for hour in hours for endpoint, count in hour.items() if "/fapi/" in endpoint)


def test_a_ban_is_honoured(tmp_path):
    with trading(tmp_path) as (exchange, bot):
        bot.start()
        bot.wait_for_cycles(2)
        exchange.control("POST", "ban", for_s=5.0)
        time.sleep(1.0)
        before = asked_of_binance(exchange)
        time.sleep(3.0)
        assert asked_of_binance(exchange) - before <= 2
        bot.wait_for_cycles(3, 60)
        assert bot.stop() == 0
        assert_books_agree(exchange, bot)


def test_a_database_locked_for_half_a_minute_loses_no_turn(tmp_path):
    with suite(folder(tmp_path), speed=20.0, **BUSY) as (exchange, bot):
        bot.start()
        bot.wait_for_cycles(3)
        with closing(sqlite3.connect(bot.database, isolation_level=None)) as rude:
            rude.execute("BEGIN IMMEDIATE")
            time.sleep(30)
            rude.execute("ROLLBACK")
        bot.wait_for_cycles(3, 60)
        assert bot.stop() == 0
        assert_books_agree(exchange, bot)
        minutes = [row[0][:16] for row in bot.rows("SELECT timestamp FROM signals ORDER BY id")]
        assert len(minutes) == len(set(minutes))
        first, last = minutes[1], minutes[-1]
        spanned = bot.rows(f"SELECT (julianday('{last}') - julianday('{first}')) * 1440")[0][0]
        assert len(minutes) - 1 >= round(spanned)


def test_a_position_that_nobody_knows_at_start_halts_entries(tmp_path):
    with trading(tmp_path, speed=120.0) as (exchange, bot):
        client = _client(exchange)
        client.futures_create_order(symbol="BTCUSDT", side="BUY", type="MARKET", quantity="0.010")
        bot.start()
        bot.wait_for_cycles(8)
        assert bot.stop() == 0
        assert open_position(exchange) == Decimal("0.010")
        reasons = [row[0] for row in bot.rows("SELECT gates FROM signals")]
        assert bot.rows("SELECT COUNT(*) FROM orders") == [(0,)]
        assert all("did not open" in gates for gates in reasons if gates != "[]")


def test_sigterm_leaves_position_and_stop_and_ends_in_time(tmp_path):
    with trading(tmp_path) as (exchange, bot):
        bot.start()
        wait_until(lambda: open_position(exchange) != 0, 120, 0.02)
        began = time.monotonic()
        assert bot.stop(signal.SIGINT) == 0
        assert time.monotonic() - began < 10
        state = next(iter(exchange.control("GET", "state")["accounts"].values()))
        if open_position(exchange) != 0:
            assert [row["orderType"] for row in state["algo_orders"]].count("STOP_MARKET") == 1
            assert "stays open" in bot.log
        assert bot.rows("SELECT phase FROM bot_status") == [("stopped",)]
        assert (bot.folder / "model.pkl").exists()
        assert_books_agree(exchange, bot)


def test_sigterm_ends_the_bot_in_time_while_the_exchange_answers_nothing(tmp_path):
    """S8, with room for a busy machine; what guards the position stands at the exchange and needs no bot."""
    with trading(tmp_path) as (exchange, bot):
        bot.start()
        wait_until(lambda: open_position(exchange) != 0, 120, 0.02)
        bot.wait_for_cycles(1)
        exchange.fault("hang", for_s=60.0)
        time.sleep(1.0)
        assert bot.stop(within_s=15.0) == 0
        exchange.control("DELETE", "faults")
        state = next(iter(exchange.control("GET", "state")["accounts"].values()))
        if open_position(exchange) != 0:
            assert [row["orderType"] for row in state["algo_orders"]].count("STOP_MARKET") == 1
        assert bot.rows("SELECT phase FROM bot_status") == [("stopped",)]
        bot.start()
        bot.wait_for_cycles(2)
        assert bot.stop() == 0
        assert_books_agree(exchange, bot)


def test_a_second_signal_ends_a_bot_that_hangs(tmp_path):
    with trading(tmp_path) as (exchange, bot):
        bot.start()
        bot.wait_for_cycles(2)
        exchange.fault("hang", for_s=30.0)
        time.sleep(1.0)
        bot.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        if bot.alive:
            assert bot.stop(signal.SIGTERM, 3.0) in (0, 143)
        assert not bot.alive


def _client(exchange: PaperExchange):
    from binance.client import Client

    class Local(Client):
        API_URL = f"{exchange.address}/api"
        FUTURES_URL = f"{exchange.address}/fapi"

    client = Local(paper.API_KEY, paper.API_SECRET, ping=False)
    client.REQUEST_RECVWINDOW = 60_000
    client.timestamp_offset = exchange.now_ms() - int(time.time() * 1000)
    return client

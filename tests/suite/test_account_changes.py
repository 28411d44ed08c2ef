"""The owner's hand on leverage, modes and pairs, the exchange's new rules, a clock that jumps: the real bot over HTTP.

The owner is another client of the same account, through the exchange's own REST paths.
"""

import json
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from src.monitoring.health import process_health
from src.runtime.process_ends import unexpected_exits
from src.runtime.settings import Settings
from tests.paper_exchange.running import PaperExchange, wait_until
from tests.paper_exchange.wire import Wire
from tests.suite.running import BUSY as BUSY_LONG
from tests.suite.running import Bot, open_position, settled, suite

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]


BUSY = BUSY_LONG | {"ALLOW_SHORT": "true"}  # entries both ways, so that one comes soon in any market


def folder(tmp_path: Path) -> Path:
    place = tmp_path / "bot"
    place.mkdir()
    return place


def details(bot: Bot) -> dict[str, Any]:
    rows = bot.rows("SELECT details FROM bot_status WHERE process = 'trading_bot'")
    return json.loads(rows[0][0]) if rows else {}


def reason(bot: Bot, symbol: str = "BTCUSDT") -> str:
    return details(bot).get("settings", {}).get(symbol, "")


def turns(bot: Bot) -> int:
    return count(bot, "signals")


def entries(bot: Bot) -> int:
    return count(bot, "trades")


def count(bot: Bot, table: str) -> int:
    rows = bot.rows(f"SELECT COUNT(*) FROM {table}")
    return int(rows[0][0]) if rows else 0


def flat(exchange: PaperExchange) -> bool:
    return open_position(exchange) == 0


def held_by(exchange: PaperExchange, symbol: str) -> dict[str, Any] | None:
    account = next(iter(exchange.control("GET", "state")["accounts"].values()))
    rows = [row for row in account["positions"] if row["symbol"] == symbol and Decimal(row["positionAmt"]) != 0]
    return rows[0] if rows else None


def wait_for_entry(exchange: PaperExchange, bot: Bot, before: int) -> None:
    wait_until(lambda: entries(bot) > before or not bot.alive, 150.0, 0.05)
    assert entries(bot) > before, bot.log[-3000:]


def test_leverage_margin_type_and_mode_changed_by_hand_never_reach_an_order(tmp_path):
    """Case 8 and 10: the owner changes them at any time; every position carries what the settings say."""
    with suite(folder(tmp_path), speed=60.0, **BUSY) as (exchange, bot):
        owner = Wire(exchange)
        bot.start()
        bot.wait_for_cycles(2)
        for round_number in range(6):
            before = entries(bot)
            wait_until(lambda: flat(exchange), 60.0, 0.02)
            owner.signed("POST", "/fapi/v1/leverage", symbol="BTCUSDT", leverage=("1", "20", "3")[round_number % 3])
            owner.signed("POST", "/fapi/v1/marginType", symbol="BTCUSDT", marginType="ISOLATED")
            owner.signed("POST", "/fapi/v1/positionSide/dual", dualSidePosition="true")
            wait_for_entry(exchange, bot, before)
        rows = bot.rows("SELECT leverage FROM trades")
        assert {row[0] for row in rows} == {10}
        refused = bot.rows("SELECT refusal FROM orders WHERE purpose = 'entry' AND status = 'REJECTED'")
        assert len(refused) <= 6, refused
        config = owner.signed("GET", "/fapi/v1/symbolConfig", symbol="BTCUSDT").body[0]
        assert (config["leverage"], config["marginType"]) == (10, "CROSSED")
        bot.stop()
        wait_until(lambda: settled(exchange, bot), 20.0, 0.2)


def test_hedge_mode_that_cannot_be_switched_back_is_told_and_ends_by_itself(tmp_path):
    with suite(folder(tmp_path), speed=60.0, **BUSY) as (exchange, bot):
        owner = Wire(exchange)
        assert owner.signed("POST", "/fapi/v1/positionSide/dual", dualSidePosition="true").status == 200
        order = owner.order(symbol="ETHUSDT", quantity="0.100", positionSide="LONG")
        assert order.status == 200, order.body
        bot.start()
        bot.wait_for_cycles(5)
        assert "hedge mode" in reason(bot)
        assert entries(bot) == 0
        assert bot.rows("SELECT COUNT(*) FROM orders") == [(0,)]
        assert owner.order(symbol="ETHUSDT", side="SELL", quantity="0.100", positionSide="LONG").status == 200
        wait_for_entry(exchange, bot, 0)
        assert owner.signed("GET", "/fapi/v1/positionSide/dual").body == {"dualSidePosition": False}


def test_a_tick_changed_while_running_costs_no_position(tmp_path):
    """Case 13: entries after the change are protected on the new tick, none is closed as unprotected."""
    with suite(folder(tmp_path), speed=60.0, **BUSY) as (exchange, bot):
        bot.start()
        bot.wait_for_cycles(2)
        before = entries(bot)
        exchange.control("POST", "contract", symbol="BTCUSDT", tick_size="0.50", step_size="0.005")
        wait_for_entry(exchange, bot, before)
        assert bot.rows("SELECT COUNT(*) FROM trades WHERE exit_reason = 'unprotected'") == [(0,)]
        rows = bot.rows("SELECT trigger_price FROM orders WHERE purpose = 'stop' ORDER BY id DESC LIMIT 2")
        assert all(Decimal(str(row[0])) % Decimal("0.5") == 0 for row in rows)


def test_a_delisted_pair_in_the_list_halts_itself_alone(tmp_path):
    """Case 18: the other pair trades on, and what is wrong is told by name."""
    with suite(folder(tmp_path), speed=60.0, TRADING_PAIRS="OMGUSDT,BTCUSDT", **BUSY) as (exchange, bot):
        bot.start()
        wait_for_entry(exchange, bot, 0)
        said = "OMGUSDT is not listed at the exchange: take it out of TRADING_PAIRS"
        wait_until(lambda: said in reason(bot, "OMGUSDT"), 30.0, 0.1)  # told at the end of the turn of the entry
        assert reason(bot) == ""


def test_a_pair_delisted_while_running_is_settled_and_the_other_trades_on(tmp_path):
    careful = BUSY | {"BREAKER_MAX_EXCHANGE_ERRORS": "10"}
    with suite(folder(tmp_path), speed=60.0, TRADING_PAIRS="BTCUSDT,DOGEUSDT", **careful) as (exchange, bot):
        bot.start()
        wait_until(lambda: held_by(exchange, "DOGEUSDT") is not None or not bot.alive, 150.0, 0.05)
        exchange.control("POST", "contract", symbol="DOGEUSDT", status="SETTLING")
        exchange.control("POST", "contract", symbol="DOGEUSDT", listed=False)
        assert held_by(exchange, "DOGEUSDT") is None
        before = entries(bot)
        wait_until(lambda: "not listed" in reason(bot, "DOGEUSDT") or not bot.alive, 60.0, 0.2)
        wait_for_entry(exchange, bot, before)
        assert bot.alive
        tripped = bot.rows("SELECT COUNT(*) FROM circuit_breaker_events WHERE status = 'TRIPPED'")
        assert tripped == [(0,)], "a delisted pair tripped the breaker of all"
        sent = bot.rows("SELECT COUNT(*) FROM orders WHERE symbol = 'DOGEUSDT' AND status = 'REJECTED'")
        assert sent[0][0] <= 3


def test_a_pair_that_left_the_list_with_a_position_open_is_managed_until_it_ends(tmp_path):
    place = folder(tmp_path)
    with suite(place, speed=30.0, TRADING_PAIRS="BTCUSDT,DOGEUSDT", **BUSY) as (exchange, bot):
        bot.start()
        wait_until(lambda: held_by(exchange, "DOGEUSDT") is not None or not bot.alive, 90.0, 0.02)
        bot.kill()
        if held_by(exchange, "DOGEUSDT") is None:
            pytest.skip("the position ended before the bot could be killed")
        bot.settings["TRADING_PAIRS"] = "BTCUSDT"
        bot.start()
        bot.wait_for_cycles(2)
        wait_until(lambda: "left TRADING_PAIRS" in reason(bot, "DOGEUSDT") or not bot.alive, 20.0, 0.1)
        if held := held_by(exchange, "DOGEUSDT"):  # else its own rules have ended it already
            side = -1 if Decimal(held["positionAmt"]) > 0 else 1
            exchange.control("POST", "shock", symbol="DOGEUSDT", percent=4 * side)
        wait_until(lambda: held_by(exchange, "DOGEUSDT") is None or not bot.alive, 60.0, 0.05)
        open_trades = "SELECT COUNT(*) FROM trades WHERE symbol = 'DOGEUSDT' AND status = 'open'"
        wait_until(lambda: bot.rows(open_trades) == [(0,)], 30.0, 0.1)
        assert bot.rows(open_trades) == [(0,)]
        bot.stop()
        wait_until(lambda: settled(exchange, bot), 20.0, 0.2)
        assert settled(exchange, bot)


def test_a_margin_type_changed_in_the_settings_with_a_position_open_stops_no_bot(tmp_path):
    """Case 15: restarted with ISOLATED while a position stands, the bot manages it and opens nothing meanwhile."""
    with suite(folder(tmp_path), speed=30.0, **BUSY) as (exchange, bot):
        bot.start()
        wait_until(lambda: not flat(exchange) or not bot.alive, 90.0, 0.02)
        bot.kill()
        bot.settings["MARGIN_TYPE"] = "ISOLATED"
        bot.start()
        owner = Wire(exchange)

        def isolated() -> bool:
            return owner.signed("GET", "/fapi/v1/symbolConfig", symbol="BTCUSDT").body[0]["marginType"] == "ISOLATED"

        wait_until(lambda: isolated() or not bot.alive, 120.0, 0.2)  # once the old position ended in its way
        assert bot.alive, bot.log[-3000:]
        wait_for_entry(exchange, bot, entries(bot))
        assert bot.rows("SELECT COUNT(*) FROM trades WHERE exit_reason = 'unprotected'") == [(0,)]


def test_a_start_that_fails_is_told_until_one_succeeds(tmp_path):
    """Wrong settings, an exchange that is away: whoever alerts people knows of it without the database."""
    place = folder(tmp_path)
    with suite(place, speed=30.0, **BUSY) as (_, bot):
        bot.settings["LEVERAGE"] = "1000"
        bot.start()
        assert bot.process.wait(30) == 78
        ((name, told),) = unexpected_exits(place / "state")
        assert name.startswith("trading_bot-")
        assert "(78): LEVERAGE is wrong" in told
        bot.settings["LEVERAGE"] = "10"
        bot.start()
        bot.wait_for_cycles(1)
        assert bot.stop() == 0
        assert unexpected_exits(place / "state") == []


@pytest.mark.parametrize("hours", [2, 6, -6])
def test_after_a_jump_of_the_exchanges_clock_the_turns_go_on_as_before(tmp_path, hours):
    """Kind L: the server's time is hours off for 20 s; afterwards a turn comes each minute again, exits never stop."""
    with suite(folder(tmp_path), speed=30.0, **BUSY) as (exchange, bot):
        bot.start()
        bot.wait_for_cycles(3)
        exchange.control("POST", "skew", skew_ms=hours * 3_600_000)
        time.sleep(20)
        exchange.control("POST", "skew", skew_ms=0)
        time.sleep(3)
        before, began_s = turns(bot), time.monotonic()
        wait_until(lambda: turns(bot) >= before + 8 or not bot.alive, 40.0, 0.1)
        took_s = time.monotonic() - began_s
        assert turns(bot) >= before + 8, bot.log[-3000:]
        assert took_s <= 30.0  # eight market minutes are 16 s
        assert bot.rows("SELECT COUNT(*) FROM circuit_breaker_events WHERE status = 'TRIPPED'") == [(0,)]
        last = bot.rows("SELECT veto, reason FROM signals ORDER BY id DESC LIMIT 5")
        old = {"candle", "mark", "account", "breaker", "settings", "halt"}
        assert not [row for row in last if row[0] in old or "did not open" in row[1]], last
        bot.stop()
        wait_until(lambda: settled(exchange, bot), 20.0, 0.2)
        assert settled(exchange, bot)


def test_health_tells_that_the_database_file_is_gone_and_that_it_is_back(tmp_path):
    """Kind J: the file moved away under all services: no look says that all is well; put back, all goes on."""
    place = folder(tmp_path)
    with suite(place, speed=30.0, **BUSY) as (exchange, bot):
        bot.start()
        bot.wait_for_cycles(2)
        settings = Settings.load(place / "none.env").model_copy(
            update={"database_url": f"sqlite:///{bot.database}", "bot_id": bot.environment()["BOT_ID"]}
        )

        def healthy() -> bool:
            return process_health(settings, ("trading_bot",)).healthy

        assert healthy()
        aside = place / "aside"
        aside.mkdir()
        names = [f"trading.db{suffix}" for suffix in ("", "-wal", "-shm")]
        for name in names:
            (place / name).rename(aside / name)
        assert [healthy() for _ in range(8)] == [False] * 8
        time.sleep(5)
        assert not bot.database.exists(), "an empty database was made without a word"
        assert bot.alive
        for name in names:
            (aside / name).rename(place / name)
        wait_until(healthy, 20.0, 0.2)
        before = turns(bot)
        wait_until(lambda: turns(bot) >= before + 2 or not bot.alive, 30.0, 0.1)
        bot.stop()
        wait_until(lambda: settled(exchange, bot), 20.0, 0.2)
        assert settled(exchange, bot)

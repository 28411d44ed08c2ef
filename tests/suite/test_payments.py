"""Money paid in or out of the account: no gain, no loss, booked once, whatever the bot was doing just then (S5)."""

import json
from decimal import Decimal
from pathlib import Path

import pytest

from tests.suite.running import BUSY, Bot, PaperExchange, open_position, paid, suite, transferred, wait_until, wallet

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]

ALL_IN = {"MAX_DAILY_LOSS_PERCENTAGE": "0.05", "POSITION_PERCENTAGE": "0.1", "LEVERAGE": "10"}
MORNING = "2026-03-03T02:00:00"  # the first entry comes soon


def pay(exchange: PaperExchange, amount: int) -> None:
    exchange.control("POST", "transfer", asset="USDT", amount=str(amount))


def assert_known(exchange: PaperExchange, bot: Bot, total: int) -> None:
    """The journal comes to know of it; what the exchange says agrees."""
    assert transferred(exchange) == total
    wait_until(lambda: paid(bot) == total, 30, 0.1)


def day_gate(bot: Bot) -> tuple[int, bool]:
    """Return the last turn's number, and whether the day's loss lets an entry pass in it."""
    number, gates = bot.rows("SELECT id, gates FROM signals ORDER BY id DESC LIMIT 1")[0]
    return number, all(gate["passed"] for gate in json.loads(gates) if gate["name"] == "daily_loss")


def test_payments_move_the_days_base_and_only_trading_reaches_its_limit(tmp_path: Path):
    """Ten per cent are paid out in a position, others come in with no socket and with no bot; then 6 % are lost.

    Of what the day began with that would be no loss of five per cent: the limit counts from the base that moved.
    """
    with suite(tmp_path, speed=120.0, start_at=MORNING, **BUSY | ALL_IN) as (exchange, bot):
        bot.start()
        wait_until(lambda: open_position(exchange) != 0, 120, 0.02)
        pay(exchange, -1_000)
        assert_known(exchange, bot, -1_000)
        bot.wait_for_cycles(2)
        assert day_gate(bot)[1]
        pay(exchange, 2_000)
        assert_known(exchange, bot, 1_000)
        exchange.fault("refuse_sockets", for_s=1.0)
        exchange.control("POST", "sockets", how="drop", route="private")
        pay(exchange, 500)
        assert_known(exchange, bot, 1_500)
        bot.kill()
        pay(exchange, -500)
        for _ in range(2):
            bot.start()
            bot.wait_for_cycles(1)
            assert_known(exchange, bot, 1_000)
            bot.kill()
        assert bot.rows("SELECT COUNT(*), COUNT(DISTINCT transaction_id) FROM transfers") == [(4, 4)]
        assert bot.rows("SELECT id FROM trades WHERE exit_reason = 'daily_loss'") == []
        bot.start()
        wait_until(lambda: open_position(exchange) != 0, 120, 0.02)
        exchange.control("POST", "shock", symbol="BTCUSDT", percent=-6)
        wait_until(lambda: open_position(exchange) == 0, 30, 0.05)
        bot.wait_for_cycles(2)
        number, free = day_gate(bot)
        assert not free
        assert Decimal(9_500) < wallet(exchange) < Decimal(10_450)
        bot.wait_for_cycles(3)
        assert bot.rows(f"SELECT id FROM signals WHERE id >= {number} AND decision LIKE 'ENTER%'") == []
        assert bot.stop() == 0
        [(start, moved)] = bot.rows("SELECT start_balance, transfers FROM daily_performance WHERE symbol = '*'")
        assert (start, moved) == (10_000, 1_000)

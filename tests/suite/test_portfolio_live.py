"""The real bot under a strategy of targets, over HTTP and sockets: six pairs, one account, kill -9 in the middle."""

import pytest

from tests.paper_exchange.running import wait_until
from tests.suite.running import Observer, duplicates, settled, suite

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]
PAIRS = {"BTCUSDT", "ETHUSDT", "SOLUSDT", "BNBUSDT", "XRPUSDT", "DOGEUSDT"}
SEED = "synthetic:7"


def test_a_portfolio_is_traded_with_stops_and_survives_kill_9(tmp_path):
    settings = {"RULES": "", "TRAINING_CANDLES": "1000"}  # empty: the default
    with suite(tmp_path, market=SEED, speed=120.0, **settings) as (exchange, bot):
        bot.start()
        observer = Observer(exchange, bot)
        observer.start()
        bot.wait_for_cycles(6 * 3, 200)
        said = dict(bot.rows("SELECT symbol, reason FROM signals ORDER BY id DESC LIMIT 6"))
        assert set(said) == PAIRS
        assert all("next decision is at" in reason for reason in said.values())
        assert bot.rows("SELECT id FROM trades"), "the first decision opens what trends"
        bot.kill()
        bot.start()
        bot.wait_for_cycles(6 * 20, 120)
        bot.wait_until_said("portfolio decided", 240)
        assert bot.stop() == 0
        observer.stop()
        wait_until(lambda: settled(exchange, bot))
        assert observer.positions_seen > 0
        assert observer.longest_naked_s <= 1.0
        assert duplicates(exchange) == {}
        opened = bot.rows("SELECT symbol, COUNT(*) FROM trades WHERE status = 'open' GROUP BY symbol")
        assert all(count == 1 for _, count in opened)

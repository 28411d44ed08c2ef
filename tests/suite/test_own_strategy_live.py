"""The real bot under a user's strategy, over HTTP and sockets: it starts once the file passed its check."""

import pytest

from src.backtest.strategy_check import check_strategy
from src.runtime.strategy_loader import note_check, read_strategy_file
from tests.suite.running import suite

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]


def test_it_starts_only_once_it_was_checked_and_then_trades(tmp_path):
    settings = {"RULES": "my_strategy", "TRADING_PAIRS": "BTCUSDT,ETHUSDT", "TRAINING_CANDLES": "1000"}
    with suite(tmp_path, market="synthetic:7", speed=60.0, **settings) as (_, bot):
        bot.start()
        assert bot.process.wait(60) == 78
        file = read_strategy_file("my_strategy")
        note_check(tmp_path / "state", file, check_strategy(file), "2026-01-01T00:00")
        bot.start()
        bot.wait_for_cycles(2 * 3, 200)
        said = dict(bot.rows("SELECT symbol, reason FROM signals ORDER BY id DESC LIMIT 2"))
        assert set(said) == {"BTCUSDT", "ETHUSDT"}
        assert all("The next decision is at" in reason for reason in said.values())
        assert all("EMA 21 at" in reason or "Flat" in reason or "is within" in reason for reason in said.values())
        assert bot.stop() == 0

"""A bot whose PAPER_SPEED is not the running paper exchange's is told so in one sentence, at its first call."""

import pytest

from src.domain.clock import ExchangeClock
from src.domain.errors import SettingsError
from src.exchanges.binance.client import BinanceClient, budget_file
from src.exchanges.binance.rate_limiter import SharedRateLimiter
from src.exchanges.binance.transport import Addresses, BinanceTransport, Credentials
from tests.paper_exchange.running import API_KEY, API_SECRET, running

pytestmark = pytest.mark.long


def client_at(exchange, folder, speed):
    clock = ExchangeClock(speed)
    addresses = Addresses.of_base("paper", exchange.address)
    budget = SharedRateLimiter(budget_file(folder, addresses), clock, speed)
    return BinanceClient(BinanceTransport(addresses, Credentials(API_KEY, API_SECRET), clock, budget))


def test_the_root_cause_is_reported_in_one_sentence(tmp_path):
    with running(tmp_path / "state.json", speed=60.0) as exchange:
        for call in (BinanceClient.get_account_balance, lambda client: client.sync_clock()):
            with pytest.raises(SettingsError) as caught:
                call(client_at(exchange, tmp_path, 1.0))
            [sentence] = caught.value.problems
            assert "PAPER_SPEED is 1 here, but the running paper exchange runs at 60" in sentence
        assert client_at(exchange, tmp_path, 60.0).get_account_balance() == 10_000

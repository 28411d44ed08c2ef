"""GET fundingRate: every contract's settlements in one order, for the price of the days that are answered."""

from types import SimpleNamespace

import pytest

from src.paper_exchange.contracts import CONTRACTS
from src.paper_exchange.gateway import ENDPOINTS
from src.paper_exchange.markets.synthetic import SyntheticMarket
from src.paper_exchange.prices import Prices
from src.paper_exchange.rest_call import Call
from src.paper_exchange.rest_market import FEW_SETTLEMENTS, funding_rates

NOW = 1_795_360_668_168
START = 1_795_000_000_000


@pytest.fixture
def market():
    return SyntheticMarket(7)


@pytest.fixture
def ask(market):
    """Ask an exchange on that market, without a server."""
    venue = SimpleNamespace(now_ms=NOW)
    exchange = SimpleNamespace(contracts=CONTRACTS, market=market, quotes=Prices(market, CONTRACTS), venue=venue)
    return lambda **query: funding_rates(exchange, Call({k: str(v) for k, v in query.items()}, "", NOW))


@pytest.mark.parametrize("query", [{"limit": 9}, {"limit": 9, "startTime": START}, {"limit": 7, "endTime": START}])
def test_without_a_symbol_it_returns_the_rows_of_all_contracts(ask, query):
    apart = [row for symbol in CONTRACTS for row in ask(symbol=symbol, **query)]
    apart.sort(key=lambda row: (row["fundingTime"], row["symbol"]))
    limit = query["limit"]
    assert ask(**query) == (apart[:limit] if "startTime" in query else apart[-limit:])


def test_the_newest_hundred_of_all_contracts_make_a_week_of_the_market_and_no_month(ask, market):
    rows = ask()
    assert len(rows) == 100 and {row["symbol"] for row in rows} == set(CONTRACTS)
    assert rows[-1]["fundingTime"] <= NOW < rows[-1]["fundingTime"] + 8 * 3_600_000
    days = {row["fundingTime"] // 86_400_000 for row in rows}
    assert market._day.cache_info().misses <= len(days) + 1 == 7  # a price at midnight needs the day before, too


def test_requests_over_many_days_are_answered_outside_the_event_loop():
    long = ENDPOINTS["GET /fapi/v1/fundingRate"].long
    assert long is not None
    assert long({}) and long({"symbol": "BTCUSDT", "limit": "1000"}) and long({"limit": "no number"})
    assert not long({"limit": str(FEW_SETTLEMENTS)})

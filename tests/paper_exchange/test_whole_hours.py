"""Long candles are made of whole hours, equal to those made of minutes, without reading months of minutes."""

import pytest

from src.domain.clock import MINUTE_MS
from src.paper_exchange.charts import Charts, KlineRange
from src.paper_exchange.contracts import CONTRACTS
from src.paper_exchange.markets import open_market
from src.paper_exchange.markets.klines import aggregate
from src.paper_exchange.markets.replay import ReplayMarket
from src.paper_exchange.markets.synthetic import SyntheticMarket
from src.paper_exchange.prices import Prices

HOUR_MS = 60 * MINUTE_MS
NOW = 1_767_225_600_000 + 5 * HOUR_MS + 17 * MINUTE_MS + 3_000


class CountingMarket(SyntheticMarket):
    """Counts the minutes that are read one by one."""

    minutes_read = 0

    def candles(self, symbol, start_ms, end_ms):
        rows = super().candles(symbol, start_ms, end_ms)
        self.minutes_read += len(rows)
        return rows


def charts_of(market, now=NOW):
    quotes = Prices(market, {symbol: CONTRACTS[symbol] for symbol in market.symbols})
    return Charts(market, quotes, lambda: now), quotes


@pytest.mark.parametrize("interval", ["1h", "2h", "4h", "8h", "12h"])
def test_bars_of_hours_are_those_of_minutes(interval):
    market = open_market("synthetic:3")
    made, _ = charts_of(market)
    bars = made.bars("DOGEUSDT", interval, KlineRange(None, None, 9))
    minutes = made.bars("DOGEUSDT", "1m", KlineRange(bars[0].open_ms, None, 9 * 12 * 60))
    expected = aggregate(minutes, interval)
    assert [row[:8] for row in bars] == [row[:8] for row in expected]
    assert [row.quote_volume for row in bars] == pytest.approx([row.quote_volume for row in expected], rel=1e-13)


def test_a_year_of_8_hour_bars_reads_the_minutes_of_the_running_hour_alone():
    market = CountingMarket(3)
    made, _ = charts_of(market)
    assert len(made.bars("BTCUSDT", "8h", KlineRange(None, None, 1_000))) == 1_000
    assert market.minutes_read == 17


def test_days_that_were_made_for_one_contract_serve_all(monkeypatch):
    market = SyntheticMarket(3)
    made, _ = charts_of(market)
    made.bars("BTCUSDT", "8h", KlineRange(None, None, 60))
    days = []
    monkeypatch.setattr(market, "_make_day", days.append)
    made.bars("ETHUSDT", "8h", KlineRange(None, NOW - 24 * HOUR_MS, 50))
    assert days == []


def test_a_price_moved_by_hand_shows_in_the_hours_since_and_not_before():
    market = open_market("synthetic:3")
    made, quotes = charts_of(market)
    before = made.bars("BTCUSDT", "1h", KlineRange(None, None, 6))
    quotes.shock("BTCUSDT", before[3].open_ms + 20 * MINUTE_MS, 0.8)
    after = made.bars("BTCUSDT", "1h", KlineRange(None, None, 6))
    assert after[:3] == before[:3]
    assert [row.close for row in after[3:]] == pytest.approx([row.close * 0.8 for row in before[3:]], rel=1e-5)


def test_recorded_hours_leave_out_what_was_not_traded(tmp_path):
    first_ms = 1_672_531_200_000
    rows = [
        f"{first_ms + number * MINUTE_MS},{100 + number},{101 + number},99,{100.5 + number},2,"
        f"{first_ms + number * MINUTE_MS + 59_999},200,3,1,100,0"
        for number in (*range(60), *range(150, 200))
    ]
    path = tmp_path / "BTCUSDT-1m-2023-01.csv"
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    market = ReplayMarket([path])
    found = market.hours("BTCUSDT", first_ms, first_ms + 4 * HOUR_MS)
    assert [(row.open_ms - first_ms) // HOUR_MS for row in found] == [0, 2, 3]
    assert [(row.open, row.close, row.volume, row.trades) for row in found] == [
        (100.0, 159.5, 120.0, 180),
        (250.0, 279.5, 60.0, 90),
        (280.0, 299.5, 40.0, 60),
    ]

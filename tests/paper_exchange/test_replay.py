"""Replayed candles: what a file holds is served to the digit, what cannot be is refused in one sentence."""

import logging
import zipfile

import pytest

from src.domain.clock import DAY_MS, MINUTE_MS, instant_of
from src.domain.errors import DataRefused
from src.domain.market import Candle
from src.paper_exchange.markets import open_market
from src.paper_exchange.markets.replay import ReplayMarket
from tests.shared_data import shared_file

START_MS = instant_of("2024-01-31T23:58")
HEADER = (
    "open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,taker_buy_quote_volume,ignore"
)


def line(open_ms, price=100.0, unit=1):
    """Return a row of the archive; ``unit`` 1000 counts microseconds."""
    prices = f"{price},{price + 1},{price - 1},{price + 0.5}"
    return f"{open_ms * unit},{prices},2.000,{(open_ms + 59_999) * unit},201.00,7,1.250,125.00,0"


def rows(count, start_ms=START_MS, **how):
    """Return ``count`` minutes, each one unit dearer."""
    return [line(start_ms + k * MINUTE_MS, 100.0 + k, **how) for k in range(count)]


def write(path, lines, header=None):
    """Write a CSV, or a zip that holds one if the path says so."""
    text = "\n".join([*([header] if header else []), *lines]) + "\n"
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(path.stem + ".csv", text)
    else:
        path.write_text(text)
    return path


def first_candle():
    return Candle(START_MS, 100.0, 101.0, 99.0, 100.5, 2.0, 7, 1.25, 201.0)


@pytest.mark.parametrize("suffix", ["csv", "zip"])
@pytest.mark.parametrize("header", [None, HEADER])
@pytest.mark.parametrize("unit", [1, 1000])
def test_the_archive_is_read_with_and_without_header_in_milliseconds_and_microseconds(tmp_path, suffix, header, unit):
    market = ReplayMarket([write(tmp_path / f"BTCUSDT-1m-2024-01.{suffix}", rows(3, unit=unit), header)])
    assert market.symbols == ("BTCUSDT",)
    assert (market.first_ms, market.end_ms) == (START_MS, START_MS + 3 * MINUTE_MS)
    assert market.candle("BTCUSDT", START_MS) == first_candle()
    assert [candle.open for candle in market.candles("BTCUSDT", 0, 2**50)] == [100.0, 101.0, 102.0]
    assert market.world == "replay" and market.lag_ms == 0


def test_months_of_one_contract_are_joined_whatever_their_order(tmp_path):
    january = write(tmp_path / "BTCUSDT-1m-2024-01.csv", rows(2))
    february = write(tmp_path / "BTCUSDT-1m-2024-02.zip", rows(3, START_MS + 2 * MINUTE_MS), HEADER)
    market = ReplayMarket([february, january])
    assert len(market.candles("BTCUSDT", START_MS, START_MS + DAY_MS)) == 5
    assert market.end_ms == START_MS + 5 * MINUTE_MS


def test_several_contracts_share_the_span_that_all_have(tmp_path):
    bitcoin = write(tmp_path / "BTCUSDT-1m-2024-01.csv", rows(10))
    ether = write(tmp_path / "ETHUSDT-1m-2024-01.csv", rows(10, START_MS + 4 * MINUTE_MS))
    market = ReplayMarket([bitcoin, ether])
    assert market.symbols == ("BTCUSDT", "ETHUSDT")
    assert (market.first_ms, market.end_ms) == (START_MS + 4 * MINUTE_MS, START_MS + 10 * MINUTE_MS)
    assert market.candle("BTCUSDT", START_MS) is not None  # what one has beyond it is history
    assert market.candle("ETHUSDT", START_MS) is None


def test_a_gap_is_none_and_named_in_the_log(tmp_path, caplog):
    lines = [row for k, row in enumerate(rows(12)) if k not in (4, 5, 6)]
    with caplog.at_level(logging.WARNING):
        market = ReplayMarket([write(tmp_path / "SOLUSDT-1m-2024-01.csv", lines)])
    assert market.candle("SOLUSDT", START_MS + 5 * MINUTE_MS) is None
    assert market.candle("SOLUSDT", START_MS + 7 * MINUTE_MS).open == 107.0
    assert len(market.candles("SOLUSDT", START_MS, market.end_ms)) == 9
    assert "symbol=SOLUSDT first_missing=2024-02-01T00:02:00.000Z minutes=3" in caplog.text


def test_outside_of_the_file_there_is_nothing(tmp_path):
    market = ReplayMarket([write(tmp_path / "BTCUSDT-1m-2024-01.csv", rows(3))])
    assert market.candle("BTCUSDT", market.end_ms) is None
    assert market.candle("BTCUSDT", START_MS - MINUTE_MS) is None
    assert market.candle("BTCUSDT", START_MS + 1) is None
    assert market.candle("ETHUSDT", START_MS) is None
    assert market.candles("ETHUSDT", 0, 2**50) == []
    assert market.candles("BTCUSDT", market.end_ms, START_MS) == []


def test_what_a_short_file_leaves_out_is_derived_from_its_volume(tmp_path):
    lines = [f"{START_MS},100,104,100,104,50", f"{START_MS + MINUTE_MS},104,104,104,104,0"]
    market = ReplayMarket([write(tmp_path / "BTCUSDT-1m-2024-01.csv", lines)])
    busy, still = market.candles("BTCUSDT", 0, 2**50)
    assert busy.quote_volume == 50 * 102.0
    assert busy.trades == round(50 * 102.0 / 1800)
    assert busy.taker_buy_volume == 50 * 0.8
    assert (still.quote_volume, still.trades, still.taker_buy_volume) == (0.0, 0, 0.0)


def test_real_rates_at_real_instants_and_the_usual_one_elsewhere(tmp_path):
    settled_ms = instant_of("2024-02-01T00:00")
    candles = write(tmp_path / "BTCUSDT-1m-2024-01.csv", rows(5))
    header = "calc_time,funding_interval_hours,last_funding_rate"
    rates = write(tmp_path / "BTCUSDT_um_funding_2024.csv", [f"{settled_ms + 7},8,0.00031"], header)
    market = ReplayMarket([candles, rates])
    assert market.funding_rate("BTCUSDT", settled_ms) == 0.00031
    assert market.funding_rate("BTCUSDT", settled_ms - 1) == 0.00031
    assert market.funding_rate("BTCUSDT", settled_ms + 1) == 0.0001
    assert market.funding_rate("ETHUSDT", settled_ms) == 0.0001


def test_an_index_may_be_brought_along(tmp_path):
    candles = write(tmp_path / "BTCUSDT-1m-2024-01.csv", rows(5))
    day_ms = instant_of("2024-02-01")
    index = write(tmp_path / "fear_greed_daily.csv", [f"{day_ms},63"], "day_time,value")
    market = ReplayMarket([candles, index])
    assert market.fear_greed(day_ms + 5) == 63
    assert market.fear_greed(day_ms + DAY_MS) is None


def impossible(field, value):
    """Return three rows, the second with one field replaced."""
    lines = rows(3)
    parts = lines[1].split(",")
    parts[field] = value
    return [lines[0], ",".join(parts), lines[2]]


REFUSED = {
    "wrong columns": (["1,2,3", "4,5,6"], "a,b,c"),
    "too few columns": ([f"{START_MS},1,2,3"], None),
    "unsorted": ([rows(3)[1], rows(3)[0], rows(3)[2]], None),
    "duplicated": ([*rows(2), rows(2)[1]], HEADER),
    "only a header": ([], HEADER),
    "words in prices": (impossible(1, "abc"), None),
    "no number": (impossible(4, "nan"), HEADER),
    "endless": (impossible(2, "inf"), HEADER),
    "high below close": (impossible(2, "1.0"), None),
    "low above open": (impossible(3, "101.4"), None),
    "negative volume": (impossible(5, "-1"), None),
    "price of nought": (impossible(3, "0"), None),
    "ragged": ([*rows(2), "1706745600000,1,2"], HEADER),
    "hours": ([line(START_MS + k * 60 * MINUTE_MS) for k in range(4)], None),
    "between minutes": ([line(START_MS + 17)], None),
    "before time": ([line(-MINUTE_MS)], HEADER),
}


@pytest.mark.parametrize("fault", REFUSED)
def test_a_bad_file_is_refused_in_one_sentence_that_names_it(tmp_path, fault):
    lines, header = REFUSED[fault]
    path = write(tmp_path / "BTCUSDT-1m-2024-01.csv", lines, header)
    with pytest.raises(DataRefused) as refusal:
        ReplayMarket([path])
    assert "BTCUSDT-1m-2024-01.csv" in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_truncated_zip_is_refused(tmp_path):
    path = write(tmp_path / "BTCUSDT-1m-2024-01.zip", rows(400))
    whole = path.read_bytes()
    for kept in (0, 30, len(whole) // 2, len(whole) - 10):
        path.write_bytes(whole[:kept])
        with pytest.raises(DataRefused, match=r"BTCUSDT-1m-2024-01\.zip"):
            ReplayMarket([path])


def test_a_zip_with_a_changed_byte_is_refused(tmp_path):
    path = write(tmp_path / "BTCUSDT-1m-2024-01.zip", rows(400))
    content = bytearray(path.read_bytes())
    content[200] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(DataRefused, match=r"BTCUSDT-1m-2024-01\.zip"):
        ReplayMarket([path])


def test_an_empty_file_no_parquet_a_missing_one_and_a_nameless_one_are_refused(tmp_path):
    for name in ("BTCUSDT-1m-2024-01.csv", "BTCUSDT_1m.parquet"):
        (tmp_path / name).write_bytes(b"")
        with pytest.raises(DataRefused, match=name):
            ReplayMarket([tmp_path / name])
    with pytest.raises(DataRefused, match="no such file"):
        ReplayMarket([tmp_path / "ETHUSDT-1m-2024-01.csv"])
    with pytest.raises(DataRefused, match="does not say the contract"):
        ReplayMarket([write(tmp_path / "candles.csv", rows(2))])


def test_another_interval_is_refused_by_its_name_before_it_is_read(tmp_path):
    with pytest.raises(DataRefused, match="holds 15m candles, but a replay needs 1m"):
        ReplayMarket([tmp_path / "BTCUSDT-15m-2024-01.zip"])


def test_files_that_overlap_or_never_meet_are_refused(tmp_path):
    first = write(tmp_path / "BTCUSDT-1m-2024-01.csv", rows(4))
    again = write(tmp_path / "BTCUSDT-1m-2024-01-31.csv", rows(4, START_MS + 2 * MINUTE_MS))
    apart = write(tmp_path / "ETHUSDT-1m-2025-01.csv", rows(4, START_MS + 900 * DAY_MS))
    with pytest.raises(DataRefused, match="both hold 2024-02-01"):
        ReplayMarket([first, again])
    with pytest.raises(DataRefused, match="share no minute"):
        ReplayMarket([first, apart])


def test_a_parquet_of_words_is_refused(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    columns = {name: ["one", "two"] for name in ("open_time", "open", "high", "low", "close", "volume")}
    path = tmp_path / "BTCUSDT_um_1m.parquet"
    parquet.write_table(pyarrow.table(columns), path)
    with pytest.raises(DataRefused, match="is no instant"):
        ReplayMarket([path])
    del columns["low"]
    parquet.write_table(pyarrow.table(columns), path)
    with pytest.raises(DataRefused, match="has no column low"):
        ReplayMarket([path])


@pytest.mark.long
def test_real_candles_are_served_as_recorded():
    files = [shared_file(f"{coin}USDT_um_1m_2023JulAug.parquet") for coin in ("BTC", "ETH")]
    files += [shared_file("BTCUSDT_um_funding_to2024H1.parquet")]
    files += [shared_file("fear_greed_daily_2021Aug_2024H1.parquet")]
    market = open_market("replay:" + ",".join(str(path) for path in files))
    assert market.first_ms == instant_of("2023-07-18T11:13")
    assert market.end_ms == instant_of("2023-08-17T11:11")
    candle = market.candle("BTCUSDT", market.first_ms)
    assert (candle.open, candle.close, candle.volume) == (29996.9, 30001.9, 60.905)
    assert candle.low <= candle.quote_volume / candle.volume <= candle.high
    assert len(market.candles("BTCUSDT", market.first_ms, market.end_ms)) == 43_198
    assert len(market.candles("ETHUSDT", 0, market.end_ms)) == 64_065
    assert market.funding_rate("BTCUSDT", instant_of("2023-08-01T08:00")) != 0.0001
    assert market.fear_greed(instant_of("2023-08-01")) is not None

"""A table of candles or rates is taken whole or refused in one sentence, whoever reads the file."""

import gzip
import io
import zipfile

import numpy as np
import pytest

from src.domain import candle_sources
from src.domain.candle_columns import NEEDED, OF_FUNDING, OPTIONAL, ours_of, places
from src.domain.candle_names import SeriesKind, facts_of, symbol_in
from src.domain.candle_sources import read_source
from src.domain.candle_validation import funding_of, length_of
from src.domain.errors import DataRefused

ROWS = b"1706745600000,1,3,0.5,2,10,1706745659999,15,4,5,7,0\n1706745660000,2,3,1,2,10,1706745719999,15,4,5,7,0\n"
MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000


def read(name, text, needed=NEEDED, optional=OPTIONAL):
    return read_source(name, io.BytesIO(text), needed, optional)


@pytest.mark.parametrize(
    ("name", "symbol", "series", "interval_ms"),
    [
        ("BTCUSDT-1m-2024-01.zip", "BTCUSDT", None, MINUTE),
        ("BTC_USDT_USDT-1m-futures.feather", "BTCUSDT", SeriesKind.PERPETUAL, MINUTE),
        ("BTC_USDT-5m.json", "BTCUSDT", SeriesKind.SPOT, 300_000),
        ("BTC_USDT_USDT-8h-mark.feather", "BTCUSDT", SeriesKind.MARK, 8 * HOUR),
        ("BTC_USDT_USDT-8h-funding_rate.feather", "BTCUSDT", SeriesKind.FUNDING, 8 * HOUR),
        ("ETHUSDT_um_funding_2024.parquet", "ETHUSDT", SeriesKind.FUNDING, 0),
        ("ETHUSDT-fundingRate-2024-01.zip", "ETHUSDT", SeriesKind.FUNDING, 0),
        ("BTCUSDT_spot_1m_2022.parquet", "BTCUSDT", SeriesKind.SPOT, MINUTE),
        ("BTCUSDT_um_15m_2022_2024H1.parquet", "BTCUSDT", SeriesKind.PERPETUAL, 900_000),
        ("BINANCE_BTCUSDT.P, 1.csv", "BTCUSDT", SeriesKind.PERPETUAL, MINUTE),
        ("BINANCE_ETHUSDT, 240.csv", "ETHUSDT", SeriesKind.SPOT, 4 * HOUR),
        ("BINANCE_ETHUSDT.P, 1D.csv", "ETHUSDT", SeriesKind.PERPETUAL, DAY),
        ("Binance_BTCUSDT_minute.csv", "BTCUSDT", None, MINUTE),
        ("Binance_ETHUSDT_1h.csv", "ETHUSDT", None, HOUR),
        ("Binance_BTCUSDT_d.csv", "BTCUSDT", None, DAY),
        ("bitstampUSD_1-min_data_2012-01-01_to_2021-03-31.csv", "", SeriesKind.SPOT, MINUTE),
        ("XBTUSDT_1.csv", "BTCUSDT", SeriesKind.SPOT, MINUTE),
        ("XBTUSDT_1440.csv", "BTCUSDT", SeriesKind.SPOT, DAY),
        ("BTCUSDT_M1_202401.csv", "BTCUSDT", None, MINUTE),
        ("1000PEPEUSDT-1h-2024-06.zip", "1000PEPEUSDT", None, HOUR),
        ("candles.parquet", "", None, 0),
    ],
)
def test_a_name_says_contract_series_and_length(name, symbol, series, interval_ms):
    found = facts_of(name)
    assert (found.symbol, found.series, found.interval_ms) == (symbol, series, interval_ms)


@pytest.mark.parametrize(
    ("name", "folders", "what"),
    [
        ("BTCUSDT_240628-1m-2024-06.zip", (), "dated contract BTCUSDT_240628"),
        ("BTCUSD_240628-1m-2024-06.zip", (), "dated contract"),
        ("BTCUSD_PERP-1m-2024-06.zip", (), "coin-margined contract BTCUSD_PERP"),
        ("BTCUSDT-1m-2024-06.zip", ("data", "futures", "um", "monthly", "indexPriceKlines", "BTCUSDT"), "index prices"),
        ("BTCUSDT-1m-2024-06.zip", ("monthly", "premiumIndexKlines", "BTCUSDT", "1m"), "the premium"),
        ("BTCUSDT-1m-2024-06.zip", ("data", "futures", "cm", "monthly"), "coin-margined"),
        ("BTCUSDT_premiumIndex_1m.csv", (), "the premium"),
    ],
)
def test_what_is_of_another_instrument_is_refused_by_name_or_folder(name, folders, what):
    with pytest.raises(DataRefused, match=what):
        facts_of(name, folders)


@pytest.mark.parametrize(
    ("folders", "series"),
    [
        (("monthly", "markPriceKlines", "BTCUSDT", "1m"), SeriesKind.MARK),
        (("mark",), SeriesKind.MARK),
        (("data", "spot"), SeriesKind.SPOT),
    ],
)
def test_folders_tell_apart_what_the_archive_names_alike(folders, series):
    assert facts_of("BTCUSDT-1m-2024-06.zip", folders).series is series


@pytest.mark.parametrize("text", ["BTCUSDT", "btcusdt", "BTC/USDT", "BINANCE:BTCUSDT.P", "BTC-USDT", "BTC/USDT:USDT"])
def test_a_contract_is_known_however_it_is_written(text):
    assert symbol_in(text) == "BTCUSDT"


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("Open time", "open_time"), (" OPEN ", "open"), ("<CLOSE>", "close"), ("Volume BTC", "volume"),
        ("Volume USDT", "quote_volume"), ("Volume_(BTC)", "volume"), ("Volume_(Currency)", "quote_volume"),
        ("Volume MA", "volume_ma"), ("Quote asset volume", "quote_volume"), ("tradecount", "trades"),
        ("openTime", "open_time"), ("Number of trades", "trades"),
    ],
)  # fmt: skip
def test_columns_are_known_regardless_of_case_and_brackets(theirs, ours):
    assert ours_of(theirs) == ours


def test_the_archives_older_files_have_no_header_and_the_newer_ones_other_names():
    header = b"open_time,open,high,low,close,volume,close_time,quote_asset_volume,number_of_trades,taker_buy_base,x,y\n"
    bare, named = (read("a.csv", text).columns for text in (ROWS, header + ROWS))
    assert set(bare) == set(named) == {*NEEDED, *OPTIONAL, "close_time"}
    assert all(np.array_equal(bare[name], named[name]) for name in bare)
    assert bare["trades"].tolist() == [4, 4] and bare["quote_volume"].tolist() == [15, 15]


def test_blank_lines_and_windows_ends_of_line_are_no_rows():
    text = b"\xef\xbb\xbffunding_time,funding_rate\r\n\r\n1706745600003,0.0001\r\n  \r\n1706774400001,-0.0002\r\n\r\n"
    times, rates = funding_of("f.csv", read("f.csv", text, OF_FUNDING, ()).columns)
    assert times.tolist() == [1_706_745_600_000, 1_706_774_400_000] and rates.tolist() == [0.0001, -0.0002]


def zip_of(members):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return packed.getvalue()


def test_the_months_in_a_zip_are_one_series_whatever_their_order_and_what_a_system_adds_is_none():
    later = ROWS.replace(b"17067456", b"17067457").replace(b"17067457", b"17067458")
    text = zip_of({"b.csv": later, "a.csv": ROWS, "__MACOSX/._a.csv": b"\0\5", ".DS_Store": b"x", "readme.md": b"hi"})
    found = read("two.zip", text).columns["open_time"]
    assert found.tolist() == sorted(found.tolist()) and len(found) == 4
    with pytest.raises(DataRefused, match=r"two\.zip holds no table, only readme"):
        read("two.zip", zip_of({"readme.md": b"hello"}))


@pytest.mark.parametrize("kind", ["zip", "gz", "csv"])
def test_what_unpacks_to_more_than_a_table_can_be_is_refused_before_the_memory_is_full(monkeypatch, kind):
    monkeypatch.setattr(candle_sources, "MOST_UNPACKED_BYTES", 1_000_000)
    text = b"open_time,open,high,low,close,volume\n" + ROWS[:51] * 30_000
    packed = {"zip": lambda: zip_of({"a.csv": text}), "gz": lambda: gzip.compress(text), "csv": lambda: text}[kind]()
    with pytest.raises(DataRefused, match="unpacks to more than"):
        read(f"a.csv.{kind}" if kind == "gz" else f"a.{kind}", packed)


@pytest.mark.parametrize("blank", [b"", b"\n", b"\n\n\n"])
def test_a_fault_is_named_by_the_line_that_an_editor_shows(blank):
    text = b"open_time,open,high,low,close,volume\n" + blank + b"1706745600000,1,3,0.5,2,10\n1706745660000,2,x,1,2,10\n"
    line = 3 + blank.count(b"\n")
    with pytest.raises(DataRefused, match=f"line {line} has 'x' in column high"):
        read("a.csv", text)


def test_what_is_wanted_is_found_wherever_it_stands_and_only_once():
    assert places("a.csv", ("x", "date", "close"), ("open_time",), ("close", "volume")) == {"open_time": 1, "close": 2}
    assert places("a.csv", ("x", "x", "date"), ("open_time",), ()) == {"open_time": 2}
    with pytest.raises(DataRefused, match="column open_time more than once"):
        places("a.csv", ("date", "open_time"), ("open_time",), ())
    with pytest.raises(DataRefused, match="no column volume; it has date"):
        places("a.csv", ("date",), ("open_time", "volume"), ())


def test_a_rate_in_percent_is_no_share():
    text = b"calc_time,last_funding_rate\n1706745600000,1.5\n"
    with pytest.raises(DataRefused, match="is it in percent"):
        funding_of("f.csv", read("f.csv", text, OF_FUNDING, ()).columns)


def test_missing_candles_are_gaps_and_do_not_make_the_others_longer():
    minutes = np.array([0, 1, 4, 6, 11, 13, 18]) * MINUTE
    assert length_of("a", minutes) == MINUTE
    assert length_of("a", np.array([0, 15, 30, 60, 75]) * MINUTE) == 15 * MINUTE
    assert length_of("a", np.array([0]), DAY) == DAY
    with pytest.raises(DataRefused, match="does not begin on a full 15m"):
        length_of("a", np.array([*range(0, 300, 15), 307]) * MINUTE)
    with pytest.raises(DataRefused, match="say it in the name"):
        length_of("a", np.array([0]))
    with pytest.raises(DataRefused, match="no known interval"):
        length_of("a", np.array([0, 7, 14]) * MINUTE)

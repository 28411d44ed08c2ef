"""A table of candles or rates is taken whole or refused in one sentence, whoever reads the file."""

import io
import zipfile

import numpy as np
import pytest

from src.domain.candle_validation import NEEDED, OF_FUNDING, OPTIONAL, funding_of, places, read_text, symbol_of
from src.domain.errors import DataRefused

ROWS = b"1706745600000,1,3,0.5,2,10,1706745659999,15,4,5,7,0\n1706745660000,2,3,1,2,10,1706745719999,15,4,5,7,0\n"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("BTCUSDT-1m-2024-01.zip", "BTCUSDT"),
        ("BTC_USDT_USDT-1m-futures.feather", "BTCUSDT"),
        ("ETHUSDT_um_funding_2024.parquet", "ETHUSDT"),
    ],
)
def test_the_contract_is_what_the_name_begins_with(name, expected):
    assert symbol_of(name) == expected


def test_the_archives_older_files_have_no_header_and_the_newer_ones_other_names():
    header = b"open_time,open,high,low,close,volume,close_time,quote_asset_volume,number_of_trades,taker_buy_base,x,y\n"
    bare, named = (read_text("a.csv", io.BytesIO(text), NEEDED, OPTIONAL) for text in (ROWS, header + ROWS))
    assert list(bare) == list(named) == [*NEEDED, *OPTIONAL]
    assert all(np.array_equal(bare[name], named[name]) for name in bare)
    assert bare["trades"].tolist() == [4, 4] and bare["quote_volume"].tolist() == [15, 15]


def test_blank_lines_and_windows_ends_of_line_are_no_rows():
    text = b"\xef\xbb\xbffunding_time,funding_rate\r\n\r\n1706745600003,0.0001\r\n  \r\n1706774400001,-0.0002\r\n\r\n"
    times, rates = funding_of("f.csv", read_text("f.csv", io.BytesIO(text), OF_FUNDING))
    assert times.tolist() == [1_706_745_600_000, 1_706_774_400_000] and rates.tolist() == [0.0001, -0.0002]


def test_a_zip_must_hold_one_csv():
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("a.csv", ROWS)
        archive.writestr("b.csv", ROWS)
    with pytest.raises(DataRefused, match=r"two\.zip must hold one CSV file, it holds 2\."):
        read_text("two.zip", packed, NEEDED)


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
        funding_of("f.csv", read_text("f.csv", io.BytesIO(text), OF_FUNDING))

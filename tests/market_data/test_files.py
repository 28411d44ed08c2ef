"""Files of many makers are read to the same candles; bad ones are refused in one sentence, and change nothing."""

import io
import json
import zipfile

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import feather, parquet

from src.domain.errors import DataRefused
from src.domain.market import Candle
from src.market_data.__main__ import main
from src.market_data.coarse import minutes_from
from src.market_data.columns import Candles, CandleView
from src.market_data.files import read_candles, read_funding, symbol_of
from src.market_data.quality import examine
from src.market_data.store import MarketStore
from src.paper_exchange.markets import candle_files
from tests.candles import START_MS, random_candles
from tests.shared_data import shared_file

GOOD = [Candle(START_MS + 60_000 * n, 10.0 + n, 12.0 + n, 9.0 + n, 11.0 + n, 3.0) for n in range(5)]


def csv_of(candles, header=True):
    rows = ["open_time,open,high,low,close,volume"] if header else []
    return "\n".join(rows + [",".join(str(value) for value in each[:6]) for each in candles]) + "\n"


def write(path, text):
    path.write_text(text)
    return path


def same(candles):
    return [candles.candle(row)[:6] for row in range(len(candles))] == [each[:6] for each in GOOD]


def test_csv_with_and_without_header(tmp_path):
    assert same(read_candles(write(tmp_path / "BTCUSDT-1m.csv", csv_of(GOOD))))
    assert same(read_candles(write(tmp_path / "BTCUSDT-1m-b.csv", csv_of(GOOD, header=False))))


def test_rest_klines(tmp_path):
    still_open = GOOD[-1]._replace(open_ms=GOOD[-1].open_ms + 60_000)
    rows = [
        [c.open_ms, *(str(v) for v in c[1:6]), c.open_ms + 59_999, "33.0", 4, "1.5", "16", "0"]
        for c in (*GOOD, still_open)
    ]
    candles = read_candles(write(tmp_path / "BTCUSDT.json", json.dumps(rows)))
    assert same(candles)
    assert (candles.trades[0], candles.taker_buy_volume[0], candles.quote_volume[0]) == (4, 1.5, 33.0)


def test_freqtrade_feather(tmp_path):
    times = pa.array([each.open_ms for each in GOOD], pa.timestamp("ms", tz="UTC"))
    columns = {name: [getattr(each, name) for each in GOOD] for name in ("open", "high", "low", "close", "volume")}
    path = tmp_path / "BTC_USDT_USDT-1m-futures.feather"
    feather.write_feather(pa.table({"date": times, **columns}), path)
    assert same(read_candles(path))
    assert symbol_of(path) == "BTCUSDT"


@pytest.mark.parametrize("factor", [1, 1_000, 1_000_000])
def test_instants_are_known_in_milliseconds_microseconds_and_nanoseconds(tmp_path, factor):
    told = [each._replace(open_ms=each.open_ms * factor) for each in GOOD]
    assert same(read_candles(write(tmp_path / "BTCUSDT-1m.csv", csv_of(told))))


@pytest.mark.parametrize(
    "fault", ["unsorted", "duplicated", "impossible", "negative volume", "column twice", "two clocks"]
)
def test_the_paper_exchange_and_the_store_refuse_a_file_in_the_same_words(tmp_path, fault):
    path = tmp_path / "BTCUSDT-1m.csv"
    path.write_bytes(BAD[f"{fault}.csv"])
    said = []
    for read in (read_candles, candle_files.read_candles):
        with pytest.raises(DataRefused) as refusal:
            read(path)
        said.append(str(refusal.value))
    assert said[0] == said[1] and path.name in said[0]


def test_the_real_files_of_funding_and_candles():
    assert len(read_candles(shared_file("BTCUSDT_um_1m_2023JulAug.parquet"))) == 43_198
    funding = read_funding(shared_file("BTCUSDT_um_funding_to2024H1.parquet"))
    assert len(funding.time_ms) == 3_180


def swapped(candles):
    return [candles[0], candles[2], candles[1], *candles[3:]]


def packed(name="a.csv", text=None, cut=None):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, text or csv_of(GOOD))
    return buffer.getvalue()[:cut]


def as_parquet(**columns):
    buffer = io.BytesIO()
    parquet.write_table(pa.table(columns), buffer)
    return buffer.getvalue()


BAD = {
    "wrong columns.csv": b"time,o,h,l,c\n1,2,3,4,5\n",
    "strings in prices.csv": csv_of(GOOD).replace("12.0", "twelve").encode(),
    "unsorted.csv": csv_of(swapped(GOOD)).encode(),
    "duplicated.csv": csv_of([GOOD[0], *GOOD]).encode(),
    "empty.csv": b"",
    "header only.csv": csv_of([]).encode(),
    "truncated.zip": packed(cut=60),
    "not a zip.zip": b"PK nothing",
    "two files.zip": packed("readme.txt", "hello"),
    "missing value.csv": csv_of(GOOD).replace("12.0", "nan").encode(),
    "impossible.csv": csv_of([GOOD[0]._replace(high=1.0), *GOOD[1:]]).encode(),
    "negative volume.csv": csv_of([GOOD[0]._replace(volume=-1.0), *GOOD[1:]]).encode(),
    "no json.json": b"{]",
    "no klines.json": b'{"code": -1121}',
    "empty.json": b"[]",
    "not parquet.parquet": b"PAR1",
    "strings.parquet": as_parquet(open_time=["a"], open=["b"], high=["c"], low=["d"], close=["e"], volume=["f"]),
    "no feather.feather": b"ARROW",
    "binary.csv": bytes(range(128, 256)),
    "unknown.txt": b"1,2,3",
    "one row.csv": csv_of(GOOD[:1]).encode(),
    "two clocks.csv": csv_of([GOOD[0]._replace(open_ms=START_MS // 1_000), *GOOD[1:]]).encode(),
    "column twice.csv": csv_of(GOOD).replace("volume", "close").encode(),
    "two separators.csv": csv_of(GOOD).replace(",", ";", 3).encode(),
    "broker's time.csv": b"2024.01.01,00:00,1,2,1,2,5\n2024.01.01,00:01,1,2,1,2,5\n",
    "day or month.csv": b"date,open,high,low,close,volume\n01/02/2024 00:00,1,2,1,2,5\n01/02/2024 00:01,1,2,1,2,5\n",
    "thousands or fractions.csv": b"date;open;high;low;close;volume\n2024-01-01;1,000;2,000;1,000;2,000;5\n",
    "another zone.csv": b"date,open,high,low,close,volume\n2024-01-01 00:00 EST,1,2,1,2,5\n",
    "nine columns.csv": b"1706745600000,1,2,1,2,5,7,8,9\n",
    "no volume.csv": csv_of([each._replace(volume=0.0) for each in GOOD]).encode(),
    "cut off.csv": csv_of(GOOD)[:-8].encode(),
    "bytes in between.csv": csv_of(GOOD).replace("12.0", "12\0").encode(),
    "beside the minute.csv": csv_of([each._replace(open_ms=each.open_ms + 7) for each in GOOD]).encode(),
    "damaged inside.zip": bytes(b ^ 255 if at == 45 else b for at, b in enumerate(packed())),
    "odd step.csv": csv_of([each._replace(open_ms=START_MS + 7_000 * n) for n, each in enumerate(GOOD)]).encode(),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_one_sentence_and_leaves_the_store_as_it_was(tmp_path, capsys, name):
    store = MarketStore(tmp_path / "store")
    store.merge_candles("BTCUSDT", "1m", Candles.of(GOOD))
    before = store.candle_path("BTCUSDT", "1m").read_bytes()
    path = tmp_path / f"BTCUSDT-{name}"
    path.write_bytes(BAD[name])
    assert main(["--data", str(store.folder), "import", str(path)]) == 65
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert said.endswith(".\n") and not said.endswith("..\n")
    assert f"BTCUSDT-{name}" in said, "which of many files is it?"
    assert store.candle_path("BTCUSDT", "1m").read_bytes() == before


def test_of_several_files_with_a_bad_one_none_is_taken_in(tmp_path, capsys):
    good, bad = write(tmp_path / "BTCUSDT-1m-a.csv", csv_of(GOOD)), write(tmp_path / "BTCUSDT-1m-b.csv", "")
    assert main(["--data", str(tmp_path / "store"), "import", str(good), str(bad)]) == 65
    assert not (tmp_path / "store").exists()
    assert main(["--data", str(tmp_path / "store"), "import", str(good)]) == 0


def test_wrong_columns_are_refused_with_those_that_are_there(tmp_path):
    with pytest.raises(DataRefused, match="no column volume; it has time, o, h, l, c"):
        read_candles(write(tmp_path / "BTCUSDT-1m.csv", "time,o,h,l,c\n1,2,3,4,5\n"))


def test_a_store_that_cannot_be_written_is_one_sentence(tmp_path, capsys):
    (tmp_path / "store").write_text("a file where the folder should be")
    path = write(tmp_path / "BTCUSDT-1m.csv", csv_of(GOOD))
    assert main(["--data", str(tmp_path / "store"), "import", str(path)]) == 73
    assert capsys.readouterr().err.count("\n") == 1


def test_a_missing_file_and_a_name_without_contract(tmp_path, capsys):
    assert main(["--data", str(tmp_path), "import", str(tmp_path / "BTCUSDT-1m.csv")]) == 65
    assert "no such file" in capsys.readouterr().err
    assert main(["--data", str(tmp_path), "import", str(write(tmp_path / "x.csv", csv_of(GOOD)))]) == 65
    assert "say it with --symbol" in capsys.readouterr().err


def test_what_is_merged_is_joined_sorted_and_counted(tmp_path):
    store = MarketStore(tmp_path)
    assert store.merge_candles("BTCUSDT", "1m", Candles.of(GOOD[2:])) == (3, 0, 3)
    corrected = [GOOD[0], GOOD[1], GOOD[2]._replace(close=11.5)]
    assert store.merge_candles("BTCUSDT", "1m", Candles.of(corrected)) == (2, 1, 5)
    stored = store.candles("BTCUSDT")
    assert stored.open_ms.tolist() == [each.open_ms for each in GOOD]
    assert stored.close[2] == 11.5


def test_stored_equals_fetched_and_needs_no_other_column(tmp_path):
    candles = Candles.of(random_candles(300))
    store = MarketStore(tmp_path)
    store.merge_candles("ETHUSDT", "1m", candles)
    stored = store.candles("ETHUSDT")
    for name in Candles.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(stored, name), getattr(candles, name))
    assert parquet.read_schema(store.candle_path("ETHUSDT", "1m")).names[:6] == [
        "open_time", "open", "high", "low", "close", "volume",
    ]  # fmt: skip


def test_nothing_stored_says_what_to_do(tmp_path):
    with pytest.raises(DataRefused, match="market_data download BTCUSDT"):
        MarketStore(tmp_path).candles("BTCUSDT")
    with pytest.raises(DataRefused, match="no name of a contract"):
        MarketStore(tmp_path).candles("../BTC")


def test_gaps_frozen_stretches_and_jumps_are_found():
    still = [Candle(START_MS + 60_000 * n, 10.0, 10.0, 10.0, 10.0, 0.0) for n in range(5, 9)]
    jump = Candle(START_MS + 60_000 * 12, 20.0, 21.0, 19.0, 20.0, 1.0)
    found = examine(Candles.of([*GOOD, *still, jump]))
    assert [(gap.first_ms, gap.candles) for gap in found.gaps] == [(START_MS + 60_000 * 9, 3)]
    assert [(run.first_ms, run.candles) for run in found.frozen] == [(START_MS + 60_000 * 5, 4)]
    assert [run.first_ms for run in found.jumps] == [START_MS + 60_000 * 5, jump.open_ms][-len(found.jumps) :]


def test_check_prints_them(tmp_path, capsys):
    path = write(tmp_path / "BTCUSDT-1m.csv", csv_of([GOOD[0], *GOOD[2:]]))
    assert main(["check", str(path)]) == 0
    assert "1 missing" in capsys.readouterr().out
    assert main(["--data", str(tmp_path / "none"), "check"]) == 65


@pytest.mark.parametrize("minutes", [5, 15, 60])
def test_minutes_made_of_coarse_candles_go_through_all_four_prices(minutes):
    coarse = Candles.of(
        each._replace(open_ms=START_MS // 3_600_000 * 3_600_000 + n * minutes * 60_000)
        for n, each in enumerate(random_candles(50))
    )
    fine = minutes_from(coarse, minutes * 60_000)
    assert len(fine) == 50 * minutes
    shape = (50, minutes)
    np.testing.assert_array_equal(fine.open.reshape(shape)[:, 0], coarse.open)
    np.testing.assert_array_equal(fine.high.reshape(shape).max(axis=1), coarse.high)
    np.testing.assert_array_equal(fine.low.reshape(shape).min(axis=1), coarse.low)
    np.testing.assert_array_equal(fine.close.reshape(shape)[:, -1], coarse.close)
    np.testing.assert_allclose(fine.volume.reshape(shape).sum(axis=1), coarse.volume)
    assert (np.diff(fine.open_ms) == 60_000).all()


def test_a_view_is_a_sequence_of_the_rows():
    candles = Candles.of(GOOD)
    view = CandleView(candles, 1, 4)
    assert list(view) == [candles.candle(row) for row in (1, 2, 3)]
    assert view[-1] == candles.candle(3)
    assert list(view[-2:]) == [candles.candle(2), candles.candle(3)]
    assert len(view[5:]) == 0
    with pytest.raises(IndexError):
        view[3]
    with pytest.raises(ValueError, match="order"):
        view[::2]

"""Every format of the documentation gives the same candles, however its columns and instants are written."""

import io
import re
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.domain.candle_names import SeriesKind
from src.domain.candle_reader import Told, read_candle_file
from src.domain.errors import DataRefused
from src.market_data.__main__ import main
from src.market_data.store import MarketStore
from src.paper_exchange.markets import candle_files
from tests.candles import START_MS, random_candles
from tests.market_data.formats import FORMATS, PRICES
from tests.project_copy import ROOT
from tests.shared_data import shared_folder

CANDLES = [
    candle._replace(quote_volume=round(candle.volume * candle.close, 3), trades=5, taker_buy_volume=1.0)
    for candle in random_candles(40, seed=3)
]
PROSE = (ROOT / "docs" / "data-formats.md").read_text(encoding="utf-8")


def stored_series(store):
    (path,) = store.series()
    found = re.fullmatch(r"BTCUSDT(?:-(spot|mark))?-1m\.parquet", path.name)
    return store.candles("BTCUSDT", "1m", SeriesKind(found[1]) if found[1] else SeriesKind.PERPETUAL)


@pytest.mark.parametrize("each", FORMATS, ids=lambda each: each.title)
def test_each_format_of_the_table_gives_the_same_candles_and_says_what_was_understood(tmp_path, capsys, each):
    path = tmp_path / each.file_name
    path.write_bytes(each.make(CANDLES))
    store = MarketStore(tmp_path / "store")
    assert main(["--data", str(store.folder), "import", str(path), *each.options]) == 0, capsys.readouterr().err
    said = capsys.readouterr().out
    assert f"{each.file_name}: {each.maker}, 1m, " in said and "40 candles, contract BTCUSDT" in said
    found = stored_series(store)
    assert found.open_ms.tolist() == [c.open_ms for c in CANDLES]
    for name in (*PRICES, "volume"):
        np.testing.assert_allclose(getattr(found, name), [getattr(c, name) for c in CANDLES], rtol=1e-12)


@pytest.mark.parametrize("each", [each for each in FORMATS if not each.options], ids=lambda each: each.title)
def test_the_paper_exchange_reads_the_same(tmp_path, each):
    path = tmp_path / each.file_name
    path.write_bytes(each.make(CANDLES))
    found = candle_files.read_candles(path)
    assert found.open_ms.tolist() == [c.open_ms for c in CANDLES]
    np.testing.assert_allclose(found.close, [c.close for c in CANDLES], rtol=1e-12)


@pytest.mark.parametrize("each", FORMATS, ids=lambda each: each.title)
def test_the_table_in_the_documentation_names_each_format(each):
    assert f"| {each.title} |" in PROSE and f"`{each.file_name}`" in PROSE


def test_the_table_names_no_format_that_is_not_made_here():
    table = PROSE.split("## Formats", 1)[1].split("\n## ", 1)[0]
    titles = re.findall(r"^\| ([A-Z][^|]*|[a-z][^|]*) \| `", table, re.MULTILINE)
    assert sorted(titles) == sorted(each.title for each in FORMATS)


ZONES = (UTC, timezone(timedelta(hours=2)), timezone(timedelta(hours=-5, minutes=-30)))
WRITINGS = {
    "seconds": lambda ms, _zone: str(ms // 1_000),
    "seconds with a point": lambda ms, _zone: f"{ms / 1_000:.1f}",
    "milliseconds": lambda ms, _zone: str(ms),
    "microseconds": lambda ms, _zone: str(ms * 1_000),
    "nanoseconds": lambda ms, _zone: str(ms * 1_000_000),
    "ISO": lambda ms, zone: datetime.fromtimestamp(ms / 1_000, zone).isoformat(),
    "ISO with a blank": lambda ms, zone: datetime.fromtimestamp(ms / 1_000, zone).isoformat(" "),
    "ISO with Z": lambda ms, _zone: f"{datetime.fromtimestamp(ms / 1_000, UTC):%Y-%m-%dT%H:%M:%S.000Z}",
    "no zone": lambda ms, _zone: f"{datetime.fromtimestamp(ms / 1_000, UTC):%Y-%m-%d %H:%M}",
    "points": lambda ms, _zone: f"{datetime.fromtimestamp(ms / 1_000, UTC):%d.%m.%Y %H:%M:%S}",
    "slashes": lambda ms, _zone: f"{datetime.fromtimestamp(ms / 1_000, UTC):%Y/%m/%d %H:%M}",
    "American": lambda ms, _zone: f"{datetime.fromtimestamp(ms / 1_000, UTC):%m/%d/%Y %I:%M %p}",
}
NAMES = {
    "open_time": ("open_time", "Open time", "TIMESTAMP", " Date ", "unix", "openTime"),
    "open": ("open", "Open", "OPEN ", "<OPEN>", "open_price"),
    "high": ("high", "High", "o_high"[2:]),
    "low": ("low", "LOW"),
    "close": ("close", "Close", " close"),
    "volume": ("volume", "Volume", "Volume BTC", "Volume_(BTC)", "vol"),
}
OURS = tuple(NAMES)


@st.composite
def tables(draw):
    """Candles with the text of a table that holds them, its columns, names, separator and instants chosen freely."""
    minutes = draw(st.lists(st.integers(0, 2_000), min_size=12, max_size=30, unique=True).map(sorted))
    minutes = sorted({*minutes, *range(20)})
    price = st.floats(0.01, 99_999, allow_nan=False).map(lambda value: round(value, 4))
    rows = []
    for minute in minutes:
        corners = sorted(draw(st.lists(price, min_size=4, max_size=4)))
        rows.append((START_MS + minute * 60_000, corners[1], corners[3], corners[0], corners[2], draw(price)))
    rows[0] = (*rows[0][:5], 5.5)  # 1,125 alone would be a thousand or a fraction, and be refused
    order = draw(st.permutations(range(6)))
    extra = draw(st.integers(0, 6))
    separator = draw(st.sampled_from([",", ";", "\t", "|"]))
    comma = separator != "," and draw(st.booleans())
    write, zone = WRITINGS[draw(st.sampled_from(sorted(WRITINGS)))], draw(st.sampled_from(ZONES))
    quote = draw(st.sampled_from(["", '"']))

    def cell(place, row):
        if place == 0:
            return write(row[0], zone)
        return repr(row[place]).replace(".", ",") if comma else repr(row[place])

    head = [draw(st.sampled_from(NAMES[OURS[place]])) for place in order]
    lines = [[f"{quote}{cell(place, row)}{quote}" for place in order] for row in rows]
    for number, line in enumerate([head, *lines]):
        line.insert(extra, "note" if number == 0 else "x")
    if draw(st.booleans()):
        lines.reverse()
    end = draw(st.sampled_from(["\n", "\r\n"]))
    text = end.join(separator.join(line) for line in [head, *lines]) + end
    return rows, draw(st.sampled_from([b"", b"\xef\xbb\xbf"])) + text.encode()


@given(tables())
def test_any_order_of_columns_any_separator_and_any_writing_of_instants_give_the_same_candles(made):
    rows, text = made
    told = Told(symbol="BTCUSDT", interval_ms=60_000)
    found = read_candle_file("candles.csv", io.BytesIO(text), told, now_ms=1 << 60)
    assert found.open_ms.tolist() == [row[0] for row in rows]
    for place, name in enumerate(OURS[1:], 1):
        assert found.columns[name].tolist() == [row[place] for row in rows]


def imported(store, name, *options):
    return main(
        ["--data", str(store.folder), "import", str(shared_folder().parent / "cases" / "data" / name), *options]
    )


CASES = {  # file: options, exit code, what is said, the series it lands in
    "BTCUSDT_240628-1m-2024-06.zip": ((), 65, "dated contract BTCUSDT_240628", ""),
    "BTCUSD_PERP-1m-2024-06.zip": ((), 65, "coin-margined contract BTCUSD_PERP", ""),
    "mark/BTCUSDT-1m-2024-06.zip": ((), 0, "mark prices", "BTCUSDT-mark-1m"),
    "BTCUSDT-1d-2024-06-01.zip": ((), 0, "Binance archive, 1d, UTC, 1 candles", "BTCUSDT-1d"),
    "BTCUSDT-klines-open-candle.json": ((), 0, "119 candles, contract BTCUSDT; last candle left out", "BTCUSDT-1m"),
    "BTCUSDT-bom-headerless.csv": ((), 0, "Binance archive, 1m, UTC, 120 candles", "BTCUSDT-1m"),
    "BTCUSDT-kraken-sparse-ms.csv": (
        (),
        0,
        "1m, UTC, 268 candles, contract BTCUSDT, spot prices; 632 candles missing",
        "BTCUSDT-spot-1m",
    ),
    "BTCUSDT-iso-tz.csv": ((), 0, "CSV, 1m, UTC, 120 candles", "BTCUSDT-1m"),
    "BTCUSDT-1m-macos.zip": ((), 0, "Binance archive, 1m, UTC, 120 candles", "BTCUSDT-1m"),
    "BINANCE_BTCUSDT.P, 1.csv": ((), 0, "TradingView export, 1m, UTC, 120 candles, contract BTCUSDT\n", "BTCUSDT-1m"),
    "Binance_BTCUSDT_minute.csv": (
        (),
        0,
        "CryptoDataDownload, 1m, UTC, 120 candles, contract BTCUSDT, spot prices; newest first",
        "BTCUSDT-spot-1m",
    ),
    "bitstampUSD_1-min_data.csv": (
        ("--symbol", "BTCUSDT"),
        0,
        "18 rows without prices count as gaps",
        "BTCUSDT-spot-1m",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_files_that_people_really_have(tmp_path, capsys, name):
    if not (shared_folder().parent / "cases" / "data" / name).is_file():
        pytest.skip(f"needs {name} in ../shared/cases/data beside the checkout")
    options, code, words, series = CASES[name]
    store = MarketStore(tmp_path)
    assert imported(store, name, *options) == code
    said = capsys.readouterr()
    assert words in said.out + said.err
    assert [path.stem for path in store.series()] == ([series] if series else [])


def test_a_file_of_unknown_contract_says_what_to_add(tmp_path, capsys):
    path = tmp_path / "bitstampUSD_1-min_data.csv"
    path.write_bytes(next(each for each in FORMATS if each.title == "Kaggle").make(CANDLES))
    assert main(["--data", str(tmp_path / "store"), "import", str(path)]) == 65
    assert "say it with --symbol BTCUSDT" in capsys.readouterr().err


def test_candles_of_another_market_never_land_among_the_perpetual_s(tmp_path, capsys):
    store = MarketStore(tmp_path / "store")
    path = tmp_path / "BTCUSDT-1m.csv"

    def bring(factor, *options):
        moved = [c._replace(**{name: getattr(c, name) * factor for name in PRICES}) for c in CANDLES]
        path.write_bytes(FORMATS[0].make(moved))
        return main(["--data", str(store.folder), "import", str(path), *options])

    assert bring(1.0) == 0
    before = store.candle_path("BTCUSDT", "1m").read_bytes()
    assert bring(1.0004) == 65
    assert "40 of 40 candles of the same instants close at another price" in capsys.readouterr().err
    assert store.candle_path("BTCUSDT", "1m").read_bytes() == before
    assert bring(1.0004, "--kind", "spot") == 0
    assert store.candle_path("BTCUSDT", "1m").read_bytes() == before
    assert store.candles("BTCUSDT", "1m", SeriesKind.SPOT).close[0] == pytest.approx(CANDLES[0].close * 1.0004)
    assert bring(1.0004, "--replace") == 0
    assert store.candles("BTCUSDT").close[0] == pytest.approx(CANDLES[0].close * 1.0004)


def test_prices_that_jump_from_the_nearest_stored_ones_are_doubted(tmp_path, capsys):
    store = MarketStore(tmp_path / "store")
    for place, factor in ((slice(0, 20), 1.0), (slice(20, 40), 0.01)):
        path = tmp_path / f"BTCUSDT-1m-{factor}.csv"
        part = [c._replace(**{name: getattr(c, name) * factor for name in PRICES}) for c in CANDLES[place]]
        path.write_bytes(FORMATS[0].make(part))
        code = main(["--data", str(store.folder), "import", str(path)])
    assert code == 65 and "times those stored just before" in capsys.readouterr().err


def test_mark_prices_are_known_by_their_lack_of_volume_wherever_they_lie(tmp_path, capsys):
    path = tmp_path / "BTCUSDT-1m-2024-01.csv"
    path.write_bytes(FORMATS[0].make([c._replace(volume=0.0, quote_volume=0.0, taker_buy_volume=0.0) for c in CANDLES]))
    assert main(["--data", str(tmp_path / "store"), "import", str(path)]) == 65
    assert "say --kind mark" in capsys.readouterr().err
    assert main(["--data", str(tmp_path / "store"), "import", str(path), "--kind", "mark"]) == 0
    assert (tmp_path / "store" / "BTCUSDT-mark-1m.parquet").is_file()


def test_a_candle_that_has_not_ended_is_left_out_and_said():
    text = FORMATS[0].make(CANDLES)
    now_ms = CANDLES[-1].open_ms + 30_000
    found = read_candle_file("BTCUSDT-1m.csv", io.BytesIO(text), Told(), now_ms)
    assert len(found.open_ms) == 39 and "last candle left out: it has not ended yet" in found.understood
    with pytest.raises(DataRefused, match="lie in the future"):
        read_candle_file("BTCUSDT-1m.csv", io.BytesIO(text), Told(), now_ms - 600_000)


def test_pages_of_an_answer_lose_no_candle_where_one_follows_the_other(tmp_path, capsys):
    make = next(each for each in FORMATS if each.title == "REST klines").make
    first, second = tmp_path / "BTCUSDT-1m-a.json", tmp_path / "BTCUSDT-1m-b.json"
    first.write_bytes(make(CANDLES[:19]))
    second.write_bytes(make(CANDLES[20:]))
    assert main(["--data", str(tmp_path / "store"), "import", str(first), str(second)]) == 0
    assert len(MarketStore(tmp_path / "store").candles("BTCUSDT")) == 40


def test_a_contract_in_the_rows_must_be_that_of_the_name(tmp_path, capsys):
    path = tmp_path / "Binance_ETHUSDT_minute.csv"
    path.write_bytes(next(each for each in FORMATS if each.title == "CryptoDataDownload").make(CANDLES))
    assert main(["--data", str(tmp_path / "store"), "import", str(path)]) == 65
    assert "says ETHUSDT in its name and BTCUSDT in its rows" in capsys.readouterr().err

"""Makes files in every format of the table in ``docs/data-formats.md`` from the same candles, for the tests."""

import gzip
import io
import json
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone

import pyarrow as pa
from pyarrow import feather, parquet

from src.domain.market import Candle

ARCHIVE_HEADER = (
    "open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,taker_buy_quote_volume,ignore"
)
PRICES = ("open", "high", "low", "close")


@dataclass(frozen=True)
class Format:
    """One row of the table: its name there, the file's name, what makes it, and what is told with the command."""

    title: str
    file_name: str
    make: Callable[[Sequence[Candle]], bytes]
    maker: str
    options: tuple[str, ...] = ()


def moment(candle: Candle, zone: timezone = UTC) -> datetime:
    """Return the first instant of a candle."""
    return datetime.fromtimestamp(candle.open_ms / 1_000, zone)


def rows(
    candles: Sequence[Candle], instant: Callable[[Candle], object], *more: Callable[[Candle], object]
) -> list[list[str]]:
    """Return a row of texts for each candle: instant, prices, volume, and what else is wanted."""
    return [[str(instant(c)), *(repr(v) for v in c[1:6]), *(str(each(c)) for each in more)] for c in candles]


def text(head: str, lines: Sequence[Sequence[str]], separator: str = ",", newest_first: bool = False) -> bytes:
    """Return a table as text."""
    ordered = lines[::-1] if newest_first else lines
    return (head + "".join(separator.join(line) + "\n" for line in ordered)).encode()


def archive_rows(candles: Sequence[Candle], factor: int = 1) -> list[list[str]]:
    """Return rows as Binance's archive has them."""
    return rows(
        candles, lambda c: c.open_ms * factor, lambda c: (c.open_ms + 60_000) * factor - 1, lambda c: c.quote_volume,
        lambda c: c.trades, lambda c: c.taker_buy_volume, lambda c: 1, lambda c: 0,
    )  # fmt: skip


def zipped(name: str, content: bytes, *more: tuple[str, bytes]) -> bytes:
    """Return a zip of files."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for inner, body in ((name, content), *more):
            archive.writestr(inner, body)
    return packed.getvalue()


def archive(candles: Sequence[Candle]) -> bytes:
    """Return the archive's text of today."""
    return text(ARCHIVE_HEADER + "\n", archive_rows(candles))


def several_months(candles: Sequence[Candle]) -> bytes:
    """Return a zip in which the later part comes first, and a Mac has left its traces."""
    half = len(candles) // 2
    later, earlier = archive(candles[half:]), archive(candles[:half])
    return zipped("2024-02.csv", later, ("2024-01.csv", earlier), ("__MACOSX/._2024-01.csv", b"\0\5"))


def rest_klines(candles: Sequence[Candle]) -> bytes:
    """Return an answer of /klines; one candle more is still open."""
    last = candles[-1]._replace(open_ms=candles[-1].open_ms + 60_000)
    return json.dumps(
        [
            [
                c.open_ms,
                *(repr(v) for v in c[1:6]),
                c.open_ms + 59_999,
                repr(c.quote_volume),
                c.trades,
                "1.5",
                "16",
                "0",
            ]
            for c in (*candles, last)
        ]
    ).encode()


def freqtrade_json(candles: Sequence[Candle]) -> bytes:
    """Return freqtrade's JSON."""
    return json.dumps([[c.open_ms, *c[1:6]] for c in candles]).encode()


def records(candles: Sequence[Candle]) -> bytes:
    """Return JSON objects by name, as many scripts write them."""
    return json.dumps(
        [{"timestamp": c.open_ms, **{n: getattr(c, n) for n in (*PRICES, "volume")}} for c in candles]
    ).encode()


def table_of(candles: Sequence[Candle], instants: str, kind: pa.DataType) -> pa.Table:
    """Return an Arrow table with instants of a kind."""
    unit = {"s": 0.001, "ms": 1, "us": 1_000, "ns": 1_000_000}[kind.unit]
    times = pa.array([int(c.open_ms * unit) for c in candles], pa.int64()).cast(kind)
    return pa.table({instants: times, **{n: [getattr(c, n) for c in candles] for n in (*PRICES, "volume")}})


def arrow(instants: str, kind: pa.DataType, as_feather: bool = False) -> Callable[[Sequence[Candle]], bytes]:
    """Return what makes a feather or parquet file."""

    def make(candles: Sequence[Candle]) -> bytes:
        buffer = io.BytesIO()
        (feather.write_feather if as_feather else parquet.write_table)(table_of(candles, instants, kind), buffer)
        return buffer.getvalue()

    return make


def yahoo(candles: Sequence[Candle]) -> bytes:
    """Return Yahoo's table; of crypto its volume is in dollars."""
    lines = [
        [
            f"{moment(c):%Y-%m-%d %H:%M:%S+00:00}",
            *(repr(v) for v in c[1:5]),
            repr(c.close),
            repr(c.volume * sum(c[1:5]) / 4),
        ]
        for c in candles
    ]
    return text("Datetime,Open,High,Low,Close,Adj Close,Volume\n", lines)


def kaggle(candles: Sequence[Candle]) -> bytes:
    """Return Kaggle's table of Bitstamp; a minute without trades is a row of NaN."""
    empty = [str(candles[-1].open_ms // 1_000 + 60), *["NaN"] * 7]
    lines = [*rows(candles, lambda c: c.open_ms // 1_000, lambda c: c.quote_volume, lambda c: c.close), empty]
    return text("Timestamp,Open,High,Low,Close,Volume_(BTC),Volume_(Currency),Weighted_Price\n", lines)


def crypto_data_download(candles: Sequence[Candle]) -> bytes:
    """Return CryptoDataDownload's table: an address first, and the newest candle."""
    lines = [
        [
            str(c.open_ms),
            f"{moment(c):%Y-%m-%d %H:%M:%S}",
            "BTCUSDT",
            *(repr(v) for v in c[1:6]),
            repr(c.quote_volume),
            str(c.trades),
        ]
        for c in candles
    ]
    head = (
        "https://www.CryptoDataDownload.com\nUnix,Date,Symbol,Open,High,Low,Close,Volume BTC,Volume USDT,tradecount\n"
    )
    return text(head, lines, newest_first=True)


def meta_trader_5(candles: Sequence[Candle]) -> bytes:
    """Return MetaTrader 5's export: tabs, the broker's time (here two hours ahead of UTC)."""
    zone = timezone(timedelta(hours=2))
    lines = [
        [
            f"{moment(c, zone):%Y.%m.%d}",
            f"{moment(c, zone):%H:%M:%S}",
            *(repr(v) for v in c[1:5]),
            "7",
            repr(c.volume),
            "1",
        ]
        for c in candles
    ]
    head = "<DATE>\t<TIME>\t<OPEN>\t<HIGH>\t<LOW>\t<CLOSE>\t<TICKVOL>\t<VOL>\t<SPREAD>\n"
    return text(head, lines, "\t")


def meta_trader_4(candles: Sequence[Candle]) -> bytes:
    """Return MetaTrader 4's export: no header, the broker's time (here two hours ahead of UTC)."""
    zone = timezone(timedelta(hours=2))
    return text("", rows(candles, lambda c: f"{moment(c, zone):%Y.%m.%d,%H:%M}"))


def hist_data(candles: Sequence[Candle]) -> bytes:
    """Return HistData's table: no header, Eastern Standard Time all the year."""
    zone = timezone(timedelta(hours=-5))
    return text("", rows(candles, lambda c: f"{moment(c, zone):%Y%m%d %H%M%S}"), ";")


def excel(candles: Sequence[Candle]) -> bytes:
    """Return what a German Excel writes: semicolons, decimal commas, quotes, a mark at the beginning, a hint."""
    lines = [[f'"{cell}"' for cell in row] for row in rows(candles, lambda c: c.open_ms)]
    body = text("", lines, ";").replace(b".", b",")
    return b"\xef\xbb\xbfsep=;\r\n" + b"Open Time;OPEN;High ;low;Close;Volume\r\n" + body.replace(b"\n", b"\r\n")


FORMATS = (
    Format("Binance archive", "BTCUSDT-1m-2024-01.csv", archive, "Binance archive"),
    Format(
        "Binance archive without header",
        "BTCUSDT-1m-2020-01.csv",
        lambda c: text("", archive_rows(c)),
        "Binance archive",
    ),
    Format(
        "Binance archive in microseconds",
        "BTCUSDT-1m-2025-01.csv",
        lambda c: text("", archive_rows(c, 1_000)),
        "Binance archive",
    ),
    Format(
        "Binance archive with a BOM",
        "BTCUSDT-1m-2019-01.csv",
        lambda c: b"\xef\xbb\xbf" + text("", archive_rows(c)),
        "Binance archive",
    ),
    Format("zip", "BTCUSDT-1m-2024-01.zip", lambda c: zipped("BTCUSDT-1m-2024-01.csv", archive(c)), "Binance archive"),
    Format("zip of several months", "BTCUSDT-1m.zip", several_months, "Binance archive"),
    Format("gz", "BTCUSDT-1m-2024-01.csv.gz", lambda c: gzip.compress(archive(c)), "Binance archive"),
    Format("REST klines", "BTCUSDT-1m.json", rest_klines, "REST klines"),
    Format("JSON records", "BTCUSDT-1m-records.json", records, "JSON records"),
    Format("freqtrade JSON", "BTC_USDT_USDT-1m-futures.json", freqtrade_json, "freqtrade JSON"),
    Format(
        "freqtrade JSON, gz",
        "BTC_USDT_USDT-1m-futures.json.gz",
        lambda c: gzip.compress(freqtrade_json(c)),
        "freqtrade JSON",
    ),
    Format(
        "freqtrade feather",
        "BTC_USDT_USDT-1m-futures.feather",
        arrow("date", pa.timestamp("ms", tz="UTC"), True),
        "feather file",
    ),
    Format(
        "pandas parquet",
        "BTCUSDT-1m-pandas.parquet",
        arrow("__index_level_0__", pa.timestamp("ns", tz="UTC")),
        "parquet file",
    ),
    Format("polars parquet", "BTCUSDT-1m-polars.parquet", arrow("open_time", pa.timestamp("us")), "parquet file"),
    Format(
        "pandas CSV",
        "BTCUSDT-1m-pandas.csv",
        lambda c: text(",open,high,low,close,volume\n", rows(c, lambda x: f"{moment(x):%Y-%m-%d %H:%M:%S+00:00}")),
        "CSV",
    ),
    Format("Excel", "BTCUSDT-1m-excel.csv", excel, "CSV"),
    Format(
        "TradingView",
        "BINANCE_BTCUSDT.P, 1.csv",
        lambda c: text("time,open,high,low,close,Volume\n", rows(c, lambda x: x.open_ms // 1_000)),
        "TradingView export",
    ),
    Format("CryptoDataDownload", "Binance_BTCUSDT_minute.csv", crypto_data_download, "CryptoDataDownload"),
    Format("Kaggle", "bitstampUSD_1-min_data.csv", kaggle, "Kaggle", ("--symbol", "BTCUSDT")),
    Format("Yahoo", "BTC-USD.csv", yahoo, "Yahoo", ("--symbol", "BTCUSDT", "--interval", "1m")),
    Format("MetaTrader 4", "BTCUSDT_M1.csv", meta_trader_4, "MetaTrader 4", ("--utc-offset", "+02:00")),
    Format("MetaTrader 5", "BTCUSDT_M1_202401.csv", meta_trader_5, "MetaTrader 5", ("--utc-offset", "+02:00")),
    Format("HistData", "DAT_ASCII_BTCUSDT_M1_2024.csv", hist_data, "HistData"),
    Format(
        "Kraken",
        "XBTUSDT_1.csv",
        lambda c: text("", rows(c, lambda x: x.open_ms // 1_000, lambda x: x.trades)),
        "Kraken",
    ),
)

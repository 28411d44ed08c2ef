"""What the name of a file and its folders say: contract, kind of series, length of a candle, maker.

Binance's archive gives candles of the last price, of the mark price, of spot and of dated contracts the same file
names, and only folders tell them apart. What belongs to another instrument must never land among the perpetual's.
"""

import re
from collections.abc import Sequence
from enum import StrEnum
from typing import Final, NamedTuple

from src.domain.errors import DataRefused
from src.domain.market import INTERVAL_MS


class SeriesKind(StrEnum):
    """The kinds of series that are kept apart."""

    PERPETUAL = "perpetual"
    SPOT = "spot"
    MARK = "mark"
    FUNDING = "funding"


class NameFacts(NamedTuple):
    """What a name says; empty, None or 0 where it does not say it."""

    symbol: str = ""
    series: SeriesKind | None = None
    interval_ms: int = 0
    maker: str = ""


_QUOTES: Final = ("USDT", "USDC", "BUSD", "FDUSD")
_QUOTE: Final = "|".join(_QUOTES)
_CONTRACT: Final = re.compile(rf"(?P<base>[A-Z0-9]{{1,15}})(?P<quote>{_QUOTE})(?P<perp>\.P|PERP)?")
_BASE: Final = re.compile(r"[A-Z0-9]{1,12}")
_DATED: Final = re.compile(rf"([A-Z0-9]{{1,15}}(?:{_QUOTE}|USD)_\d{{6}})(?!\d)")
_COIN_MARGINED: Final = re.compile(r"([A-Z0-9]{1,12}USD_PERP)")
_TRADING_VIEW: Final = re.compile(r"(?P<exchange>[A-Z0-9]+)_(?P<symbol>[A-Z0-9.]+), (?P<interval>\d+[SDW]?|[DW])\b")
_FREQTRADE: Final = re.compile(rf"(?P<base>[A-Z0-9]+)_(?P<quote>{_QUOTE})(?P<swap>_(?P=quote))?-(?P<rest>\w+(?:-\w+)?)")
_KRAKEN: Final = re.compile(r"(?P<symbol>[A-Z0-9]{5,12})_(?P<minutes>1|5|15|30|60|240|720|1440)")
_SPOT_EXCHANGES: Final = {"bitstamp": "Bitstamp", "kraken": "Kraken", "coinbase": "Coinbase", "bitfinex": "Bitfinex"}
_WORDS_OF_SERIES: Final = {
    "spot": SeriesKind.SPOT,
    **dict.fromkeys(("um", "futures", "perp", "perpetual", "swap"), SeriesKind.PERPETUAL),
    **dict.fromkeys(("mark", "markprice", "markpriceklines"), SeriesKind.MARK),
    **dict.fromkeys(("funding", "fundingrate"), SeriesKind.FUNDING),
}
_OTHER_PRICES: Final = {
    **dict.fromkeys(("indexprice", "indexpriceklines"), "index prices"),
    **dict.fromkeys(("premiumindex", "premiumindexklines"), "the premium"),
}
_FOLDERS: Final = {"markPriceKlines": SeriesKind.MARK, "fundingRate": SeriesKind.FUNDING, "spot": SeriesKind.SPOT}
_NEAREST_FOLDER: Final = {"mark": SeriesKind.MARK, "funding": SeriesKind.FUNDING}
_REFUSED_FOLDERS: Final = {
    "indexPriceKlines": "index prices",
    "premiumIndexKlines": "the premium",
    "cm": "coin-margined contracts",
}
_LENGTHS: Final = {
    **dict.fromkeys(("minute", "1min", "m1"), "1m"),
    **dict.fromkeys(("hour", "hourly", "1hour", "h1"), "1h"),
    **dict.fromkeys(("day", "daily", "d", "1day", "d1", "1440"), "1d"),
    "m5": "5m", "m15": "15m", "m30": "30m", "h4": "4h", "5min": "5m", "15min": "15m", "30min": "30m",
}  # fmt: skip
_OLD_NAMES: Final = {"XBT": "BTC", "XDG": "DOGE"}


def facts_of(name: str, folders: Sequence[str] = ()) -> NameFacts:
    """Return what a file's name and its folders (the nearest last) say.

    Raises:
        DataRefused: they name an instrument that is not traded here: dated, coin-margined, index, premium.
    """
    _refuse_other_instruments(name, folders)
    found = _by_maker(name) or _by_words(name)
    by_folder = _series_of_folders(folders)
    if by_folder is not None and (found.series is None or by_folder is not SeriesKind.SPOT):
        found = found._replace(series=by_folder)
    return found


def symbol_in(text: str) -> str:
    """Return the contract that a text writes, as ``BTC/USDT``, ``BINANCE:BTCUSDT.P`` or ``btcusdt``; else nothing."""
    plain = re.sub(rf":({_QUOTE})$", "", text.strip('"').upper())  # ccxt names the settlement last
    letters = re.sub(r"[/_\-\s]", "", plain.rpartition(":")[2])
    found = _CONTRACT.fullmatch(letters)
    return _contract(found["base"], found["quote"]) if found else ""


def interval_ms_of(text: str) -> int:
    """Return the milliseconds of a candle's length as people write it (1m, minute, H1, 1440, 1D); 0 for no such."""
    word = text if text == "1M" else text.lower()
    return INTERVAL_MS.get(_LENGTHS.get(word, word), 0)


def _refuse_other_instruments(name: str, folders: Sequence[str]) -> None:
    dated, coin = _DATED.search(name), _COIN_MARGINED.search(name)
    if dated:
        raise DataRefused(f"{name} holds the dated contract {dated[1]}; only perpetual contracts are traded here.")
    if coin:
        raise DataRefused(
            f"{name} holds the coin-margined contract {coin[1]}; only USDT-margined ones are traded here."
        )
    other = next((_REFUSED_FOLDERS[each] for each in reversed(folders) if each in _REFUSED_FOLDERS), "")
    other = other or next((_OTHER_PRICES[each] for each in _words(name) if each in _OTHER_PRICES), "")
    if other:
        raise DataRefused(f"{name} holds {other} (so its folder or name says), and nobody trades at those.")


def _series_of_folders(folders: Sequence[str]) -> SeriesKind | None:
    if folders and folders[-1] in _NEAREST_FOLDER:
        return _NEAREST_FOLDER[folders[-1]]
    return next((_FOLDERS[each] for each in reversed(folders) if each in _FOLDERS), None)


def _by_maker(name: str) -> NameFacts | None:
    """Return what a name says that is written as one of three makers writes it."""
    view, freqtrade, kraken = _TRADING_VIEW.match(name), _FREQTRADE.match(name), _KRAKEN.fullmatch(_stem(name))
    if view:
        contract = _CONTRACT.fullmatch(view["symbol"])
        digits = view["interval"]
        length = int(digits) * 60_000 if digits.isdigit() else interval_ms_of(digits if digits[0].isdigit() else "1d")
        series = SeriesKind.PERPETUAL if contract and contract["perp"] else SeriesKind.SPOT
        symbol = _contract(contract["base"], contract["quote"]) if contract else ""
        return NameFacts(symbol, series, length if length in INTERVAL_MS.values() else 0, "TradingView export")
    if freqtrade:
        length_text, _, kind = freqtrade["rest"].partition("-")
        series = SeriesKind.PERPETUAL if freqtrade["swap"] else SeriesKind.SPOT
        series = _WORDS_OF_SERIES.get(kind.partition("_")[0], series)
        return NameFacts(
            _contract(freqtrade["base"], freqtrade["quote"]), series, interval_ms_of(length_text), "freqtrade"
        )
    if kraken and symbol_in(kraken["symbol"]):
        return NameFacts(symbol_in(kraken["symbol"]), SeriesKind.SPOT, int(kraken["minutes"]) * 60_000, "Kraken")
    return None


def _by_words(name: str) -> NameFacts:
    """Return what the words of a name say, wherever they stand."""
    words = _words(name)
    exchange = next((known for known in _SPOT_EXCHANGES if any(word.startswith(known) for word in words)), "")
    series = next((_WORDS_OF_SERIES[each] for each in words if each in _WORDS_OF_SERIES), None)
    marked = next((each for each in words if _WORDS_OF_SERIES.get(each) in (SeriesKind.MARK, SeriesKind.FUNDING)), "")
    if marked:
        series = _WORDS_OF_SERIES[marked]
    elif series is None and exchange:
        series = SeriesKind.SPOT
    return NameFacts(_symbol_in_words(words), series, _length_in_words(words), _SPOT_EXCHANGES.get(exchange, ""))


def _symbol_in_words(words: Sequence[str]) -> str:
    for place, word in enumerate(words):
        found = _CONTRACT.fullmatch(word.upper())
        if found:
            return _contract(found["base"], found["quote"])
        follower = words[place + 1].upper() if place + 1 < len(words) else ""
        if follower in _QUOTES and _BASE.fullmatch(word.upper()) and word not in _SPOT_EXCHANGES:
            return _contract(word.upper(), follower)
    return ""


def _length_in_words(words: Sequence[str]) -> int:
    for place, word in enumerate(words):
        follower = words[place + 1] if place + 1 < len(words) else ""
        together = interval_ms_of(word + follower) if word.isdigit() and follower in ("min", "hour", "day") else 0
        alone = 0 if word.isdigit() else interval_ms_of(word)
        if together or alone:
            return together or alone
    return 0


def _contract(base: str, quote: str) -> str:
    return _OLD_NAMES.get(base, base) + quote


def _stem(name: str) -> str:
    return re.sub(r"(\.(csv|txt|zip|gz|json|feather|parquet))+$", "", name, flags=re.IGNORECASE)


def _words(name: str) -> list[str]:
    """Return the words of a name in lower case, but 1M as it stands: it is a month."""
    return [word if word == "1M" else word.lower() for word in re.split(r"[^A-Za-z0-9]+", _stem(name)) if word]

"""The columns of recorded candles and rates: our names, and by which others they are known."""

import re
from collections.abc import Sequence
from typing import Final

from src.domain.errors import DataRefused

ARCHIVE_ORDER: Final = (
    "open_time", "open", "high", "low", "close", "volume", "close_time", "quote_volume", "count", "taker_buy_volume",
    "taker_buy_quote_volume", "ignore",
)  # fmt: skip
PRICES: Final = ("open", "high", "low", "close")
NEEDED: Final = ("open_time", *PRICES, "volume")
OPTIONAL: Final = ("trades", "taker_buy_volume", "quote_volume")
OF_FUNDING: Final = ("funding_time", "funding_rate")
OF_INDEX: Final = ("day_time", "value")

_OTHERS: Final = {
    "open_time": "date datetime timestamp time unix unix_timestamp ts t start start_time opentime kline_open_time "
    "gmt_time date_time local_time",
    "open": "open_price o",
    "high": "high_price h max",
    "low": "low_price l min",
    "close": "close_price c closing_price",
    "volume": "vol v base_volume volume_base",
    "close_time": "closetime kline_close_time end_time",
    "quote_volume": "quote_asset_volume qav turnover quotevolume",
    "trades": "count number_of_trades tradecount trade_count num_trades n_trades",
    "taker_buy_volume": "taker_buy_base taker_buy_base_asset_volume taker_buy_base_volume tb_base_av",
    "funding_time": "calc_time fundingtime",
    "funding_rate": "last_funding_rate fundingrate",
    "symbol": "ticker pair instrument",
}
_OURS: Final = {other: ours for ours, others in _OTHERS.items() for other in others.split()}
_VOLUME_OF: Final = re.compile(r"volume_(?P<unit>[a-z0-9]+)")
_QUOTE_UNITS: Final = {"usd", "usdt", "usdc", "busd", "fdusd", "currency", "quote", "eur"}
_NO_UNITS: Final = {"ma", "sma", "ema", "delta", "24h", "profile"}
_NAMES_TOLD: Final = 12


def ours_of(theirs: str) -> str:
    """Return our name for a column, whatever the case, blanks, brackets and quotes; its own where we have none."""
    plain = re.sub(r"[^a-z0-9]+", "_", theirs.lower()).strip("_")
    if plain in _OURS:
        return _OURS[plain]
    unit = _VOLUME_OF.fullmatch(plain)
    if unit and unit["unit"] not in _NO_UNITS:
        return "quote_volume" if unit["unit"] in _QUOTE_UNITS else "volume"
    return plain


def places(name: str, theirs: Sequence[str], needed: Sequence[str], optional: Sequence[str]) -> dict[str, int]:
    """Return where each column stands that is wanted, under our name for it.

    A column without a name is the instants, as pandas writes its index, where no other is.

    Raises:
        DataRefused: one that is needed is missing, or one that is wanted stands there twice.
    """
    ours = [ours_of(each) for each in theirs]
    if needed[0] not in ours and needed[0] == "open_time":
        ours = ["open_time" if each in ("", "index_level_0", "unnamed_0") else each for each in ours]
    lacking = next((each for each in needed if each not in ours), None)
    if lacking:
        told = ", ".join(each.strip() or "(no name)" for each in theirs[:_NAMES_TOLD])
        raise DataRefused(f"{name} has no column {lacking}; it has {told}.")
    wanted = [each for each in (*needed, *optional) if each in ours]
    twice = next((each for each in wanted if ours.count(each) > 1), None)
    if twice:
        raise DataRefused(f"{name} has the column {twice} more than once.")
    return {each: ours.index(each) for each in wanted}

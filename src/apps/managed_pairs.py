"""Which pairs a bot manages when it starts: those it is told to trade, and those it still holds.

A pair that the exchange does not list, or that left TRADING_PAIRS, concerns itself alone: the others are traded, and
a position of this bot is managed until it ends, whatever the settings say.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlalchemy import select

from src.domain.errors import OrderRefused, Rejection, SettingsError
from src.domain.market import quote_asset_of
from src.domain.ports import Exchange
from src.storage.database import TradingDatabase
from src.storage.tables import EVERY, daily_performance

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ManagedPairs:
    """The pairs of one bot: ``halted`` says of those it manages why they open nothing (empty: they may open).

    ``unlisted`` says of pairs without a contract at the exchange what is wrong; nothing can be done with them.
    """

    halted: dict[str, str] = field(default_factory=dict)
    unlisted: dict[str, str] = field(default_factory=dict)

    @property
    def symbols(self) -> tuple[str, ...]:
        """The pairs that are managed, first those that may be traded."""
        return tuple(sorted(self.halted, key=lambda symbol: bool(self.halted[symbol])))


def managed_pairs(
    wanted: Sequence[str], held: Sequence[str], database: TradingDatabase, quote_asset: str, exchange: Exchange
) -> ManagedPairs:
    """Return which pairs to manage: those ``wanted``, and those in which this bot has something open (``held``).

    Raises:
        SettingsError: none of the wanted pairs is listed at the exchange and nothing is held, or the pairs are quoted
            in another asset than the bot's books are kept in.
    """
    _refuse_other_asset(database, quote_asset)
    found = ManagedPairs()
    for symbol in dict.fromkeys((*wanted, *held)):
        try:
            asset = exchange.instrument(symbol).quote_asset
        except OrderRefused as error:
            if error.rejection is not Rejection.NOT_LISTED:
                raise
            kept = "; the journal holds an open trade of it: look into the account's history" if symbol in held else ""
            found.unlisted[symbol] = f"{symbol} is not listed at the exchange: take it out of TRADING_PAIRS{kept}"
            continue
        reason = ""
        if symbol not in wanted:
            reason = f"{symbol} left TRADING_PAIRS with a position open: it is managed until it ends, nothing is opened"
        elif asset != quote_asset:
            reason = f"{symbol} is quoted in {asset}, this bot reckons in {quote_asset}: give it a bot of its own"
        found.halted[symbol] = reason
    for reason in filter(None, (*found.unlisted.values(), *found.halted.values())):
        log.error("pair opens nothing: reason=%s", reason)
    if not found.halted:
        raise SettingsError(tuple(f"{reason}." for reason in found.unlisted.values()))
    return found


def _refuse_other_asset(database: TradingDatabase, quote_asset: str) -> None:
    """Refuse pairs in another quote asset than the bot has kept its books in so far.

    Equity, the day's loss limit and the drawdown are one sum for each bot: money of two kinds has no place in it.

    Raises:
        SettingsError: what was traded before was quoted in something else.
    """
    own = database.owner.rows_of(daily_performance)
    query = select(daily_performance.c.symbol).where(own, daily_performance.c.symbol != EVERY).distinct()
    with database.read() as connection:
        traded = {quote_asset_of(symbol) for symbol in connection.execute(query).scalars()}
    others = sorted(asset for asset in traded if asset and asset != quote_asset)
    if others:
        raise SettingsError(
            (
                f"TRADING_PAIRS are quoted in {quote_asset}, but bot {database.owner.bot_id} keeps equity, daily loss "
                f"limit and drawdown in {', '.join(others)}: write another BOT_ID for the pairs in {quote_asset}.",
            )
        )

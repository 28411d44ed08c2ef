"""Daily rows of one account: equity, limits, and running totals.

Each day has one row for the account (symbol "*") and one for each symbol. All methods work within the caller's
transaction, so that a sum and the rows it counts are committed together.
"""

from decimal import Decimal
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, case, func, select, type_coerce

from src.domain.clock import Clock, utc_day, utc_text
from src.domain.portfolio import Account
from src.storage.engine import insert_or
from src.storage.rows import Owner
from src.storage.tables import EVERY, Money, account_balance, daily_performance

_KEY = ("bot_id", "mode", "world", "symbol", "day")
_COLUMN = daily_performance.c


def earned_equity() -> ColumnElement[Decimal]:
    """Return the equity of a row of ``account_balance`` without deposits and withdrawals."""
    return type_coerce(account_balance.c.equity - func.coalesce(account_balance.c.transferred, 0), Money())


class DailyRepository:
    """The daily rows of ``owner``; each has the time of its last change by ``clock``."""

    def __init__(self, owner: Owner, clock: Clock) -> None:
        self._owner = owner
        self._clock = clock

    def add(self, connection: Connection, symbol: str, day: str, sums: dict[str, Any]) -> None:
        """Add ``sums`` to the columns of those names."""
        self._save(connection, symbol, day, sums, {name: _COLUMN[name] + value for name, value in sums.items()})

    def mark_limit(self, connection: Connection, day: str) -> None:
        """Record that the account's daily loss limit was reached."""
        self._save(connection, EVERY, day, {"limit_hit": True}, {"limit_hit": True})

    def note_equity(
        self, connection: Connection, day: str, account: Account, transfers: Decimal, drawdown: float
    ) -> None:
        """Record the newest equity, the sum of the day's transfers, and the drawdown from the highest equity."""
        equity, earned = account.equity, account.earned
        row = {
            "end_equity": equity,
            "high_equity": equity,
            "low_equity": equity,
            "high_earned": earned,
            "transfers": transfers,
            "drawdown_share": drawdown,
        }
        changes = {
            "end_equity": equity,
            "transfers": transfers,
            "high_equity": case((_COLUMN.high_equity >= equity, _COLUMN.high_equity), else_=equity),
            "high_earned": case((_COLUMN.high_earned >= earned, _COLUMN.high_earned), else_=earned),
            "low_equity": case((_COLUMN.low_equity <= equity, _COLUMN.low_equity), else_=equity),
            "drawdown_share": case((_COLUMN.drawdown_share >= drawdown, _COLUMN.drawdown_share), else_=drawdown),
        }
        self._save(connection, EVERY, day, row, changes)

    def start(self, connection: Connection, day: str, equity: Decimal) -> Decimal:
        """Return the equity at the start of the day, ``equity`` if none was recorded before.

        Deposits and withdrawals of the day itself are not part of it.
        """
        kept = func.coalesce(_COLUMN.start_balance, equity)
        self._save(connection, EVERY, day, {"start_balance": equity}, {"start_balance": kept})
        own = self._owner.rows_of(daily_performance)
        query = select(_COLUMN.start_balance).where(own, _COLUMN.symbol == EVERY, _COLUMN.day == day)
        return Decimal(connection.execute(query).scalar_one())

    def highest_earned(self, connection: Connection, since_ms: int = 0) -> Decimal | None:
        """Return the highest equity without transfers since then: from daily rows, for the first day from balances."""
        day = utc_day(since_ms)
        balances = select(func.max(earned_equity())).where(
            self._owner.rows_of(account_balance),
            account_balance.c.timestamp >= utc_text(since_ms),
            account_balance.c.timestamp < day + "~",
        )
        days: Select[Any] = select(func.max(func.coalesce(_COLUMN.high_earned, _COLUMN.high_equity))).where(
            self._owner.rows_of(daily_performance), _COLUMN.symbol == EVERY, _COLUMN.day > day
        )
        found = [connection.execute(query).scalar() for query in (balances, days)]
        return max((each for each in found if each is not None), default=None)

    def _save(
        self, connection: Connection, symbol: str, day: str, values: dict[str, Any], changes: dict[str, Any]
    ) -> None:
        """Insert the day with ``values``, or apply ``changes`` if it exists."""
        stamp = {"timestamp": utc_text(self._clock.now_ms())}
        row = self._owner.columns(symbol) | {"day": day} | stamp | values
        statement = insert_or(connection, daily_performance).values(row)
        connection.execute(statement.on_conflict_do_update(index_elements=_KEY, set_=changes | stamp))

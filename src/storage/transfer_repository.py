"""Deposits and withdrawals of one account in the database: each once, under its day."""

import threading
from decimal import Decimal

from sqlalchemy import Connection, func, select

from src.domain.clock import Clock, instant_of, utc_day, utc_text
from src.domain.portfolio import KnownTransfers
from src.domain.ports import Income
from src.storage.database import TradingDatabase
from src.storage.engine import insert_or
from src.storage.rows import Owner
from src.storage.tables import EVERY, account_balance, transfers


class TransferRepository:
    """The transfers of the owner of ``database``; thread-safe. Read once at creation, within ``read``."""

    def __init__(self, database: TradingDatabase, clock: Clock, read: Connection) -> None:
        self._database, self._clock = database, clock
        self._lock = threading.Lock()
        self._by_day = _by_day(read, database.owner)
        self.known = _known(read, database.owner)

    def note(self, income: Income, told_ms: int | None, counted: bool) -> None:
        """Record, in the background, a deposit (above 0) or withdrawal; a repeated one counts once.

        Args:
            income: the payment with its id.
            told_ms: when the bot first noticed it; None: now.
            counted: False for transfers contained in the very first balance.
        """
        noticed_ms = self._clock.now_ms() if told_ms is None else told_ms
        if counted:
            with self._lock:
                day = utc_day(noticed_ms)
                self._by_day[day] = self._by_day.get(day, Decimal(0)) + income.amount
        row = self._database.owner.columns(EVERY) | {
            "timestamp": utc_text(noticed_ms),
            "kind": income.kind,
            "transaction_id": income.transaction_id,
            "amount": income.amount,
            "asset": income.asset,
            "moved_at": utc_text(income.time_ms),
            "counted": counted,
        }
        self._database.write_later(
            lambda connection: connection.execute(insert_or(connection, transfers).values(row).on_conflict_do_nothing())
        )

    def before(self, day: str) -> Decimal:
        """Return the net transfers of the days before."""
        with self._lock:
            return sum((amount for each, amount in self._by_day.items() if each < day), Decimal(0))


def _known(connection: Connection, owner: Owner) -> KnownTransfers:
    """Return the recorded transfers, the sum of those that count, and when they were last queried."""
    own = owner.rows_of(transfers)
    ids = select(transfers.c.kind, transfers.c.transaction_id).where(own)
    total = select(func.sum(transfers.c.amount)).where(own, transfers.c.counted.is_(True))
    seen = select(func.max(account_balance.c.timestamp)).where(
        owner.rows_of(account_balance), account_balance.c.transferred.is_not(None)
    )
    looked = connection.execute(seen).scalar()
    return KnownTransfers(
        frozenset((row.kind, row.transaction_id) for row in connection.execute(ids)),
        connection.execute(total).scalar() or Decimal(0),
        None if looked is None else instant_of(looked),
    )


def _by_day(connection: Connection, owner: Owner) -> dict[str, Decimal]:
    """Return the sum of the counted transfers by the day on which they were noticed."""
    day = func.substr(transfers.c.timestamp, 1, 10)
    query = select(day.label("day"), func.sum(transfers.c.amount).label("amount"))
    rows = connection.execute(query.where(owner.rows_of(transfers), transfers.c.counted.is_(True)).group_by(day))
    return {row.day: row.amount for row in rows}

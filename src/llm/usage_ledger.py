"""Records paid model calls and enforces the monthly budget.

A call is written down with the most it can cost before it is made, in one transaction with the look at what the month
has cost so far; afterwards the figure becomes the true one. So two processes cannot both take the last cent, and one
that is killed in between has counted too much rather than too little. Months are those of the machine's clock: the
bill does not follow a paper market's time.
"""

import logging
from dataclasses import asdict
from decimal import Decimal
from typing import Final

from sqlalchemy import Connection, func, insert, select, update

from src.domain.clock import Clock, SystemClock, instant_of, utc_text
from src.domain.errors import SourceUnavailable, StoreUnavailable
from src.llm.client import TokenUsage
from src.storage.database import TradingDatabase
from src.storage.tables import EVERY, api_usage

log = logging.getLogger(__name__)

SERVICE: Final = "openai"
UNKNOWN: Final = "unknown"
"""The outcome of a call that is under way, or whose process died meanwhile."""
HOPELESS: Final = frozenset(
    {"insufficient_quota", "invalid_api_key", "model_not_found", "billing_hard_limit_reached", "http_401", "http_403"}
)
_QUIET_MS: Final = 3_600_000


class BudgetSpent(SourceUnavailable):
    """The call could cost more than the month's budget has left."""


class UsageLedger:
    """Reserves, books and refuses; safe between processes.

    Args:
        database: where the calls are noted (``api_usage``).
        budget_usd: the most that all calls of one UTC month may cost together.
        process: who asks, as in ``bot_status``.
        since_ms: failures before this instant (of the machine) are forgiven: the key may have been put right.
        clock: the machine's.
    """

    def __init__(
        self,
        database: TradingDatabase,
        budget_usd: Decimal,
        process: str,
        since_ms: int = 0,
        clock: Clock | None = None,
    ) -> None:
        self._database = database
        self._budget = budget_usd
        self._process = process
        self._since_ms = since_ms
        self._clock = clock or SystemClock()

    def month_cost_usd(self) -> Decimal:
        """Return what this month's calls have cost, those under way at the most they can."""
        return self._database.month_cost_usd(utc_text(self._clock.now_ms())[:7], SERVICE)

    def reserve(self, model: str, operation: str, most_usd: Decimal, symbol: str = EVERY) -> int:
        """Write a call down before it is made; return the number by which to ``book`` it.

        Raises:
            BudgetSpent: it could pass the budget; nothing was written.
            SourceUnavailable: the same model refused an hour ago or less in a way that no repetition heals.
            StoreUnavailable: it cannot be written, so it may not be made.
        """
        now = utc_text(self._clock.now_ms())
        row = asdict(self._database.owner) | {
            "timestamp": now,
            "symbol": symbol,
            "process": self._process,
            "service": SERVICE,
            "operation": operation,
            "model": model,
            "outcome": UNKNOWN,
            "cost_usd": most_usd,
        }

        def work(connection: Connection) -> int:
            self._refuse_hopeless(connection, model)
            column = api_usage.c
            month = (column.service == SERVICE, column.timestamp >= now[:7], column.timestamp < now[:7] + "~")
            spent = connection.execute(select(func.sum(column.cost_usd)).where(*month)).scalar() or Decimal(0)
            if spent + most_usd > self._budget:
                raise BudgetSpent(
                    f"the monthly budget of ${self._budget} has ${max(self._budget - spent, Decimal(0)):.4f} left "
                    f"and a call may cost ${most_usd:.4f}: raise OPENAI_MONTHLY_BUDGET_USD or wait for next month"
                )
            return int(connection.execute(insert(api_usage).returning(column.id), row).scalar_one())

        return self._database.write(work)

    def book(
        self, number: int, usage: TokenUsage, cost_usd: Decimal, latency_ms: float, outcome: str = "ok", error: str = ""
    ) -> None:
        """Put the true figures in place of the reserved ones; behind, where the database is locked."""
        change = (
            update(api_usage)
            .where(api_usage.c.id == number)
            .values(
                input_tokens=usage.input,
                output_tokens=usage.output,
                cost_usd=cost_usd,
                latency_ms=latency_ms,
                outcome=outcome,
                error=error,
            )
        )
        try:
            self._database.write(lambda connection: connection.execute(change))
        except StoreUnavailable as away:
            log.warning("call not booked yet: reason=%s", away)
            self._database.write_later(lambda connection: connection.execute(change))

    def _refuse_hopeless(self, connection: Connection, model: str) -> None:
        """Leave a model in peace that said it cannot be asked: no money, no such key, no such model."""
        column = api_usage.c
        newest = (
            select(column.timestamp, column.error)
            .where(column.service == SERVICE, column.model == model, column.outcome != UNKNOWN)
            .order_by(column.timestamp.desc(), column.id.desc())
            .limit(1)
        )
        row = connection.execute(newest).first()
        if row is None or row.error not in HOPELESS:
            return
        then_ms = instant_of(row.timestamp)
        if then_ms >= self._since_ms and self._clock.now_ms() - then_ms < _QUIET_MS:
            raise SourceUnavailable(f"{model} is left in peace for an hour after its answer {row.error}")

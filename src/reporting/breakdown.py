"""Closed trades of a period grouped by pair, hour, weekday, reason or length."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import Select, select

from src.domain.clock import instant_of, utc_text
from src.reporting.pages import Scope
from src.storage.tables import trades

WEEKDAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_LENGTHS: Final = ((300, "under 5 min"), (3_600, "5 min to 1 h"), (14_400, "1 to 4 h"), (86_400, "4 to 24 h"),
                   (604_800, "1 to 7 days"))  # fmt: skip
_LONGEST: Final = "over 7 days"
_COLUMNS: Final = ("symbol", "side", "entry_time", "exit_time", "pnl", "fees", "funding", "exit_reason")
Row = Mapping[str, Any]


@dataclass(slots=True)
class GroupSum:
    """The net result of a group of closed trades, with its costs."""

    trades: int = 0
    wins: int = 0
    pnl: Decimal = Decimal(0)
    fees: Decimal = Decimal(0)
    funding: Decimal = Decimal(0)
    best: Decimal | None = None
    worst: Decimal | None = None

    def add(self, row: Row) -> None:
        """Count one closed trade."""
        pnl = row["pnl"]
        self.trades += 1
        self.wins += pnl > 0
        self.pnl += pnl
        self.fees += row["fees"]
        self.funding += row["funding"]
        self.best = pnl if self.best is None else max(self.best, pnl)
        self.worst = pnl if self.worst is None else min(self.worst, pnl)

    @property
    def win_rate(self) -> float | None:
        """The share of winning trades, None without trades."""
        return self.wins / self.trades if self.trades else None


def closed_trades_query(scope: Scope, since_ms: int | None) -> Select[Any]:
    """Return the query for closed trades by their exit, oldest first."""
    columns = [trades.c[name] for name in _COLUMNS]
    query = select(*columns).where(*scope.conditions(trades), trades.c.status == "closed")
    if since_ms is not None:
        query = query.where(trades.c.timestamp >= utc_text(since_ms))
    return query.order_by(trades.c.timestamp, trades.c.id)


def total(rows: Iterable[Row]) -> GroupSum:
    """Return the sum of all rows."""
    whole = GroupSum()
    for row in rows:
        whole.add(row)
    return whole


def grouped(rows: Iterable[Row], key: Callable[[Row], str]) -> dict[str, GroupSum]:
    """Return the sum of each group of rows with the same key, in the order in which keys came."""
    groups: dict[str, GroupSum] = defaultdict(GroupSum)
    for row in rows:
        groups[key(row)].add(row)
    return dict(groups)


def by_pair(row: Row) -> str:
    """Return the pair of a trade."""
    return str(row["symbol"])


def by_side(row: Row) -> str:
    """Return LONG or SHORT."""
    return str(row["side"])


def by_reason(row: Row) -> str:
    """Return the reason of the exit as the journal has it."""
    return str(row["exit_reason"])


def by_hour(row: Row) -> str:
    """Return the UTC hour of the entry, such as ``09``."""
    return str(row["entry_time"])[11:13]


def by_weekday(row: Row) -> str:
    """Return the UTC weekday of the entry."""
    return WEEKDAYS[date.fromisoformat(str(row["entry_time"])[:10]).weekday()]


def by_length(row: Row) -> str:
    """Return the span in which the holding time falls."""
    seconds = (instant_of(row["exit_time"]) - instant_of(row["entry_time"])) / 1_000
    return next((name for most, name in _LENGTHS if seconds < most), _LONGEST)


LENGTHS: Final = (*(name for _, name in _LENGTHS), _LONGEST)


def distribution(results: Sequence[Decimal], bars: int = 15) -> list[tuple[Decimal, int]]:
    """Return ``bars`` spans of equal width from the worst to the best result: the lower end of each, and its count."""
    if not results:
        return []
    least, most = min(results), max(results)
    width = (most - least) / bars
    if width == 0:
        return [(least, len(results))]
    counts = [0] * bars
    for each in results:
        counts[min(int((each - least) / width), bars - 1)] += 1
    return [(least + width * index, count) for index, count in enumerate(counts)]

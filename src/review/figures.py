"""The figures of a review: what was traded, what was refused and what became of it, what it all cost."""

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import Connection, Select, func, select

from src.domain.clock import utc_text
from src.reporting.forecasts import ForecasterScore, read_scores
from src.reporting.pages import Scope
from src.storage.tables import api_usage, chart_analyses, signals, trades

HINDSIGHT_MS: Final = 3_600_000
"""A refused entry is judged by the price an hour later."""
ROUND_TRIP_SHARE: Final = 0.0012


@dataclass(frozen=True, slots=True)
class GroupFigures:
    """What a group of closed trades brought, in quote currency after costs."""

    trades: int
    net: Decimal


@dataclass(frozen=True, slots=True)
class RefusedFigures:
    """Entries that one gate stopped: how many, how many an hour can judge, and what they would have brought.

    ``gained`` would have made money after costs; ``net_mean`` is the mean result as a share of the price.
    """

    refused: int
    judged: int
    gained: int
    net_mean: float | None


@dataclass(frozen=True, slots=True)
class ReviewFigures:
    """All that a review is written from.

    ``services`` are paid calls by the machine's time, as on the bill; ``analyses`` what looks at charts cost by the
    market's time, which may run faster.
    """

    first_ms: int
    last_ms: int
    turns: int
    trades: GroupFigures
    fees: Decimal
    funding: Decimal
    by_reason: Mapping[str, GroupFigures]
    refused: Mapping[str, RefusedFigures]
    services: Mapping[str, Decimal]
    analyses: Decimal
    forecasts: tuple[ForecasterScore, ...]


def read_figures(connection: Connection, scope: Scope, first_ms: int, last_ms: int) -> ReviewFigures:
    """Return the figures of ``first_ms <= instant < last_ms``: trades by exit, turns and refusals by their instant."""
    first, last = utc_text(first_ms), utc_text(last_ms)
    closed = _closed(connection, scope, first, last)
    services = select(api_usage.c.service, func.sum(api_usage.c.cost_usd)).where(
        *scope.conditions(api_usage), api_usage.c.timestamp >= first, api_usage.c.timestamp < last
    )
    turns = _turns(connection, scope, first_ms, last_ms + HINDSIGHT_MS)
    return ReviewFigures(
        first_ms=first_ms,
        last_ms=last_ms,
        turns=sum(row["instant_ms"] < last_ms for row in turns),
        trades=_group(closed),
        fees=sum((row["fees"] for row in closed), Decimal(0)),
        funding=sum((row["funding"] for row in closed), Decimal(0)),
        by_reason={
            reason: _group([row for row in closed if row["exit_reason"] == reason])
            for reason in sorted({row["exit_reason"] for row in closed})
        },
        refused=_refused(turns, last_ms),
        services={
            name: spent or Decimal(0) for name, spent in connection.execute(services.group_by(api_usage.c.service))
        },
        analyses=connection.execute(_analyses(scope, first, last)).scalar() or Decimal(0),
        forecasts=tuple(read_scores(connection, scope, since_ms=first_ms, until_ms=last_ms)),
    )


def _analyses(scope: Scope, first: str, last: str) -> Select[Any]:
    c = chart_analyses.c
    return select(func.sum(c.cost_usd)).where(
        *scope.conditions(chart_analyses), c.timestamp >= first, c.timestamp < last
    )


def _closed(connection: Connection, scope: Scope, first: str, last: str) -> list[dict[str, Any]]:
    query = select(trades.c.exit_reason, trades.c.pnl, trades.c.fees, trades.c.funding).where(
        *scope.conditions(trades), trades.c.status == "closed", trades.c.timestamp >= first, trades.c.timestamp < last
    )
    return [dict(row) for row in connection.execute(query).mappings()]


def _turns(connection: Connection, scope: Scope, first_ms: int, last_ms: int) -> list[dict[str, Any]]:
    c = signals.c
    query = (
        select(c.instant_ms, c.symbol, c.price, c.signal_type, c.decision, c.veto)
        .where(*scope.conditions(signals), c.instant_ms >= first_ms, c.instant_ms < last_ms)
        .order_by(c.instant_ms)
    )
    return [dict(row) for row in connection.execute(query).mappings()]


def _group(rows: list[dict[str, Any]]) -> GroupFigures:
    return GroupFigures(len(rows), sum((row["pnl"] for row in rows), Decimal(0)))


def _refused(turns: list[dict[str, Any]], last_ms: int) -> dict[str, RefusedFigures]:
    """Judge each entry that a gate stopped by the first price of its pair an hour later or more."""
    prices: dict[str, tuple[list[int], list[float]]] = {}
    for row in turns:
        if row["price"]:
            times, known = prices.setdefault(row["symbol"], ([], []))
            times.append(row["instant_ms"])
            known.append(row["price"])
    found: dict[str, list[float | None]] = {}
    for row in turns:
        if row["veto"] and row["instant_ms"] < last_ms and row["signal_type"] in ("BUY", "SELL"):
            found.setdefault(row["veto"], []).append(_hindsight(row, prices.get(row["symbol"], ([], []))))
    return {name: _judged(results) for name, results in sorted(found.items())}


def _hindsight(row: dict[str, Any], prices: tuple[list[int], list[float]]) -> float | None:
    times, known = prices
    place = bisect_left(times, row["instant_ms"] + HINDSIGHT_MS)
    if place == len(times) or not row["price"]:
        return None
    sign = 1 if row["signal_type"] == "BUY" else -1
    return float(sign * (known[place] / row["price"] - 1.0) - ROUND_TRIP_SHARE)


def _judged(results: list[float | None]) -> RefusedFigures:
    known = [each for each in results if each is not None]
    mean = sum(known) / len(known) if known else None
    return RefusedFigures(len(results), len(known), sum(each > 0 for each in known), mean)

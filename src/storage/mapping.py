"""Maps domain objects to rows of the journal and back."""

import math
from collections import OrderedDict
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, RowMapping, Select, Table, and_, func, or_, select

from src.domain.clock import instant_of, utc_text
from src.domain.orders import Order, OrderIntent, OrderKind, OrderStatus, Purpose, Side, purpose_of
from src.domain.portfolio import Direction, Position, Trade
from src.execution.journal import TradeStart, Turn
from src.storage.tables import EVERY, account_balance, daily_performance, market_context, orders, signals, trades
from src.strategy.decision import Verdict
from src.strategy.q_agent import Recommendation

RowsOf = Callable[[Table], ColumnElement[bool]]
Owned = Callable[[str], dict[str, Any]]  # columns of owner and symbol, for any row


def order_row(owned: Owned, intent: OrderIntent, now_ms: int) -> dict[str, Any]:
    """Return the row of an order that is planned."""
    return owned(intent.symbol) | {
        "timestamp": utc_text(intent.decided_ms),
        "updated_at": utc_text(now_ms),
        "client_id": intent.client_id,
        "purpose": str(intent.purpose),
        "kind": str(intent.kind),
        "side": str(intent.side),
        "quantity": intent.quantity,
        "trigger_price": intent.trigger_price,
        "reduce_only": intent.reduce_only,
        "close_position": intent.close_position,
        "status": str(OrderStatus.PLANNED),
        "reason": intent.reason,
    }


def trade_row(owned: Owned, trade: Trade) -> dict[str, Any]:
    """Return the row of a round trip, without status, timestamp and result."""
    return owned(trade.symbol) | {
        "side": str(trade.direction),
        "entry_price": trade.entry_price,
        "exit_price": trade.exit_price,
        "quantity": trade.quantity,
        "leverage": trade.leverage,
        "gross_pnl": trade.gross_pnl,
        "fees": trade.fees,
        "funding": trade.funding,
        "exit_reason": trade.exit_reason,
        "entry_time": utc_text(trade.entry_ms),
        "exit_time": None if trade.exit_ms is None else utc_text(trade.exit_ms),
        "stop_price": trade.stop_price,
        "target_price": trade.target_price,
        "entry_client_id": trade.entry_client_id,
        "exit_client_id": trade.exit_client_id,
    }


def position_row(owned: Owned, position: Position, trade: Trade | None) -> dict[str, Any]:
    """Return the row of a position; it is the bot's own if ``trade`` is given."""
    own = trade is not None and trade.direction is position.direction
    return owned(position.symbol) | {
        "timestamp": utc_text(position.updated_ms),
        "side": str(position.direction),
        "quantity": position.quantity,
        "entry_price": position.entry_price,
        "mark_price": position.mark_price,
        "unrealized_pnl": position.unrealized_pnl,
        "leverage": position.leverage,
        "margin_type": position.margin_type,
        "position_side": position.position_side,
        "liquidation_price": position.liquidation_price,
        "stop_price": trade.stop_price if trade is not None and own else None,
        "target_price": trade.target_price if trade is not None and own else None,
        "own": own,
    }


def signal_row(owned: Owned, turn: Turn) -> dict[str, Any]:
    """Return the row of a turn; numbers that are not finite become NULL."""
    seen, decision, advice = turn.observation, turn.decision, turn.observation.recommendation
    position = seen.position
    close = seen.candle.close if seen.candle is not None else None
    indicators = {} if seen.indicators is None else seen.indicators._asdict()
    row = {name: value if math.isfinite(value) else None for name, value in indicators.items()}
    return (
        row
        | owned(seen.symbol)
        | {
            "timestamp": utc_text(seen.now_ms),
            "instant_ms": seen.now_ms,
            "price": float(seen.mark.mark) if seen.mark is not None else close,
            "signal_type": str(seen.signal.side),
            "strength": seen.signal.strength,
            "votes": [vote._asdict() for vote in seen.signal.votes],
            "rl_state": _rl_state(advice),
            "rl_action": advice.action.name,
            "confidence": advice.confidence,
            "explored": advice.explored,
            "gates": [gate._asdict() for gate in decision.gates],
            "gates_failed": sum(1 for gate in decision.gates if not gate.passed),
            "veto": decision.veto or "",
            "decision": str(decision.verdict),
            "reason": decision.reason,
            "position_side": None if position is None else str(position.direction),
            "pnl_unrealized": None if position is None else position.unrealized_pnl,
            "cycle_ms": turn.cycle_ms,
            "candle_interval": turn.candle_interval or None,
            "client_id": turn.order_client_id or None,
        }
    )


def _rl_state(advice: Recommendation) -> dict[str, Any]:
    """Return the state with its values, and its higher-timeframe trends, if any."""
    seen: dict[str, Any] = {"state": advice.state, "values": [_finite(each) for each in advice.values]}
    return {**seen, "trends": list(advice.trends)} if advice.trends else seen


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def order_figures(order: Order | None) -> dict[str, Any]:
    """Return the columns with the exchange's figures; none without an order."""
    if order is None:
        return {}
    return {
        "order_id": order.order_id,
        "spawned_id": order.spawned_id,
        "executed_quantity": order.executed_quantity,
        "average_price": order.average_price,
    }


def turn_counts(row: dict[str, Any]) -> dict[str, Any]:
    """Return what one turn adds to its day."""
    return {
        "cycles": 1,
        f"{row['signal_type'].lower()}_signals": 1,
        "vetoed": int(bool(row["veto"])),
        "strength_sum": row["strength"],
        "confidence_sum": row["confidence"],
    }


def trade_sums(row: dict[str, Any] | RowMapping, sign: int) -> dict[str, Any]:
    """Return what a closed trade adds to its day (``sign`` 1) or takes back (-1)."""
    return {
        "trades": sign,
        "wins": sign * (row["pnl"] > 0),
        "losses": sign * (row["pnl"] < 0),
        "realized_pnl": sign * row["pnl"],
        "won": sign * max(row["pnl"], Decimal(0)),
        "lost": sign * min(row["pnl"], Decimal(0)),
        "fees": sign * row["fees"],
        "funding": sign * row["funding"],
    }


def unfinished_intents(connection: Connection, own: ColumnElement[bool]) -> list[OrderIntent]:
    """Return the intents whose orders are not final, oldest first."""
    query = select(orders).where(own, orders.c.finished.is_(False)).order_by(orders.c.timestamp, orders.c.id)
    return [_intent(row) for row in connection.execute(query)]


def untraded_entries(connection: Connection, own: ColumnElement[bool]) -> list[OrderIntent]:
    """Return filled entries without a trade: the bot was killed in between.

    An entry decided while a trade of its symbol was open has increased that trade.
    """
    same = and_(*(trades.c[name] == orders.c[name] for name in ("bot_id", "mode", "world")))
    within = and_(
        trades.c.symbol == orders.c.symbol,
        trades.c.entry_time < orders.c.timestamp,
        or_(trades.c.exit_time.is_(None), orders.c.timestamp < trades.c.exit_time),
    )
    known = select(trades.c.id).where(same, or_(trades.c.entry_client_id == orders.c.client_id, within)).exists()
    entries = and_(orders.c.purpose == str(Purpose.ENTRY), orders.c.status == str(OrderStatus.FILLED))
    return [_intent(row) for row in connection.execute(select(orders).where(own, entries, ~known))]


def open_starts(connection: Connection, own: ColumnElement[bool]) -> list[TradeStart]:
    """Return the round trips that are not closed, oldest first."""
    query = select(trades).where(own, trades.c.status == "open").order_by(trades.c.timestamp, trades.c.id)
    return [TradeStart(_trade(row), row.stop_client_id, row.target_client_id) for row in connection.execute(query)]


def last_results(connection: Connection, own: ColumnElement[bool], limit: int) -> OrderedDict[str, tuple[int, Decimal]]:
    """Return exit instant and net result of the last closed trades by entry id, oldest first."""
    """Return exit instant and net result of the last closed trades by entry id, oldest first."""
    query = (
        select(trades.c.entry_client_id, trades.c.exit_time, trades.c.pnl)
        .where(own, trades.c.status == "closed")
        .order_by(trades.c.timestamp.desc(), trades.c.id.desc())
        .limit(limit)
    )
    rows = list(connection.execute(query))
    return OrderedDict((row.entry_client_id, (instant_of(row.exit_time), row.pnl)) for row in reversed(rows))


def last_exits(connection: Connection, own: ColumnElement[bool]) -> dict[str, tuple[int, str]]:
    """Return decision instant and reason of each symbol's last filled exit order."""
    filled = and_(own, orders.c.purpose == str(Purpose.EXIT), orders.c.status == str(OrderStatus.FILLED))
    newest = select(func.max(orders.c.id)).where(filled).group_by(orders.c.symbol)
    rows = connection.execute(select(orders).where(orders.c.id.in_(newest)))
    return {row.symbol: (instant_of(row.timestamp), row.reason) for row in rows}


def _intent(row: Row[Any]) -> OrderIntent:
    return OrderIntent(
        client_id=row.client_id,
        symbol=row.symbol,
        side=Side(row.side),
        kind=OrderKind(row.kind),
        purpose=Purpose(row.purpose),
        quantity=row.quantity,
        decided_ms=instant_of(row.timestamp),
        reduce_only=row.reduce_only,
        trigger_price=row.trigger_price,
        close_position=row.close_position,
        reason=row.reason,
    )


def _trade(row: Row[Any]) -> Trade:
    return Trade(
        symbol=row.symbol,
        direction=Direction(row.side),
        quantity=row.quantity,
        entry_price=row.entry_price,
        entry_ms=instant_of(row.entry_time),
        leverage=row.leverage,
        entry_client_id=row.entry_client_id,
        exit_price=row.exit_price,
        exit_ms=None if row.exit_time is None else instant_of(row.exit_time),
        exit_client_id=row.exit_client_id,
        exit_reason=row.exit_reason,
        gross_pnl=row.gross_pnl,
        fees=row.fees,
        funding=row.funding,
        stop_price=row.stop_price,
        target_price=row.target_price,
    )


def limit_days(connection: Connection, own: ColumnElement[bool]) -> set[str]:
    """Return the last days on which the loss limit was reached."""
    query = (
        select(daily_performance.c.day)
        .where(own, daily_performance.c.symbol == EVERY, daily_performance.c.limit_hit.is_(True))
        .order_by(daily_performance.c.day.desc())
        .limit(7)
    )
    return set(connection.execute(query).scalars())


def closed_since(connection: Connection, own: ColumnElement[bool], symbol: str, since_ms: int) -> list[Trade]:
    """Return the bot's own round trips of a symbol that were closed since then, oldest first."""
    query = (
        select(trades)
        .where(own, trades.c.symbol == symbol, trades.c.status == "closed", trades.c.timestamp >= utc_text(since_ms))
        .order_by(trades.c.timestamp, trades.c.id)
    )
    return [_trade(row) for row in connection.execute(query) if purpose_of(row.entry_client_id)]


def newest_note_ms(connection: Connection, rows_of: RowsOf) -> int | None:
    """Return the instant of the newest balance or order, None where there is neither."""
    newest = [
        connection.execute(select(func.max(table.c.timestamp)).where(rows_of(table))).scalar()
        for table in (account_balance, orders)
    ]
    return max((instant_of(each) for each in newest if each is not None), default=None)


def context_query(rows_of: RowsOf, as_of: str) -> Select[tuple[int]]:
    """Return the query for the market context at an instant."""
    return select(func.max(market_context.c.id)).where(rows_of(market_context), market_context.c.timestamp == as_of)


def signal_query(rows_of: RowsOf, trade: Trade) -> Select[tuple[int]]:
    """Return the query for the turn that led to an entry: the symbol's last one before its fill."""
    return (
        select(signals.c.id)
        .where(
            rows_of(signals),
            signals.c.symbol == trade.symbol,
            signals.c.timestamp <= utc_text(trade.entry_ms),
            signals.c.decision.in_((str(Verdict.ENTER_LONG), str(Verdict.ENTER_SHORT))),
        )
        .order_by(signals.c.timestamp.desc(), signals.c.id.desc())
        .limit(1)
    )

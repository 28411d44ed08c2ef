"""Figures leave with at most 8 decimals, each the nearest of those to what is stored, whichever way a row is read."""

from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Column, Float, MetaData, String, Table, delete, insert, text

from src.api.market_operations import CONTEXT
from src.api.serializers import RowShape, Steps
from src.api.trading_operations import SIGNAL, TRADE
from src.domain.clock import utc_text
from src.domain.errors import StoreUnavailable
from src.reporting.pages import Page, Scope
from src.reporting.service import ReportService
from src.storage.database import TradingDatabase
from src.storage.tables import market_context, signals, trades
from src.strategy.indicators import Indicators
from tests.api.rows import OWNER
from tests.stores import STORES, new_store

NOON = 1_795_348_800_000  # 2026-11-22T12:00:00Z
SHAPE = RowShape(Table("some", MetaData(), Column("symbol", String), Column("rsi", Float)))
STEPS = {
    "BTCUSDT": Steps(Decimal("0.10"), Decimal("0.001")),
    "ETHUSDT": Steps(Decimal("0.5"), Decimal(5)),
    "SOLUSDT": Steps(Decimal("0.01"), Decimal(1)),
    "XRPUSDT": Steps(),
}
symbols = st.sampled_from([*STEPS, "DOGEUSDT"])
figures = st.none() | st.floats(-1e15, 1e15) | st.floats(-1e-6, 1e-6) | st.integers(-(10**9), 10**9).map(float)
prices = st.floats(0, 1e9) | st.integers(0, 10**8).map(lambda many: many / 10)
sums = st.decimals(-(10**6), 10**6, places=8) | st.integers(0, 10**8).map(lambda many: Decimal(many) / 100)
words = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=20)
json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**15), 10**15)
    | st.floats(allow_nan=False, allow_infinity=False)
    | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=6,
)


def told(value: float | None) -> Any:
    return SHAPE.json({"symbol": "BTCUSDT", "rsi": value}, {})["rsi"]


@given(st.floats(-1e15, 1e15) | st.floats(-1e-6, 1e-6) | st.integers(-(10**8), 10**8).map(lambda n: n / 10**8))
def test_a_figure_is_rounded_to_the_nearest_of_eight_decimals(value: float) -> None:
    found = told(value)
    places = Decimal(repr(found)).normalize().as_tuple().exponent
    assert isinstance(places, int)
    assert -places <= 8
    assert abs(Decimal(found) - Decimal(value)) <= max(Decimal("0.5000001e-8"), abs(Decimal(value)) * Decimal("3e-16"))
    assert told(found) == found


def test_what_is_unknown_stays_so() -> None:
    assert told(None) is None


@pytest.fixture(params=STORES, scope="module")
def database(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TradingDatabase]:
    folder: Path = tmp_path_factory.mktemp("rows")
    with closing(new_store(request.param, folder)) as database:
        yield database


def write(database: TradingDatabase, table: Table, rows: list[dict[str, Any]], then: str = "") -> None:
    """Leave the table with these rows alone, and do ``then`` with them, in SQL."""

    def work(connection: Any) -> None:
        connection.execute(delete(table))
        for number, row in enumerate(rows):
            owned = OWNER.columns(row.get("symbol", "*")) | {"timestamp": utc_text(NOON + number)}
            connection.execute(insert(table), owned | row)
        if then:
            connection.execute(text(then))

    database.write(work)


def both_ways(shape: RowShape, plain: Page, kept: Page) -> tuple[Any, Any]:
    """Return what stands in an answer by either way of reading, as whoever asked reads it."""
    slow = [shape.json(row, STEPS) for row in plain.rows]
    assert [list(row) for row in kept.rows] == [list(row) for row in slow]  # the same names in the same order
    return orjson.loads(orjson.dumps(slow)), orjson.loads(orjson.dumps(kept.rows))


signal_rows = st.fixed_dictionaries(
    {
        **dict.fromkeys(Indicators._fields, figures),
        "symbol": symbols,
        "price": st.none() | prices,
        "votes": st.lists(json, max_size=2),
        "gates": st.lists(json, max_size=2),
        "rl_state": st.none() | st.dictionaries(words, json, max_size=2),
        "confidence": st.floats(0, 1),
        "reason": words,
        "veto": words,
        "acted": st.booleans(),
        "client_id": st.none() | st.just("a-1-e"),
        "pnl_unrealized": st.none() | sums,
        "cycle_ms": figures,
        "context_id": st.none() | st.integers(1, 10**12),
        "instant_ms": st.just(NOON),
        "signal_type": st.sampled_from(["BUY", "HOLD"]),
        "strength": st.integers(0, 6),
        "rl_action": st.just("HOLD"),
        "decision": st.just("HOLD"),
    }
)
trade_rows = st.fixed_dictionaries(
    {
        "symbol": symbols,
        "side": st.sampled_from(["LONG", "SHORT"]),
        **dict.fromkeys(
            ("entry_price", "quantity", "fees", "funding"), sums | prices.map(lambda value: Decimal(repr(value)))
        ),
        **dict.fromkeys(
            ("exit_price", "pnl", "pnl_percent", "gross_pnl", "stop_price", "target_price"), st.none() | sums
        ),
        "leverage": st.integers(1, 125),
        "status": st.sampled_from(["open", "closed"]),
        "entry_time": st.just(utc_text(NOON)),
        "exit_reason": words,
        "signal_id": st.none() | st.integers(1, 10**12),
    }
)
context_rows = st.fixed_dictionaries(
    {
        **dict.fromkeys(("market_trend", "btc_trend", "market_regime", "volatility_level"), st.just("unknown")),
        "btc_price": figures,
        "sources": st.dictionaries(words, words, max_size=3),
        "unknown": st.dictionaries(words, words, max_size=3),
    }
)
some = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@some
@given(st.lists(signal_rows, min_size=1, max_size=4))
def test_signals_read_as_they_are_kept_make_the_same_answer(
    database: TradingDatabase, rows: list[dict[str, Any]]
) -> None:
    write(database, signals, rows)
    reports = ReportService(database)
    slow, fast = both_ways(SIGNAL, reports.signals(), reports.signals(form=SIGNAL.form(STEPS)))
    assert fast == slow


@some
@given(st.lists(trade_rows, min_size=1, max_size=4))
def test_trades_read_as_they_are_kept_make_the_same_answer(
    database: TradingDatabase, rows: list[dict[str, Any]]
) -> None:
    rows = [row | {"entry_client_id": f"{number}-e"} for number, row in enumerate(rows)]
    # sums that SQL itself has made hold the dust of doubles
    write(database, trades, rows, "UPDATE trades SET fees = fees * 1.1, quantity = quantity / 3, pnl = pnl + 0.1 + 0.2")
    reports = ReportService(database)
    slow, fast = both_ways(TRADE, reports.trades(), reports.trades(form=TRADE.form(STEPS)))
    assert fast == slow


@some
@given(st.lists(context_rows, min_size=1, max_size=4))
def test_contexts_read_as_they_are_kept_make_the_same_answer(
    database: TradingDatabase, rows: list[dict[str, Any]]
) -> None:
    write(database, market_context, rows)
    reports = ReportService(database)
    slow, fast = both_ways(
        CONTEXT, reports.contexts(Scope(), 0), reports.contexts(Scope(), 0, form=CONTEXT.form(STEPS))
    )
    assert fast == slow


def test_a_column_that_is_no_json_is_refused_and_not_passed_on(tmp_path: Path) -> None:
    with closing(new_store("sqlite", tmp_path)) as database:
        row = {"instant_ms": NOON, "votes": [], "gates": [], "rl_action": "HOLD", "confidence": 0.5, "decision": "HOLD"}
        write(database, signals, [row | {"symbol": "BTCUSDT", "signal_type": "BUY", "strength": 3}])
        database.write(lambda connection: connection.exec_driver_sql("""UPDATE signals SET votes = '[1, '"""))
        with pytest.raises(StoreUnavailable, match="JSON"):
            ReportService(database).signals(form=SIGNAL.form({}))

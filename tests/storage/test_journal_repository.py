"""One bot's journal: planned before sent, counted once, remembered over a restart."""

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from sqlalchemy import Table, select

from src.domain.circuit_breaker import BreakerStatus, TripCause, as_row, trip
from src.domain.clock import ManualClock, utc_day, utc_text
from src.domain.market import Candle, Instrument, MarketContext, MarkPrice
from src.domain.orders import Order, OrderIntent, OrderKind, OrderStatus, Purpose, Side, client_id
from src.domain.portfolio import Account, Direction, Position, Trade
from src.domain.ports import Income
from src.execution.journal import Journal, TradeStart, Turn
from src.storage.database import TradingDatabase
from src.storage.journal_repository import DuplicateIntent, JournalRepository
from src.storage.rows import Owner
from src.storage.tables import (
    account_balance,
    circuit_breaker_events,
    daily_performance,
    market_context,
    orders,
    positions,
    signals,
    trades,
    transfers,
)
from src.strategy.decision import Decision, Gate, Observation, Verdict
from src.strategy.indicators import NOT_READY
from src.strategy.q_agent import Action, Recommendation
from src.strategy.signals import Signal, SignalSide, Vote
from tests.stores import STORES, new_store, same_store

NOW = 1_795_343_400_000
DAY = utc_day(NOW)
INSTRUMENT = Instrument(  # type: ignore[call-arg]
    "BTCUSDT",
    "BTC",
    "USDT",
    *(Decimal(each) for each in ("0.1", "0.001", "0.001", "1000", "120", "5", "1", "1000000")),
    1,
    3,
)
CONTEXT = MarketContext(
    65_000.0,
    -2.3,
    None,
    None,
    54.2,
    42,
    "bearish",
    "down_weak",
    "risk_off",
    "medium",
    NOW - 1000,
    "synthetic",
    (("btc_price", "exchange"),),
    (("eth_price", "away"),),
)

Bot = Callable[[], JournalRepository]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW)


@pytest.fixture(params=STORES)
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[TradingDatabase]:
    with closing(new_store(request.param, tmp_path)) as database:
        yield database


@pytest.fixture
def start(database: TradingDatabase, clock: ManualClock) -> Bot:
    """Start the bot (again): a journal that knows only what is on disk."""

    def made() -> JournalRepository:
        database.flush()
        return JournalRepository(database, clock)

    return made


def rows(database: TradingDatabase, table: Table) -> list[dict[str, object]]:
    database.flush()
    with database.read() as connection:
        return [dict(row) for row in connection.execute(select(table).order_by(table.c.id)).mappings()]


def day_row(database: TradingDatabase, symbol: str) -> dict[str, object]:
    return next(row for row in rows(database, daily_performance) if row["symbol"] == symbol)


def intent(purpose: Purpose = Purpose.ENTRY, decided_ms: int = NOW, symbol: str = "BTCUSDT") -> OrderIntent:
    conditional = purpose in {Purpose.STOP, Purpose.TARGET}
    return OrderIntent(
        client_id=client_id("main", symbol, decided_ms, purpose),
        symbol=symbol,
        side=Side.BUY if purpose is Purpose.ENTRY else Side.SELL,
        kind=OrderKind.STOP_MARKET if conditional else OrderKind.MARKET,
        purpose=purpose,
        quantity=Decimal(0) if conditional else Decimal("0.012"),
        decided_ms=decided_ms,
        reduce_only=purpose is Purpose.EXIT,
        trigger_price=Decimal("63000.1") if conditional else None,
        close_position=conditional,
        reason=f"because of {purpose}",
    )


def filled(which: OrderIntent, price: str = "64250.7") -> Order:
    return Order(
        which.client_id,
        "8389765500000000001",
        which.symbol,
        which.side,
        which.kind,
        OrderStatus.FILLED,
        which.quantity,
        which.quantity,
        Decimal(price),
        NOW + 200,
    )


def trade(entry: OrderIntent, **changes: object) -> Trade:
    opened = Trade(
        entry.symbol,
        Direction.LONG,
        Decimal("0.012"),
        Decimal("64250.7"),
        entry.decided_ms,
        10,
        entry.client_id,
        stop_price=Decimal("62965.7"),
        target_price=Decimal("67463.2"),
    )
    return replace(opened, **changes)


def ended(entry: OrderIntent, gross: str = "12.5", fees: str = "0.77", exit_ms: int = NOW + 60_000) -> Trade:
    return trade(
        entry,
        exit_price=Decimal("65000"),
        exit_ms=exit_ms,
        exit_client_id="x",
        exit_reason="signal_sell",
        gross_pnl=Decimal(gross),
        fees=Decimal(fees),
        funding=Decimal("-0.01"),
    )


def turn(now_ms: int = NOW, verdict: Verdict = Verdict.HOLD, veto: str | None = None, strength: int = 3) -> Turn:
    seen = Observation(
        symbol="BTCUSDT",
        now_ms=now_ms,
        candle=Candle(now_ms - 60_000, 1.0, 2.0, 0.5, 64_000.5, 3.0),
        mark=MarkPrice("BTCUSDT", Decimal("64250.7"), Decimal("64251"), Decimal("0.0001"), now_ms + 1, now_ms),
        account=None,
        position=None,
        indicators=NOT_READY._replace(rsi=28.5),
        signal=Signal(SignalSide.BUY, strength, (Vote("rsi", 1, "RSI 28.5"),)),
        recommendation=Recommendation(Action.BUY, 0.41, 17, False, (0.0, 0.1, float("nan"))),
        context=CONTEXT,
        breaker_tripped=False,
        breaker_reason="",
        halt_reason="",
        day_start_equity=None,
        position_opened_ms=None,
        stopping=False,
        instrument=INSTRUMENT,
    )
    gates = (Gate("signal", True, "3 of 3"), Gate("breaker", veto is None, "ARMED"))
    return Turn(seen, Decision(verdict, "A sentence.", veto, gates, Decimal("0.012"), ""), "", 1.25)


def account(as_of_ms: int, equity: str, *held: Position, transferred: str = "0") -> Account:
    return Account(Decimal(equity), Decimal(equity), Decimal(0), as_of_ms, held, Decimal(transferred))


def payment(amount: str, number: int = 1, kind: str = "TRANSFER", time_ms: int = NOW) -> Income:
    return Income(kind, "", Decimal(amount), "USDT", time_ms, str(number))


def test_it_is_a_journal(start: Bot) -> None:
    journal: Journal = start()
    assert isinstance(journal, JournalRepository)


def test_an_entry_is_on_disk_before_it_may_be_sent(database: TradingDatabase, start: Bot) -> None:
    start().plan_order(intent())
    with database.read() as connection:  # no flush: it must be there already
        (row,) = connection.execute(select(orders)).mappings().all()
    assert (row["status"], row["sent_at"], row["timestamp"]) == ("PLANNED", None, utc_text(NOW))


def test_no_intent_is_planned_twice_not_even_by_a_bot_that_was_started_again(start: Bot) -> None:
    start().plan_order(intent())
    with pytest.raises(DuplicateIntent, match="look it up"):
        start().plan_order(intent())


def test_intents_without_an_end_come_back_whole_after_a_restart(start: Bot) -> None:
    journal = start()
    wanted = [intent(), intent(Purpose.STOP, NOW + 5), intent(Purpose.EXIT, NOW + 9)]
    journal.plan_order(wanted[0])
    for each in wanted[1:]:
        journal.note_order(each)
    journal.plan_order(intent(symbol="ETHUSDT"))
    assert journal.unfinished_orders("BTCUSDT") == wanted
    assert start().unfinished_orders("BTCUSDT") == wanted


def test_an_order_that_ended_is_asked_for_no_more(database: TradingDatabase, start: Bot) -> None:
    journal, entry = start(), intent()
    journal.plan_order(entry)
    journal.update_order(entry.client_id, OrderStatus.UNKNOWN, None, Decimal(0), "no answer")
    assert [each.client_id for each in start().unfinished_orders("BTCUSDT")] == [entry.client_id]
    journal.update_order(entry.client_id, OrderStatus.REJECTED, None, Decimal(0), "margin is insufficient")
    assert journal.unfinished_orders("BTCUSDT") == start().unfinished_orders("BTCUSDT") == []
    (row,) = rows(database, orders)
    assert (row["status"], row["finished"], row["refusal"]) == ("REJECTED", True, "margin is insufficient")


def test_a_filled_entry_without_a_trade_is_found_again_until_it_has_one(database: TradingDatabase, start: Bot) -> None:
    journal, entry = start(), intent()
    journal.plan_order(entry)
    journal.update_order(entry.client_id, OrderStatus.FILLED, filled(entry), Decimal("0.38"), "")
    assert journal.unfinished_orders("BTCUSDT") == start().unfinished_orders("BTCUSDT") == [entry]
    journal.open_trade(TradeStart(trade(entry), "s", "t"))
    assert journal.unfinished_orders("BTCUSDT") == start().unfinished_orders("BTCUSDT") == []
    (row,) = rows(database, orders)
    assert (row["average_price"], row["fees"], row["order_id"]) == (
        Decimal("64250.7"),
        Decimal("0.38"),
        "8389765500000000001",
    )


def test_open_trades_come_back_to_the_last_digit_with_their_guards(start: Bot) -> None:
    journal, entry = start(), intent()
    first = TradeStart(trade(entry), "stop-1", "target-1")
    journal.open_trade(first)
    assert start().open_trades("BTCUSDT") == [first]
    moved = TradeStart(replace(first.trade, stop_price=Decimal("63000.5")), "stop-2", "target-2")
    journal.open_trade(moved)
    assert journal.open_trades("BTCUSDT") == start().open_trades("BTCUSDT") == [moved]
    assert start().open_trades("ETHUSDT") == []


def test_a_closed_trade_is_one_row_with_the_result_after_costs(database: TradingDatabase, start: Bot) -> None:
    journal, entry = start(), intent()
    journal.open_trade(TradeStart(trade(entry), "s", "t"))
    journal.close_trade(ended(entry))
    assert journal.open_trades("BTCUSDT") == start().open_trades("BTCUSDT") == []
    (row,) = rows(database, trades)
    assert (row["side"], row["status"], row["pnl"], row["timestamp"], row["stop_client_id"]) == (
        "LONG",
        "closed",
        Decimal("11.72"),
        utc_text(NOW + 60_000),
        "s",
    )


def test_better_figures_of_an_exit_replace_the_former_and_are_counted_once(
    database: TradingDatabase, start: Bot
) -> None:
    journal, entry = start(), intent()
    journal.close_trade(ended(entry, gross="12.5"))
    journal.close_trade(ended(entry, gross="-3", fees="0.8"))
    assert len(rows(database, trades)) == 1
    day = day_row(database, "BTCUSDT")
    assert (day["trades"], day["wins"], day["losses"]) == (1, 0, 1)
    assert (day["realized_pnl"], day["fees"], day["funding"]) == (Decimal("-3.81"), Decimal("0.8"), Decimal("-0.01"))
    assert journal.closed_pnls(10, 0) == [Decimal("-3.81")]


def test_results_come_oldest_first_and_no_more_than_asked(start: Bot) -> None:
    journal = start()
    for minute in range(5):
        journal.close_trade(ended(intent(decided_ms=NOW + minute), gross=str(minute), exit_ms=NOW + minute * 60_000))
    expected = [Decimal(minute) - Decimal("0.78") for minute in range(5)]
    for seen in (journal, start()):
        assert seen.closed_pnls(3, 0) == expected[2:]
        assert seen.closed_pnls(30, NOW + 60_000) == expected[1:]
        assert seen.closed_pnls(0, 0) == []


def test_the_reason_of_the_last_exit_is_remembered(start: Bot) -> None:
    journal, exit_order = start(), intent(Purpose.EXIT, NOW + 7)
    journal.note_order(exit_order)
    assert journal.exit_reason("BTCUSDT", NOW) == ""
    journal.update_order(exit_order.client_id, OrderStatus.FILLED, filled(exit_order), Decimal(0), "")
    for seen in (journal, start()):
        assert seen.exit_reason("BTCUSDT", NOW) == "because of exit"
        assert seen.exit_reason("BTCUSDT", NOW + 8) == ""


def test_a_turn_is_a_row_with_indicators_votes_gates_and_its_context(database: TradingDatabase, start: Bot) -> None:
    database.save_market_context(CONTEXT)
    start().record_turn(turn(veto="breaker"))
    (row,) = rows(database, signals)
    (context,) = rows(database, market_context)
    assert (row["timestamp"], row["instant_ms"], row["price"]) == (utc_text(NOW), NOW, 64250.7)
    assert (row["rsi"], row["macd"], row["signal_type"], row["strength"]) == (28.5, None, "BUY", 3)
    assert row["votes"] == [{"name": "rsi", "vote": 1, "because": "RSI 28.5"}]
    assert row["rl_state"] == {"state": 17, "values": [0.0, 0.1, None]}
    assert (row["gates_failed"], row["veto"], row["decision"], row["acted"]) == (1, "breaker", "HOLD", False)
    assert (row["mode"], row["world"], row["context_id"]) == ("paper", "synthetic", context["id"])


def test_a_turn_that_acted_names_its_order_and_the_trade_names_its_turn(database: TradingDatabase, start: Bot) -> None:
    journal, entry = start(), intent(decided_ms=NOW + 3)
    journal.record_turn(turn(NOW - 60_000))
    entering = turn(verdict=Verdict.ENTER_LONG)
    journal.record_turn(entering)
    journal.plan_order(entry)
    journal.open_trade(TradeStart(trade(entry), "s", "t"))
    journal.settle_turn(entering, acted=True, outcome="")
    idle, acted = rows(database, signals)
    assert (acted["acted"], acted["client_id"]) == (True, entry.client_id)
    assert (idle["acted"], idle["client_id"]) == (False, None)
    assert rows(database, trades)[0]["signal_id"] == acted["id"]


def test_a_turn_that_could_not_act_says_why(database: TradingDatabase, start: Bot) -> None:
    journal, wanted = start(), turn(verdict=Verdict.ENTER_LONG)
    journal.record_turn(wanted)
    journal.settle_turn(wanted, acted=False, outcome="the entry was refused")
    (row,) = rows(database, signals)
    assert (row["acted"], row["outcome"], row["client_id"]) == (False, "the entry was refused", None)


def test_turns_are_counted_as_they_are_written(database: TradingDatabase, start: Bot) -> None:
    journal = start()
    journal.record_turn(turn(strength=3))
    journal.record_turn(turn(NOW + 1, veto="mark", strength=5))
    day = day_row(database, "BTCUSDT")
    assert (day["cycles"], day["buy_signals"], day["hold_signals"], day["vetoed"]) == (2, 2, 0, 1)
    assert (day["strength_sum"], day["confidence_sum"]) == (8, pytest.approx(0.82))


def test_balances_make_the_curve_and_the_day_with_its_drawdown(database: TradingDatabase, start: Bot) -> None:
    journal = start()
    for minute, equity in enumerate(("10000.00000001", "10500", "9450.5", "9900")):
        journal.record_account(account(NOW + minute, equity))
    journal.record_account(account(NOW + 3, "1"))  # the same instant again is no news
    assert [row["equity"] for row in rows(database, account_balance)] == [
        Decimal("10000.00000001"),
        Decimal(10500),
        Decimal("9450.5"),
        Decimal(9900),
    ]
    day = day_row(database, "*")
    assert (day["end_equity"], day["high_equity"], day["low_equity"]) == (
        Decimal(9900),
        Decimal(10500),
        Decimal("9450.5"),
    )
    assert day["drawdown_share"] == pytest.approx(1 - 9450.5 / 10500)


def test_positions_are_those_of_the_last_account_and_foreign_ones_are_marked(
    database: TradingDatabase, start: Bot
) -> None:
    journal, entry = start(), intent()
    journal.open_trade(TradeStart(trade(entry), "s", "t"))
    own = Position(
        "BTCUSDT",
        Direction.LONG,
        Decimal("0.012"),
        Decimal("64250.7"),
        Decimal("64300"),
        Decimal("0.59"),
        10,
        Decimal("58000.5"),
        NOW,
    )
    foreign = replace(own, symbol="ETHUSDT", direction=Direction.SHORT)
    journal.record_account(account(NOW, "10000", own, foreign))
    found = {row["symbol"]: row for row in rows(database, positions)}
    assert (found["BTCUSDT"]["own"], found["BTCUSDT"]["stop_price"]) == (True, Decimal("62965.7"))
    assert (found["ETHUSDT"]["own"], found["ETHUSDT"]["stop_price"]) == (False, None)
    journal.record_account(account(NOW + 1, "10000"))
    assert rows(database, positions) == []


def test_the_first_equity_of_a_day_is_its_start_whatever_comes_later(start: Bot) -> None:
    journal = start()
    journal.record_account(account(NOW, "9000"))  # a row without a start is there already
    assert journal.day_start(DAY, Decimal("10000.12345678")) == Decimal("10000.12345678")
    assert journal.day_start(DAY, Decimal(1)) == start().day_start(DAY, Decimal(2)) == Decimal("10000.12345678")


def test_worlds_are_never_mixed(database: TradingDatabase, clock: ManualClock, start: Bot) -> None:
    journal = start()
    journal.day_start(DAY, Decimal(10_000))
    journal.close_trade(ended(intent()))
    journal.plan_order(intent(decided_ms=NOW + 1))
    database.flush()
    with closing(same_store(database, Owner("main", "live", "live"))) as live:
        real = JournalRepository(live, clock)
        assert real.day_start(DAY, Decimal(50)) == Decimal(50)
        assert real.closed_pnls(10, 0) == real.unfinished_orders("BTCUSDT") == []
        real.plan_order(intent(decided_ms=NOW + 1))  # the id is free there


def test_the_highest_equity_counts_from_the_instant_asked_for(start: Bot) -> None:
    journal, day_ms = start(), 86_400_000
    for instant, equity in ((NOW, "12000"), (NOW + 1000, "10000"), (NOW + day_ms, "11000"), (NOW + 2 * day_ms, "9000")):
        journal.record_account(account(instant, equity))
    again = start()
    assert again.peak_equity(Decimal(9000), NOW) == 12_000
    assert again.peak_equity(Decimal(9000), NOW + 1) == 11_000
    assert again.peak_equity(Decimal(9000), NOW + 2 * day_ms + 1) == 9_000
    assert again.peak_equity(Decimal(9500), NOW + 2 * day_ms + 1) == 9_500


def test_the_daily_row_has_limit_and_transfers(database: TradingDatabase, start: Bot) -> None:
    journal = start()
    journal.limit_hit(DAY, Decimal(500))
    journal.transfers.note(payment("-250.5"), None, counted=True)
    journal.record_account(account(NOW, "9749.5", transferred="-250.5"))
    day = day_row(database, "*")
    assert (day["limit_hit"], day["transfers"]) == (True, Decimal("-250.5"))


def test_a_transfer_is_recorded_once_however_often_it_is_reported(database: TradingDatabase, start: Bot) -> None:
    start().transfers.note(payment("1000"), None, counted=True)
    start().transfers.note(payment("1000"), None, counted=True)  # another process, which found it in the history again
    start().transfers.note(payment("5", number=1, kind="WELCOME_BONUS"), None, counted=True)  # ids are of their kind
    start().transfers.note(payment("7", number=2), None, counted=False)
    database.flush()
    assert [(row["amount"], row["counted"]) for row in rows(database, transfers)] == [
        (1000, True),
        (5, True),
        (7, False),
    ]
    known = start().transfers.known
    assert known.ids == {("TRANSFER", "1"), ("WELCOME_BONUS", "1"), ("TRANSFER", "2")}
    assert (known.total, known.looked_ms) == (Decimal(1005), None)


def test_the_time_of_the_last_transfer_query_survives_a_restart(start: Bot) -> None:
    journal = start()
    journal.record_account(account(NOW, "10000"))
    journal.record_account(account(NOW + 60_000, "10000"))
    assert start().transfers.known.looked_ms == NOW + 60_000


def test_the_days_start_moves_with_the_money_and_not_with_its_day(
    database: TradingDatabase, clock: ManualClock, start: Bot
) -> None:
    """What is kept is the day's first equity; what is told is what was earned until then, over restarts and days."""
    journal = start()
    assert journal.day_start(DAY, Decimal(10_000)) == Decimal(10_000)
    journal.transfers.note(payment("1000"), None, counted=True)
    assert start().day_start(DAY, Decimal(9_990)) == Decimal(10_000)
    clock.advance_to(NOW + 86_400_000)
    again = start()  # 11,020 of equity, 1,000 of which were paid in the day before
    assert again.day_start("2026-11-23", Decimal(10_020)) == Decimal(10_020)
    again.transfers.note(payment("-2000", number=2), None, counted=True)
    assert start().day_start("2026-11-23", Decimal(1)) == Decimal(10_020)
    again.record_account(account(NOW + 86_400_000, "9000", transferred="-1000"))
    days = {row["day"]: row for row in rows(database, daily_performance) if row["symbol"] == "*"}
    assert days["2026-11-23"]["start_balance"] == Decimal(11_020)
    assert days["2026-11-23"]["transfers"] == Decimal(-2_000)


def test_a_withdrawal_is_no_drawdown_and_a_deposit_hides_none(database: TradingDatabase, start: Bot) -> None:
    journal = start()
    for minute, equity, moved in ((0, "10000", "0"), (1, "8000", "-2000"), (2, "7600", "-2000"), (3, "9600", "0")):
        journal.record_account(account(NOW + minute, equity, transferred=moved))
    assert day_row(database, "*")["drawdown_share"] == pytest.approx(0.05)
    assert start().peak_equity(Decimal(9_600), NOW) == Decimal(10_000)


def test_a_new_database_is_armed_and_a_trip_holds_at_once_and_after_a_restart(
    database: TradingDatabase, start: Bot
) -> None:
    journal = start()
    born = journal.breaker()
    assert (born.status, born.version) == (BreakerStatus.ARMED, 1)
    tripped = trip(born, TripCause("drawdown", "Equity fell."), "bot", NOW)
    journal.trip_breaker(tripped)
    assert journal.breaker() == start().breaker() == tripped


def test_a_trip_is_appended_after_concurrent_events(database: TradingDatabase, start: Bot) -> None:
    journal = start()
    born = journal.breaker()
    other = replace(born, version=2, reason="Somebody else was faster.")
    assert database.append_breaker_event(as_row(other), NOW)
    assert not database.append_breaker_event(as_row(other), NOW), "a stale version must not be appended"
    journal.trip_breaker(trip(born, TripCause("stale_data", "Old."), "bot", NOW))
    database.flush()
    assert journal.breaker().tripped
    assert [row["version"] for row in rows(database, circuit_breaker_events)] == [1, 2, 3]


def test_a_breaker_without_an_event_counts_as_tripped(database: TradingDatabase, start: Bot) -> None:
    database.write(lambda connection: connection.execute(circuit_breaker_events.delete()))
    assert start().breaker().tripped


def test_a_trade_without_an_exit_cannot_be_closed(start: Bot) -> None:
    with pytest.raises(ValueError, match="no exit"):
        start().close_trade(trade(intent()))

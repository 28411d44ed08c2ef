"""The account as streamed: each event counts once, late ones turn nothing back, REST has the last word."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.domain.market import MarkPrice
from src.domain.orders import Order, OrderKind, OrderStatus, Side
from src.domain.portfolio import Account, Direction, Position
from src.domain.ports import Income
from src.exchanges.binance.account_state import AccountState
from tests.exchanges.binance.test_mapping import ALGO_FINISHED, TRADE_EVENT

START = 1_789_837_000_000


def book(wallet: str = "1000", positions: tuple[Position, ...] = ()) -> AccountState:
    made = AccountState(quote_asset="USDT", terms=lambda symbol: (10, "CROSSED"))
    made.set_account(Account(Decimal(wallet), Decimal(wallet), Decimal(0), START, positions))
    return made


def position(quantity: str = "2", direction: Direction = Direction.LONG) -> Position:
    entry = Decimal(100)
    return Position("BTCUSDT", direction, Decimal(quantity), entry, entry, Decimal(0), 10, Decimal(91), START)


def update(event_ms: int, wallet: str | None = None, amount: str | None = None, entry: str = "100") -> dict[str, Any]:
    balances = [{"a": "USDT", "wb": wallet, "cw": wallet, "bc": "0"}] if wallet is not None else []
    held = {"s": "BTCUSDT", "pa": amount, "ep": entry, "up": "0", "mt": "cross", "iw": "0", "ps": "BOTH"}
    told = {"m": "ORDER", "B": balances, "P": [held] if amount is not None else []}
    return {"e": "ACCOUNT_UPDATE", "T": event_ms, "E": event_ms, "a": told}


def paid(event_ms: int, wallet: str, amount: str, reason: str = "DEPOSIT") -> dict[str, Any]:
    event = update(event_ms, wallet)
    event["a"]["m"], event["a"]["B"][0]["bc"] = reason, amount
    return event


def income(amount: str, time_ms: int, number: int = 1) -> Income:
    return Income("TRANSFER", "", Decimal(amount), "USDT", time_ms, str(number))


def look(made: AccountState, wallet: str, as_of_ms: int, *rows: Income) -> None:
    made.set_account(Account(Decimal(wallet), Decimal(wallet), Decimal(0), as_of_ms), made.told, rows)


def mark(price: str, time_ms: int = START + 10_000) -> dict[str, MarkPrice]:
    return {"BTCUSDT": MarkPrice("BTCUSDT", Decimal(price), Decimal(price), Decimal(0), 0, time_ms)}


def known(made: AccountState, marks: dict[str, MarkPrice] | None = None) -> Account:
    account = made.account(marks or {})
    assert account is not None
    return account


def test_nothing_is_known_before_the_first_rest_read():
    made = AccountState(quote_asset="USDT", terms=lambda symbol: (10, "CROSSED"))
    made.apply(update(START, "5"))
    assert made.account({}) is None


def test_a_streamed_position_has_our_leverage_and_wants_its_liquidation_price():
    made = book()
    made.apply(update(START + 1, "999", "-2"))
    held = known(made).position("BTCUSDT")
    assert held is not None
    assert (held.direction, held.quantity, held.leverage, held.liquidation_price) == (Direction.SHORT, 2, 10, None)
    assert made.wants_look
    assert known(made).as_of_ms == START + 1


def test_equity_and_free_balance_follow_the_mark_price():
    made = book(positions=(position(),))
    account = known(made, mark("110"))
    assert account.unrealized_pnl == 20
    assert account.equity == 1020
    assert account.available_balance == 1000 + 20 - 2  # margin of 2 at 110 and leverage 10 is 22, it was 20


def test_a_mark_price_older_than_the_position_does_not_value_it():
    made = book()
    made.apply(update(START + 5_000, "999", "2", entry="100"))
    assert known(made, mark("50", START + 4_000)).unrealized_pnl == 0


def test_late_and_double_events_turn_nothing_back():
    made = book()
    newest = update(START + 200, "990", "0")
    for event in (update(START + 100, "995", "2"), newest, update(START + 100, "995", "2"), newest):
        made.apply(event)
    assert known(made).wallet_balance == 990
    assert known(made).positions == ()


def test_an_event_long_before_the_last_rest_read_is_ignored():
    made = book("1000")
    made.apply(update(START - 60_000, "1"))
    assert known(made).wallet_balance == 1000


def test_a_late_event_of_one_symbol_does_not_silence_another():
    made = book()
    other = update(START + 100, None, "3")
    other["a"]["P"][0]["s"] = "ETHUSDT"
    made.apply(update(START + 200, "990", "2"))
    made.apply(other)
    assert {each.symbol for each in known(made).positions} == {"BTCUSDT", "ETHUSDT"}


@given(st.permutations(range(1, 7)), st.lists(st.integers(1, 6), max_size=6))
def test_the_newest_event_wins_in_any_order(order, doubles):
    made = book()
    for step in [*order, *doubles]:
        made.apply(update(START + step, str(1000 - step), str(step)))
    assert known(made).wallet_balance == 994
    assert known(made).positions[0].quantity == 6


@pytest.mark.parametrize(
    ("told", "same"), [((), False), ((position("3"),), False), ((position("2", Direction.SHORT),), False)]
)
def test_a_rest_read_reports_whether_it_matches_the_stream(told, same):
    made = book(positions=(position(),))
    assert made.set_account(Account(Decimal(1000), Decimal(1), Decimal(0), START + 1, told)) is same


def test_a_matching_rest_read_is_reported_as_such():
    made = book(positions=(position(),))
    assert made.set_account(Account(Decimal(1000), Decimal(1), Decimal(7), START + 1, (position(),)))


def test_a_rest_read_that_crossed_with_an_entry_does_not_make_the_account_flat():
    made = book()
    before = made.told
    made.apply(update(START + 1, "999", "2"))
    stale = Account(Decimal(1000), Decimal(1000), Decimal(0), START + 1, ())  # asked, by our clock, at the same instant
    made.set_account(stale, before)
    held = known(made).position("BTCUSDT")
    assert held is not None and held.quantity == 2
    assert (known(made).wallet_balance, made.wants_look) == (999, True)
    made.set_account(Account(Decimal(999), Decimal(979), Decimal(0), START + 2, (position(),)), made.told)
    assert not made.wants_look


def test_a_first_rest_read_that_crossed_with_an_event_is_repeated():
    made = AccountState(quote_asset="USDT", terms=lambda symbol: (10, "CROSSED"))
    before = made.told
    made.apply(update(START, "5"))
    made.set_account(Account(Decimal(9), Decimal(9), Decimal(0), START + 1, ()), before)
    assert made.wants_look and made.account({}) is None


def test_a_new_leverage_is_taken_over():
    made = book(positions=(position(),))
    made.apply({"e": "ACCOUNT_CONFIG_UPDATE", "E": 1, "T": 1, "ac": {"s": "BTCUSDT", "l": 25}})
    assert known(made).positions[0].leverage == 25


def test_a_fill_is_reported_once_even_if_rest_returns_it_again():
    made = book()
    first = made.apply(TRADE_EVENT)
    assert len(first.fills) == len(first.orders) == 1
    again = made.apply(TRADE_EVENT)
    assert (again.fills, again.orders) == ((), ())
    assert made.learn(first.fills, []).fills == ()


def test_a_late_new_does_not_undo_a_filled():
    made = book()
    filled = made.apply(TRADE_EVENT).orders[0]
    late = {**TRADE_EVENT, "o": TRADE_EVENT["o"] | {"x": "NEW", "X": "NEW", "z": "0", "l": "0", "ap": "0"}}
    assert made.apply(late).orders == ()
    assert filled.status is OrderStatus.FILLED
    assert made.open_orders() == []


def test_each_update_of_a_conditional_order_is_reported_once():
    made = book()
    steps = [
        {"X": "NEW", "ai": "", "aq": "0"},
        {"X": "TRIGGERING", "ai": "", "aq": "0"},
        {"X": "TRIGGERED", "aq": "0"},
        {"X": "FINISHED"},
    ]
    events = [{**ALGO_FINISHED, "o": ALGO_FINISHED["o"] | step} for step in steps]
    told = [made.apply(event).orders for event in (*events, *events, *reversed(events))]
    assert [each[0].status for each in told if each] == [
        OrderStatus.NEW,
        OrderStatus.TRIGGERING,
        OrderStatus.TRIGGERING,
        OrderStatus.FILLED,
    ]


def test_an_order_the_exchange_forgot_is_forgotten():
    made = book()
    kept = Order("a", "1", "BTCUSDT", Side.BUY, OrderKind.FOREIGN, OrderStatus.NEW, *[Decimal(1)] * 3, updated_ms=1)
    made.learn([], [kept])
    assert made.open_orders() == [kept]
    made.forget(kept)
    assert made.open_orders() == []


def test_kinds_of_events_we_do_not_know_tell_nothing():
    news = book().apply({"e": "TRADE_LITE", "E": 1})
    assert (news.fills, news.orders) == ((), ())


@pytest.mark.parametrize(("amount", "reason"), [("250", "DEPOSIT"), ("-250", "WITHDRAW")])
def test_money_that_is_paid_changes_the_wallet_and_nothing_that_was_earned(amount, reason):
    """Both change in one and the same account, so that no turn can take a payment for a gain or a loss."""
    made = book()
    made.apply(paid(START + 5, str(1000 + int(amount)), amount, reason))
    account = known(made)
    assert (account.wallet_balance, account.transferred, account.earned) == (1000 + int(amount), int(amount), 1000)
    made.apply(update(START + 9, "900"))  # a loss, after it
    assert known(made).earned == 900 - int(amount)
    assert made.awaits_transfer
    made.confirm_transfers([income(amount, START + 5)])
    assert (made.awaits_transfer, known(made).transferred) == (False, int(amount))


def test_a_transfer_reported_late_or_twice_counts_once():
    made = book()
    made.apply(update(START + 20, "1240"))  # its balance contains what is told after it
    for _ in range(2):
        made.apply(paid(START + 5, "1250", "250"))
    assert (known(made).wallet_balance, known(made).transferred) == (1240, 250)


def test_a_transfer_only_in_the_history_counts_with_the_balance_that_contains_it():
    made = book()
    look(made, "1000", START + 1)
    account = Account(Decimal(900), Decimal(900), Decimal(0), START + 60_000)
    assert not made.is_explained(account)
    look(made, "900", START + 60_000, income("-100", START + 30_000))
    assert (known(made).wallet_balance, known(made).transferred) == (900, -100)
    made.apply(paid(START + 30_000, "900", "-100", "WITHDRAW"))  # the stream wakes up
    assert (known(made).transferred, made.awaits_transfer) == (-100, False)
    look(made, "900", START + 90_000, income("-100", START + 30_000))
    assert known(made).transferred == -100


def test_a_rest_read_is_repeated_if_a_transfer_followed_it():
    """Whether the answer contains what was paid while it was asked for nobody can say."""
    made = book()
    look(made, "1000", START + 1)
    look(made, "1000", START + 60_000, income("500", START + 60_001))
    assert (made.wants_look, known(made).transferred) == (True, 0)
    look(made, "1500", START + 61_000, income("500", START + 60_001))
    assert (made.wants_look, known(made).transferred, known(made).earned) == (False, 500, 1000)


def test_trading_bonuses_and_other_coins_are_no_payments_in():
    made = book()
    look(made, "1000", START + 1)
    rows = [
        Income("FUNDING_FEE", "BTCUSDT", Decimal(-1), "USDT", START + 5, "1"),
        Income("COMMISSION_REBATE", "", Decimal(2), "USDT", START + 5, "2"),
        Income("TRANSFER", "", Decimal(3), "BNB", START + 5, "3"),
    ]
    look(made, "1001", START + 60_000, *rows)
    event = update(START + 60_005, "999")
    event["a"]["m"], event["a"]["B"][0]["bc"] = "FUNDING_FEE", "-2"
    made.apply(event)
    assert (known(made).transferred, known(made).wallet_balance) == (0, 999)


def test_a_smaller_wallet_without_a_reason_is_accepted_only_after_several_reads():
    """The history may be a moment behind: a withdrawal that nobody told of must not look like the day's loss."""
    made = book()
    look(made, "1000", START + 1)
    look(made, "900", START + 60_000)
    assert (made.wants_look, known(made).wallet_balance) == (True, 1000)
    look(made, "900", START + 60_250, income("-100", START + 59_000))
    assert (made.wants_look, known(made).wallet_balance, known(made).earned) == (False, 900, 1000)
    for number in range(4):  # what was lost in trading, on the other hand, stays without a reason
        assert known(made).wallet_balance == 900
        look(made, "850", START + 70_000 + number)
    assert (made.wants_look, known(made).wallet_balance, known(made).earned) == (False, 850, 950)


def test_positions_are_taken_over_while_the_income_history_cannot_be_read():
    """The wallet waits: a withdrawal that nobody has explained must not look like a loss."""
    made = book("1000", (position(),))
    seen = Account(Decimal("400"), Decimal("400"), Decimal(0), START + 60_000, ())
    made.set_positions(seen, made.told)
    now = known(made)
    assert (now.positions, now.wallet_balance, now.as_of_ms) == ((), Decimal("1000"), START)
    made.set_positions(Account(Decimal("400"), Decimal("400"), Decimal(0), START, (position(),)), made.told + 1)
    assert known(made).positions == (), "a look that crossed with news is not taken over"

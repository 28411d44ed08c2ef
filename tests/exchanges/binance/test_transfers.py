"""Money paid in or out: each payment counts once, in whatever order stream and history tell of it."""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from src.domain.clock import DAY_MS
from src.domain.portfolio import KnownTransfers
from src.domain.ports import Income
from src.exchanges.binance.transfers import TransferTracker

NOW = 1_795_343_400_000


def row(amount: int, number: int, time_ms: int = NOW, kind: str = "TRANSFER") -> Income:
    return Income(kind, "", Decimal(amount), "USDT", time_ms, str(number))


def event(amount: int, time_ms: int = NOW) -> dict[str, object]:
    reason = "DEPOSIT" if amount > 0 else "WITHDRAW"
    return {"E": time_ms, "T": time_ms, "a": {"m": reason, "B": [{"a": "USDT", "wb": "1", "bc": str(amount)}]}}


def test_transfers_before_the_very_first_balance_are_recorded_but_do_not_count():
    kept: list[tuple[str, bool]] = []
    book = TransferTracker("USDT", None, lambda income, told_ms, counted: kept.append((income.transaction_id, counted)))
    assert book.learn([row(10_000, 1, NOW - 60_000)], NOW)
    assert book.learn([row(10_000, 1, NOW - 60_000), row(500, 2, NOW + 10)], NOW + 20)
    assert (book.total, kept) == (Decimal(500), [("1", False), ("2", True)])


def test_transfers_while_the_bot_was_stopped_count_at_its_next_start():
    kept: list[str] = []
    known = KnownTransfers(frozenset({("TRANSFER", "1")}), Decimal(100), NOW)
    later = NOW + 3 * DAY_MS
    book = TransferTracker("USDT", known, lambda income, told_ms, counted: kept.append(income.transaction_id))
    assert book.since_ms(later) == NOW - DAY_MS
    assert book.learn([row(100, 1, NOW - 5), row(-30, 2, NOW + DAY_MS)], later)
    assert (book.total, kept) == (Decimal(70), ["2"])
    again = TransferTracker(
        "USDT", KnownTransfers(frozenset({("TRANSFER", "1"), ("TRANSFER", "2")}), book.total, later)
    )
    assert again.learn([row(100, 1, NOW - 5), row(-30, 2, NOW + DAY_MS)], later + 60_000)
    assert again.total == Decimal(70)


def test_the_income_history_is_queried_no_further_back_than_the_exchange_keeps_it():
    book = TransferTracker("USDT", KnownTransfers(looked_ms=NOW - 400 * DAY_MS))
    assert book.since_ms(NOW) == NOW - 89 * DAY_MS


def test_one_number_of_two_kinds_is_two_payments():
    book = TransferTracker("USDT", KnownTransfers(looked_ms=NOW - 1))
    assert book.learn([row(5, 1), row(5, 1, kind="WELCOME_BONUS")], NOW)
    assert book.total == Decimal(10)


def test_the_history_confirms_streamed_transfers_and_others_wait():
    """A row that the stream has not told of may not be in the balance yet."""
    book = TransferTracker("USDT", KnownTransfers(looked_ms=NOW - 1))
    book.stream(event(100))
    book.confirm([row(100, 1), row(7, 2)])
    assert (book.total, book.waiting) == (Decimal(100), False)
    book.stream(event(7))
    book.confirm([row(100, 1), row(7, 2)])
    assert (book.total, book.waiting) == (Decimal(107), False)


amounts = st.lists(st.integers(-3, 3).filter(bool), min_size=1, max_size=6)


@given(amounts, st.data())
def test_each_transfer_counts_once_in_any_order_of_reports(paid, data):
    """Stream and history tell all payments in any order, the history again and again; only their sum remains."""
    kept: list[Income] = []
    book = TransferTracker(
        "USDT", KnownTransfers(looked_ms=NOW - 1), lambda income, told_ms, counted: kept.append(income)
    )
    payments = [(amount, NOW + 2 * number) for number, amount in enumerate(paid)]
    rows = [row(amount, number, time_ms) for number, (amount, time_ms) in enumerate(payments)]
    steps = data.draw(st.permutations([*range(len(paid)), *("confirm", "learn") * 2]))
    for step in steps:
        if step == "confirm":
            book.confirm(rows)
        elif step == "learn":
            assert book.learn(rows, NOW + 100)
        else:
            book.stream(event(*payments[step]))
    book.confirm(rows)
    assert book.total == sum(paid)
    assert not book.waiting
    assert sorted(each.transaction_id for each in kept) == sorted(each.transaction_id for each in rows)

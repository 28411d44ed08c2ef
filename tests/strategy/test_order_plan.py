"""From targets to orders: what every plan must keep, and each reason that a pair is not traded."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.domain.orders import Side
from src.paper_exchange.contracts import CONTRACTS
from src.strategy.order_plan import Holding, plan_portfolio
from src.strategy.targets import Target

BTC = CONTRACTS["BTCUSDT"].rules
DOGE = CONTRACTS["DOGEUSDT"].rules
EQUITY = Decimal(10_000)


def target(weight: float | None, band: float = 0.02, symbol: str = "BTCUSDT") -> Target:
    return Target(symbol, weight, band, "signal 0.50" if weight is not None else "needs history")


def holding(quantity: str, price: str = "50000") -> Holding:
    return Holding(Decimal(quantity), Decimal(price), BTC)


def plan_one(weight: float | None, quantity: str, *, equity: Decimal = EQUITY, refused: str = ""):
    return plan_portfolio([target(weight)], {"BTCUSDT": holding(quantity)}, equity, 3, refused).pairs[0]


@pytest.mark.parametrize(
    ("weight", "held", "orders", "said"),
    [
        (0.10, "0", [("BUY", "0.020", False)], "Opened"),
        (0.10, "0.010", [("BUY", "0.010", False)], "Increased"),
        (0.05, "0.020", [("SELL", "0.010", True)], "Reduced"),
        (0.0, "0.003", [("SELL", "0.003", True)], "Closed"),
        (0.10, "0.018", [], "Not traded: held 9.00% is within 2.00%"),
        (0.0, "0", [], "Flat"),
        (None, "0.020", [], "Not traded: it needs history"),
        (-0.10, "0.020", [("SELL", "0.020", True), ("SELL", "0.020", False)], "Closed and opened the other way"),
    ],
)
def test_a_pair_is_brought_to_its_target(weight, held, orders, said):
    found = plan_one(weight, held)
    assert [(each.side, f"{each.quantity:.3f}", each.reduces) for each in found.orders] == [
        (Side(side), quantity, reduces) for side, quantity, reduces in orders
    ]
    assert found.reason.startswith(said)


def test_refused_entries_let_reductions_pass():
    assert not plan_one(0.10, "0", refused="the circuit breaker is tripped").orders
    assert "circuit breaker" in plan_one(0.10, "0", refused="the circuit breaker is tripped").reason
    assert [each.reduces for each in plan_one(0.05, "0.020", refused="tripped").orders] == [True]
    assert [each.closes for each in plan_one(-0.10, "0.020", refused="tripped").orders] == [True]


def test_too_small_an_account_is_told_what_it_would_need():
    found = plan_one(0.10, "0", equity=Decimal(50))
    assert not found.orders
    said = "Not traded: the smallest order is 50 USDT; a target of 10.00% needs an equity of about 500 USDT."
    assert found.reason == said
    assert plan_one(0.10, "0", equity=Decimal(501)).orders


def test_margin_leaves_increases_out_and_never_reductions():
    pairs = {"BTCUSDT": holding("0"), "DOGEUSDT": Holding(Decimal(100_000), Decimal("0.1"), DOGE)}
    wanted = [target(0.9), target(0.5, symbol="DOGEUSDT")]
    plan = plan_portfolio(wanted, pairs, EQUITY, 1)
    assert [each.symbol for each in plan.orders] == ["DOGEUSDT"]
    assert "margin" in plan.pairs[0].reason


weights = st.floats(-1.0, 1.0).filter(lambda weight: abs(weight) > 1e-6) | st.just(0.0)
quantities = st.integers(-400, 400).map(lambda steps: Decimal(steps) * BTC.step_size)


@given(weights, quantities, st.floats(0.0, 0.2), st.integers(20, 100_000))
def test_every_plan_keeps_its_laws(weight, quantity, band, equity):
    here = Holding(quantity, Decimal(50_000), BTC)
    plan = plan_portfolio([Target("BTCUSDT", weight, band, "")], {"BTCUSDT": here}, Decimal(equity), 125)
    after = quantity
    for order in plan.orders:
        signed = order.quantity if order.side is Side.BUY else -order.quantity
        assert order.quantity > 0
        assert order.quantity % BTC.step_size == 0
        assert after * (after + signed) >= 0, "one order must not go through zero"
        assert order.reduces == (abs(after + signed) < abs(after))
        if not order.reduces:
            assert order.quantity * here.price >= BTC.min_notional
        after += signed
    assert abs(after) * here.price <= max(abs(Decimal(str(weight))) * equity, abs(quantity) * here.price)
    assert [each.reduces for each in plan.orders] == sorted((each.reduces for each in plan.orders), reverse=True)
    if abs(weight - float(quantity * here.price / equity)) <= band and weight:
        assert not plan.orders
    if weight == 0.0:
        assert after == 0

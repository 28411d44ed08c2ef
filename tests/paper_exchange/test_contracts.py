"""The contracts' tables agree with themselves and with the exchange's published figures."""

from decimal import Decimal
from itertools import pairwise

import pytest

from src.paper_exchange.contracts import CONTRACTS, Contract

every_contract = pytest.mark.parametrize("contract", CONTRACTS.values(), ids=CONTRACTS.keys())


@every_contract
def test_the_maintenance_margin_has_no_jump_between_brackets(contract: Contract) -> None:
    for lower, upper in pairwise(contract.brackets):
        assert upper.floor == lower.cap
        assert upper.cum == lower.cum + upper.floor * (upper.maint_share - lower.maint_share)
        assert upper.max_leverage < lower.max_leverage
        assert upper.maint_share > lower.maint_share


@every_contract
def test_every_size_is_a_multiple_of_its_step(contract: Contract) -> None:
    rules = contract.rules
    assert rules.min_quantity % rules.step_size == 0
    assert rules.max_quantity % rules.step_size == 0
    assert rules.tick_size >= Decimal(1).scaleb(-rules.price_precision)
    assert rules.step_size >= Decimal(1).scaleb(-rules.quantity_precision)


def test_the_six_pairs_are_listed() -> None:
    assert set(CONTRACTS) == {"BTCUSDT", "ETHUSDT", "SOLUSDT", "BNBUSDT", "XRPUSDT", "DOGEUSDT"}


@pytest.mark.parametrize(
    ("symbol", "leverage", "notional"),
    [
        ("BTCUSDT", 20, 100_000_000),
        ("BTCUSDT", 21, 70_000_000),
        ("BTCUSDT", 125, 300_000),
        ("DOGEUSDT", 1, 200_000_000),
    ],
)
def test_the_largest_notional_is_that_of_the_highest_bracket_that_grants_the_leverage(
    symbol: str, leverage: int, notional: int
) -> None:
    assert CONTRACTS[symbol].max_notional(leverage) == notional


def test_the_bracket_follows_the_notional() -> None:
    btc = CONTRACTS["BTCUSDT"]
    assert [btc.bracket_of(Decimal(size)).number for size in (1, 300_000, 300_001, 10**10)] == [1, 1, 2, 12]
    assert btc.maint_margin(Decimal(1_000_000)) == Decimal("6500") - 1500

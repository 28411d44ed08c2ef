"""The figures of exits: what is refused, in one sentence, and what is none."""

from decimal import Decimal

import pytest

from src.domain.exit_rules import ExitRules

D = Decimal


@pytest.mark.parametrize(
    ("figures", "told"),
    [
        ({"trailing_stop_share": D("1")}, "trailing_stop_share must lie in"),
        ({"trailing_stop_share": D("-0.1")}, "trailing_stop_share must lie in"),
        ({"trailing_stop_share": D("0.0001")}, "at least 0.0005"),
        ({"trailing_after_share": D("0.01")}, "needs a trailing_stop_share"),
        ({"break_even_after_share": D("1.5")}, "break_even_after_share must lie in"),
        ({"max_holding_ms": -1}, "must not be negative"),
        ({"take_partial": ((D("0"), D("0.5")),)}, "moves between 0 and 1"),
        ({"take_partial": ((D("0.05"), D("0.3")), (D("0.03"), D("0.3")))}, "rise from pair to pair"),
        ({"take_partial": ((D("0.03"), D("0.5")), (D("0.05"), D("0.5")))}, "add up to less than 1"),
        ({"take_partial": ((D("0.03"), D("0")),)}, "above 0"),
        ({"take_partial": tuple((D(n) / 100, D("0.1")) for n in range(1, 7))}, "at most 5 pairs"),
    ],
)
def test_what_cannot_be_is_refused_in_one_sentence(figures, told):
    with pytest.raises(ValueError, match=told):
        ExitRules(**figures)


def test_none_is_none_and_each_is_any():
    assert not ExitRules().any and not ExitRules().moves_stop
    assert ExitRules(max_holding_ms=60_000).any and not ExitRules(max_holding_ms=60_000).moves_stop
    assert ExitRules(break_even_after_share=D("0.01")).moves_stop
    assert ExitRules(trailing_stop_share=D("0.01")).moves_stop
    assert ExitRules(take_partial=((D("0.03"), D("0.5")),)).any

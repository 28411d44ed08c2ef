"""Targets of a user's strategy: what may be traded, and that a failure holds."""

from dataclasses import dataclass

import pytest

from src.domain.errors import StrategyFailed
from src.strategy.targets import PortfolioObservation, Target
from src.strategy.user_strategy import GuardedStrategy, fault_of, misfit

SEEN = PortfolioObservation(0, {"BTCUSDT": (), "ETHUSDT": ()})


def two(weight, band=0.0, reason="because"):
    return [Target("BTCUSDT", weight, band, reason), Target("ETHUSDT", 0.0, 0.0, "flat")]


@pytest.mark.parametrize("weight", [None, 0, 0.3, -3.0, 3])
def test_targets_that_can_be_traded(weight):
    assert fault_of(two(weight), ["BTCUSDT", "ETHUSDT"]) == ""


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (None, "it returned NoneType"),
        (two(float("nan")), "is nan, which is no number"),
        (two(float("inf")), "is inf, which is no number"),
        (two(True), "is True, which is no number"),
        (two(-3.1), "is -3.1 times the equity; at most 3"),
        (two(0.1, band=-1.0), "the band of BTCUSDT is -1.0"),
        (two(0.1, band=float("nan")), "the band of BTCUSDT is nan"),
        (two(0.1, reason=" "), "gives no reason"),
        (two(0.1)[::-1], "in the order BTCUSDT, ETHUSDT"),
        (two(0.1) * 2, "in the order BTCUSDT, ETHUSDT"),
    ],
)
def test_targets_that_cannot_be(found, said):
    assert said in fault_of(found, ["BTCUSDT", "ETHUSDT"])


@dataclass(frozen=True)
class Fixed:
    """A strategy that fails on demand."""

    share: float = 0.2

    name = "fixed"
    candle_interval = "4h"
    warm_up_candles = 1
    pairs = ("BTCUSDT",)

    def targets(self, observation):
        if observation.now_ms == 1:
            raise StrategyFailed("fixed.py: it broke.")
        return tuple(Target(each, self.share, 0.0, "fixed") for each in observation.candles)


def test_a_failure_holds_every_pair_and_the_next_decision_counts_again():
    guarded = GuardedStrategy(Fixed())
    assert (guarded.name, guarded.candle_interval, guarded.warm_up_candles) == ("fixed", "4h", 1)
    assert [each.weight for each in guarded.targets(SEEN)] == [0.2, 0.2]
    held = guarded.targets(PortfolioObservation(1, SEEN.candles))
    assert [(each.symbol, each.weight) for each in held] == [("BTCUSDT", None), ("ETHUSDT", None)]
    assert guarded.failure == "fixed.py: it broke."
    assert [each.weight for each in guarded.targets(SEEN)] == [0.2, 0.2]
    assert guarded.failure == ""


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"candle_interval": "1m"}, "candle_interval is '1m'; known are 3m"),
        ({"warm_up_candles": 0}, "must be a whole number in 1..5,000"),
        ({"warm_up_candles": 2.5}, "must be a whole number"),
        ({"pairs": ["BTCUSDT"]}, "pairs must be a tuple"),
        ({"pairs": ()}, "pairs must be a tuple"),
        ({"limits": 3}, "limits must be PortfolioLimits"),
    ],
)
def test_classes_that_cannot_be_used(changes, said):
    assert misfit(Fixed()) == ""
    assert said in misfit(type("Changed", (Fixed,), changes)())


def test_figures_are_numbers_and_texts():
    assert misfit(Fixed(share=[1])) == "the figure share must be a number, a text, True or False"
    assert "frozen dataclass" in misfit(object())

"""External votes: off by default, weighted, aged, never alone, and no gate gives way to them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.domain.external_signals import ExternalSignal
from src.domain.market import MarketContext
from src.strategy.external_votes import count_external, read_external_votes
from src.strategy.rules import DecisionRules, load_rules
from src.strategy.signals import Signal, SignalSide, Vote
from src.strategy.votes import MOST_VOTES

NOW = 1_000_000_000
RULES = DecisionRules(external_votes=("tv", "mine:2"))


def said(source: str, direction: int, age_ms: int = 1_000, symbol: str = "BTCUSDT") -> ExternalSignal:
    return ExternalSignal(source, symbol, direction, NOW - age_ms)


def context_of(*signals: ExternalSignal) -> MarketContext:
    figures = dict.fromkeys(("market_trend", "btc_trend", "market_regime", "volatility_level"), "unknown")
    return MarketContext(None, None, None, None, None, None, **figures, as_of_ms=NOW, external=signals)


def own(*values: int) -> Signal:
    votes = tuple(Vote(f"v{n}", value, "") for n, value in enumerate(values))
    buys, sells = sum(v > 0 for v in values), sum(v < 0 for v in values)
    side = SignalSide.HOLD
    if buys != sells and max(buys, sells) >= 2:
        side = SignalSide.BUY if buys > sells else SignalSide.SELL
    return Signal(side, max(buys, sells), votes)


def counted(signal: Signal, *signals: ExternalSignal, rules: DecisionRules = RULES) -> Signal:
    return count_external(signal, rules, context_of(*signals), "BTCUSDT", NOW)


def test_no_rule_set_counts_any_by_default() -> None:
    signal = own(1, 1)
    assert counted(signal, said("tv", 1), rules=DecisionRules()) is signal


def test_a_vote_counts_with_its_weight_and_stands_in_the_journal_by_name() -> None:
    found = counted(own(1, 0, 0), said("tv", 1), said("mine", 1))
    assert (found.side, found.strength) == (SignalSide.BUY, 4)
    assert [(vote.name, vote.vote) for vote in found.votes[-2:]] == [("external:tv", 1), ("external:mine", 1)]
    assert "weight 2" in found.votes[-1].because


def test_alone_it_makes_no_signal() -> None:
    found = counted(own(0, 0, 0), said("tv", 1), said("mine", 1))
    assert (found.side, found.strength) == (SignalSide.HOLD, 0)
    against = counted(own(-1, 0, 0), said("tv", 1), said("mine", 1))
    assert (against.side, against.strength) == (SignalSide.HOLD, 1)


@pytest.mark.parametrize(
    "signal",
    [
        said("tv", 1, age_ms=300_001),
        said("tv", 1, age_ms=-1),
        said("tv", 1, symbol="ETHUSDT"),
        said("stranger", 1),
        said("tv", 0),
    ],
)
def test_what_is_old_foreign_or_neutral_counts_nothing(signal: ExternalSignal) -> None:
    assert counted(own(1, 1, 0), signal).strength == 2


def test_the_newest_word_of_a_source_counts() -> None:
    found = counted(own(1, 1, 0), said("tv", 1, 5_000), said("tv", -1, 4_000))
    assert (found.side, found.strength) == (SignalSide.BUY, 2)
    assert found.votes[-2].vote == -1


@pytest.mark.parametrize("written", [["TV"], ["tv:3"], ["tv", "tv:2"], ["tv:0"], [""], ["a" * 25]])
def test_a_wrong_name_or_weight_is_refused(written: list[str]) -> None:
    with pytest.raises(ValueError, match="external_votes"):
        read_external_votes(written)
    with pytest.raises(ValueError, match="external"):
        load_rules(f"external_votes = {written}".replace("'", '"'))


def test_a_rule_file_names_its_sources() -> None:
    rules = load_rules('external_votes = ["tv", "mine:2"]\nexternal_max_age_ms = 60000')
    assert (rules.external_votes, rules.external_max_age_ms) == (("tv", "mine:2"), 60_000)


@given(st.lists(st.sampled_from((-1, 0, 1)), min_size=6, max_size=6), st.integers(-1, 1), st.integers(-1, 1))
def test_up_and_down_are_mirror_images_and_strength_is_bounded(values: list[int], one: int, two: int) -> None:
    up = counted(own(*values), said("tv", one), said("mine", two))
    down = counted(own(*(-v for v in values)), said("tv", -one), said("mine", -two))
    assert up.side.sign == -down.side.sign and up.strength == down.strength <= MOST_VOTES
    if up.side is not SignalSide.HOLD:
        assert up.side.sign in values

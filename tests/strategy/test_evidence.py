"""Evidence can only lower risk: it stops or shrinks entries and increases, and no exit asks it."""

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.domain.evidence import EVERY_COIN, ChartOpinion, NewsEvent, NewsEventKind
from src.domain.market import MarketContext
from src.domain.risk import RiskLimits
from src.strategy.decision import Verdict, decide, load_rules
from src.strategy.evidence import GRADES, EvidenceRules, coin_of, restraints_of
from src.strategy.order_plan import Holding, plan_portfolio
from src.strategy.rules import DecisionRules
from src.strategy.target_rules import load_target_rules
from src.strategy.targets import Target
from tests.strategy.test_decision import BTC, NOW, QUIET, READY_TO_BUY, READY_TO_SELL, holding

HOUR_MS = 3_600_000
LIMITS = RiskLimits()
PLAIN = DecisionRules(allow_short=True)


def event(hours_ago: float = 1.0, coins: tuple[str, ...] = ("BTC",), known_ago: float | None = None) -> NewsEvent:
    at = NOW - int(hours_ago * HOUR_MS)
    known = at if known_ago is None else NOW - int(known_ago * HOUR_MS)
    return NewsEvent(NewsEventKind.HACK, "Bitcoin bridge hacked", "Wire", at, known, coins)


def opinion(advice: str = "SELL", grade: str = "high", minutes_ago: float = 10.0, symbol: str = "BTCUSDT"):
    at = NOW - int(minutes_ago * 60_000)
    return ChartOpinion(at, "15m", "local", advice, grade, Decimal(0), symbol)


def context(regime: str = "unknown", events=(), opinions=()) -> MarketContext:
    return MarketContext(
        None, None, None, None, None, None, "unknown", "unknown", regime, "unknown", NOW,
        events=tuple(events), opinions=tuple(opinions),
    )  # fmt: skip


def rules(**evidence) -> DecisionRules:
    return replace(PLAIN, evidence=EvidenceRules(**evidence))


def gate(decision, name):
    return next(each for each in decision.gates if each.name == name)


def test_by_default_no_evidence_counts_in_any_shipped_rule_set():
    from tests.test_docs import ROOT

    paths = sorted((ROOT / "config" / "rules").glob("*.toml"))
    assert paths
    for path in paths:
        text = path.read_text(encoding="utf-8")
        loaded = load_target_rules(text) if "\nkind" in text else load_rules(text)
        assert not loaded.evidence.active, path.name


def test_evidence_that_does_not_count_changes_nothing_and_is_no_gate():
    loud = replace(READY_TO_BUY, context=context("risk_off", [event()], [opinion()]))
    assert decide(loud, PLAIN, LIMITS) == decide(READY_TO_BUY, PLAIN, LIMITS)


def test_a_news_event_makes_entries_of_its_coin_wait_and_the_journal_holds_the_headline():
    seen = replace(READY_TO_BUY, context=context(events=[event()]))
    decision = decide(seen, rules(news="veto"), LIMITS)
    assert (decision.verdict, decision.veto) == (Verdict.HOLD, "news")
    assert "Bitcoin bridge hacked" in decision.reason and "Wire" in gate(decision, "news").detail
    assert [each.name for each in decision.gates if not each.passed] == ["news"]


@pytest.mark.parametrize(
    "events",
    [
        [],
        [event(coins=("ETH",))],
        [event(hours_ago=24.0)],  # over
        [event(hours_ago=-0.5)],  # dated in the future
        [event(hours_ago=2.0, known_ago=-0.1)],  # not read yet
    ],
)
def test_only_a_present_known_event_of_the_coin_counts(events):
    decision = decide(replace(READY_TO_BUY, context=context(events=events)), rules(news="veto"), LIMITS)
    assert decision.verdict is Verdict.ENTER_LONG and gate(decision, "news").passed


def test_an_event_of_the_exchange_concerns_every_coin_on_both_sides():
    for market in (READY_TO_BUY, READY_TO_SELL):
        seen = replace(market, context=context(events=[event(coins=(EVERY_COIN,))]))
        assert decide(seen, rules(news="veto"), LIMITS).veto == "news"


@pytest.mark.parametrize(
    ("market", "regime", "share"),
    [
        (READY_TO_BUY, "risk_off", 0.5), (READY_TO_BUY, "risk_on", 1.0), (READY_TO_BUY, "unknown", 1.0),
        (READY_TO_SELL, "risk_on", 0.5), (READY_TO_SELL, "risk_off", 1.0),
    ],
)  # fmt: skip
def test_the_regime_halves_or_stops_entries_against_it(market, regime, share):
    whole = decide(market, PLAIN, LIMITS)
    sized = decide(replace(market, context=context(regime)), rules(regime="size"), LIMITS)
    assert sized.verdict is whole.verdict
    expected = BTC.quantity_down(whole.quantity * Decimal(str(share)))
    assert abs(sized.quantity - expected) <= BTC.step_size
    assert ("Smaller" in sized.reason) == (share < 1.0)
    vetoed = decide(replace(market, context=context(regime)), rules(regime="veto"), LIMITS)
    assert (vetoed.verdict is Verdict.HOLD) == (share < 1.0)


@pytest.mark.parametrize(
    ("said", "counts"),
    [
        (opinion(), True), (opinion("HOLD"), False), (opinion("BUY"), False), (opinion(grade="low"), False),
        (opinion(grade=""), False), (opinion(minutes_ago=61), False), (opinion(minutes_ago=-1), False),
        (opinion(symbol="ETHUSDT"), False), (opinion(minutes_ago=59), True), (opinion(grade="medium"), True),
    ],
)  # fmt: skip
def test_a_chart_opinion_counts_while_it_is_fresh_sure_and_of_this_pair(said, counts):
    seen = replace(READY_TO_BUY, context=context(opinions=[said]))
    assert (decide(seen, rules(chart="veto"), LIMITS).veto == "chart") == counts


EVIDENCE = st.builds(
    EvidenceRules,
    news=st.sampled_from(["off", "veto"]), news_hours=st.integers(1, 72),
    regime=st.sampled_from(["off", "size", "veto"]), chart=st.sampled_from(["off", "size", "veto"]),
    chart_confidence=st.sampled_from(GRADES), size_share=st.floats(0.05, 0.95),
)  # fmt: skip
CONTEXTS = st.builds(
    context,
    st.sampled_from(["risk_on", "risk_off", "unknown", ""]),
    st.lists(st.builds(event, st.floats(-2, 80), st.sampled_from([("BTC",), ("ETH",), (EVERY_COIN,)])), max_size=3),
    st.lists(
        st.builds(opinion, st.sampled_from(["BUY", "SELL", "HOLD"]), st.sampled_from(GRADES), st.floats(-5, 90)),
        max_size=2,
    ),
)


@given(EVIDENCE, CONTEXTS, st.sampled_from([READY_TO_BUY, READY_TO_SELL, QUIET]))
def test_no_evidence_opens_what_would_not_be_opened_or_makes_it_larger(counted, known, market):
    before = decide(market, PLAIN, LIMITS)
    after = decide(replace(market, context=known), replace(PLAIN, evidence=counted), LIMITS)
    assert after.verdict in (before.verdict, Verdict.HOLD)
    assert after.quantity <= before.quantity


@given(EVIDENCE, CONTEXTS, st.sampled_from(["28000", "29690", "30000", "31600"]))
def test_no_evidence_changes_what_becomes_of_a_position(counted, known, price):
    held = holding(price)
    assert decide(replace(held, context=known), replace(PLAIN, evidence=counted), LIMITS) == decide(held, PLAIN, LIMITS)


def plan(weight: float, held: str, restraints):
    targets = [Target("BTCUSDT", weight, 0.01, "trends up")]
    here = {"BTCUSDT": Holding(Decimal(held), Decimal(30_000), BTC)}
    return plan_portfolio(targets, here, Decimal(10_000), 3, restraints=restraints).pairs[0]


def held_back(weight: float, **evidence):
    known = context("risk_off", [event()] if evidence.get("news") else [])
    return restraints_of(EvidenceRules(**evidence), known, {"BTCUSDT": weight}, NOW)


def test_a_veto_stops_a_portfolio_s_entry_and_increase_and_says_why():
    for held in ("0", "0.050"):
        pair = plan(0.4, held, held_back(0.4, news="veto"))
        assert not pair.orders
        assert "Not increased" in pair.reason and "Bitcoin bridge hacked" in pair.reason


def test_a_smaller_size_lowers_the_target_and_not_each_step_towards_it():
    entry = plan(0.4, "0", held_back(0.4, regime="size"))
    assert [order.quantity for order in entry.orders] == [Decimal("0.066")]
    assert "50% of the target 40.00%" in entry.reason
    assert not plan(0.4, "0.066", held_back(0.4, regime="size")).orders


@given(EVIDENCE, CONTEXTS, st.floats(-0.6, 0.6), st.integers(-200, 200))
def test_evidence_only_takes_away_from_a_portfolio_s_increases(counted, known, weight, thousandths):
    held = f"{Decimal(thousandths) / 1000}"
    restraints = restraints_of(counted, known, {"BTCUSDT": weight}, NOW)
    before, after = plan(weight, held, None), plan(weight, held, restraints)
    reductions = [order.quantity for order in before.orders if order.reduces]
    increases = sum((order.quantity for order in before.orders if not order.reduces), Decimal(0))
    assert [order.quantity for order in after.orders if order.reduces] == reductions
    assert sum((order.quantity for order in after.orders if not order.reduces), Decimal(0)) <= increases


@pytest.mark.parametrize(
    ("figures", "problem"),
    [
        ('news = "size"', "news must be off or veto"),
        ('regime = "on"', "must each be off, size or veto"),
        ("size_share = 1.0", "size_share"),
        ("news_hours = 0", "news_hours"),
        ('chart_confidence = "sure"', "chart_confidence"),
        ('mood = "veto"', "unknown figure mood in [evidence]"),
        ("news = true", "news in [evidence] must be of kind str"),
    ],
)
def test_a_wrong_evidence_section_is_refused_with_its_figure(figures, problem):
    for text, load in (("", load_rules), ('kind = "trend_portfolio"\n', load_target_rules)):
        with pytest.raises(ValueError, match=problem.replace("[", r"\[").replace("]", r"\]")):
            load(f"{text}[evidence]\n{figures}\n")


def test_an_evidence_section_is_read_in_both_kinds_of_rule_sets():
    section = '[evidence]\nnews = "veto"\nregime = "size"\nsize_share = 0.25\n'
    expected = EvidenceRules(news="veto", regime="size", size_share=0.25)
    assert load_rules(section).evidence == expected
    assert load_target_rules(f'kind = "trend_portfolio"\n{section}').evidence == expected


def test_a_contract_s_coin_is_the_one_that_news_write():
    found = {
        symbol: coin_of(symbol) for symbol in ("BTCUSDT", "1000PEPEUSDT", "ETHUSDC", "1INCHUSDT", "1000000MOGUSDT")
    }
    assert found == {
        "BTCUSDT": "BTC", "1000PEPEUSDT": "PEPE", "ETHUSDC": "ETH", "1INCHUSDT": "1INCH", "1000000MOGUSDT": "MOG",
    }  # fmt: skip

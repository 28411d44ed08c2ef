"""Local sentiment: what it must know, how modifiers work, honest silence, and speed of thought."""

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.news.lexicon import (
    Lexicon,
    LocalSentimentAnalyzer,
    lexicon_from,
    matches,
    parse_lexicon,
    probabilities,
    stem,
    stems,
)
from tests.shared_data import shared_file

SHIPPED = Path(__file__).resolve().parents[2] / "config" / "sentiment_lexicon.toml"
SMALL = {
    "bullish": {"rally": 1.0, "approve": 1.0, "all-time high": 2.0, "high": 0.2, "raise <money>": 1.5},
    "bearish": {"hack": 1.0, "crash": 1.0},
    "neutral": {"guide": 1.0},
    "modifiers": {
        "negations": ["not", "fails to"],
        "intensifiers": {"massive": 1.5},
        "reducers": {"slightly": 0.5},
    },
}


@pytest.fixture(scope="module")
def shipped():
    return LocalSentimentAnalyzer(parse_lexicon(SHIPPED.read_text(encoding="utf-8")))


@pytest.fixture
def small():
    return LocalSentimentAnalyzer(lexicon_from(SMALL))


@pytest.mark.parametrize(
    ("title", "label"),
    [
        ("Bitcoin surges past $70,000 to a new all-time high", "bullish"),
        ("Spot ETF approval sends ether soaring", "bullish"),
        ("Payments firm raises $45 million in Series B funding round", "bullish"),
        ("Short sellers liquidated as bitcoin rallies", "bullish"),
        ("DeFi protocol hacked, attackers drain $30 million", "bearish"),
        ("Exchange halts withdrawals and files for bankruptcy", "bearish"),
        ("SEC sues token issuer over alleged fraud", "bearish"),
        ("Bitcoin plunges in massive selloff", "bearish"),
        ("How does proof of stake work? A guide", "neutral"),
        ("Podcast: what is a rollup?", "neutral"),
    ],
)
def test_plain_news_is_read_as_a_person_would(shipped, title, label):
    assert shipped.analyze(title).label == label


def test_the_shipped_lexicon_is_as_large_as_promised():
    document = tomllib.loads(SHIPPED.read_text(encoding="utf-8"))
    assert len(document["bullish"]) >= 45
    assert len(document["bearish"]) >= 40
    assert len(document["modifiers"]["negations"]) >= 10
    assert document["modifiers"]["intensifiers"]
    assert document["modifiers"]["reducers"]
    assert any(" " in term for term in document["bullish"])


def test_word_forms_are_one_term():
    assert {stem(word) for word in ("surge", "surges", "surged", "surging")} == {"surg"}
    assert {stem(word) for word in ("ban", "bans", "banned", "banning")} == {"ban"}
    assert {stem(word) for word in ("company", "companies", "company's")} == {"company"}
    assert (stem("loss"), stem("losses"), stem("bus")) == ("loss", "loss", "bus")


def test_amounts_shares_numbers_and_questions_become_marks():
    words = stems("Why did it rise 5% to $1.2 billion in 2021?")
    assert words == ["why", "did", "it", "ris", "<percent>", "to", "<money>", "in", "<number>", "<question>"]


def test_the_longest_phrase_wins_and_no_word_counts_twice():
    lexicon = lexicon_from(SMALL)
    assert [match.term for match in matches("Bitcoin's all-time high", lexicon)] == [("all", "tim", "high")]
    assert [match.term for match in matches("a high price", lexicon)] == [("high",)]
    assert [match.term for match in matches("Firm raises $5m", lexicon)] == [("rais", "<money>")]


def test_negation_turns_the_word_around(small):
    assert small.analyze("ETF approved").label == "bullish"
    assert small.analyze("ETF not approved").label == "bearish"
    assert small.analyze("Bitcoin fails to rally").label == "bearish"
    assert small.analyze("The exchange was not hacked").label == "bullish"
    assert small.analyze("not a word of it, and at length it was approved").label == "bullish"


def test_intensifiers_and_reducers_scale(small):
    plain = small.analyze("crash").probability
    assert small.analyze("massive crash").probability > plain > small.analyze("slightly crash").probability


def test_silence_is_neutral_and_says_so(small):
    found = small.analyze("Lorem ipsum dolor")
    assert (found.label, found.score, found.matched) == ("neutral", 0.0, ())
    assert found.confidence == 50
    assert "no word" in found.reason


def test_the_reason_names_the_words_that_decided(small):
    assert small.analyze("Hack and crash").reason == "bearish by: hack, crash"


def test_a_description_adds_evidence_but_counts_half(small):
    assert small.analyze("News", "a hack").label == "bearish"
    assert small.analyze("Rally", "a hack").label == "bullish"
    assert small.analyze("Rally", "x " * 300 + "hack hack hack") == small.analyze("Rally")


@given(st.text(max_size=300), st.text(max_size=300))
def test_any_text_gets_an_answer_in_bounds(title, description):
    found = LocalSentimentAnalyzer(lexicon_from(SMALL)).analyze(title, description)
    assert found.label in {"bullish", "bearish", "neutral"}
    assert 0.0 <= found.probability <= 1.0
    assert -1.0 <= found.score <= 1.0


@given(st.lists(st.tuples(*[st.floats(-200, 200)] * 3), max_size=20))
def test_probabilities_sum_to_one_however_strong_the_words(parts):
    assert sum(probabilities(parts, Lexicon({}, temperature=0.5))) == pytest.approx(1.0)


@given(st.sampled_from(["hack", "crash", "rally", "approve"]), st.integers(1, 5))
def test_more_of_the_same_word_never_weakens_the_answer(word, times):
    analyzer = LocalSentimentAnalyzer(lexicon_from(SMALL))
    once, often = analyzer.analyze(word), analyzer.analyze(" ".join([word] * times))
    assert often.label == once.label
    assert often.probability >= once.probability


def test_batches_keep_their_order(small):
    labels = [each.label for each in small.batch_analyze([("hack", ""), ("rally", ""), ("", "")])]
    assert labels == ["bearish", "bullish", "neutral"]


@pytest.mark.parametrize("weight", [0, -1, "1", True, 1000])
def test_a_weight_that_is_none_is_refused(weight):
    with pytest.raises(ValueError, match="'rally'"):
        lexicon_from({"bullish": {"rally": weight}})


def test_a_term_that_is_too_long_or_empty_is_refused():
    for term in ("one two three four", "..."):
        with pytest.raises(ValueError, match="one to 3 words"):
            lexicon_from({"bullish": {term: 1.0}})


@pytest.mark.long
def test_unseen_headlines_are_judged_far_better_than_by_vader():
    from benchmarks.sentiment import cross_validated, vader
    from benchmarks.sentiment_fit import f1_scores, read_headlines

    headlines = read_headlines(shared_file("headlines_cryptolin_train.csv"))
    answers, confidence = cross_validated(headlines)
    ours, theirs = (
        f1_scores(headlines.labels, answers).mean(),
        f1_scores(headlines.labels, vader(headlines.texts)).mean(),
    )
    assert ours >= 0.59
    assert ours > theirs + 0.1
    sure = confidence >= 0.8
    assert (answers == headlines.labels)[sure].mean() == pytest.approx(confidence[sure].mean(), abs=0.06)

"""Prices: the table's own arithmetic, to the cent."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.llm.pricing import (
    CallShape,
    chart_calls,
    cost_usd,
    known_models,
    monthly_cost_usd,
    news_calls,
    picture_tokens,
    price_of,
)

names = st.sampled_from([each.name for each in known_models()])
tokens = st.integers(0, 10_000_000)


@pytest.mark.parametrize(
    ("model", "width", "height", "count"),
    [
        ("gpt-4o", 1200, 900, 765),
        ("gpt-4o-mini", 1200, 900, 25_501),
        ("gpt-5.4-mini", 1200, 900, 1_786),
        ("gpt-6-luna", 1200, 900, 1_323),
        ("gpt-6-luna", 768, 576, 519),
        ("gpt-6-luna", 512, 512, 308),
        ("gpt-6-luna", 1024, 1024, 1_229),
        ("gpt-6-luna", 1280, 720, 1_104),
        ("gpt-6-luna", 4032, 3024, 2_940),
        ("gpt-4o", 512, 512, 255),
        ("gpt-4o", 4096, 4096, 765),
    ],
)
def test_pictures_cost_the_tokens_that_were_measured(model, width, height, count):
    assert picture_tokens(model, width, height) == count


@pytest.mark.parametrize(
    ("model", "detail", "dollars"),
    [
        ("gpt-4o", "high", "17.75"),
        ("gpt-4o", "low", "12.85"),
        ("gpt-4o-mini", "high", "11.75"),
        ("gpt-4o-mini", "low", "1.96"),
        ("gpt-6-luna", "high", "0.94"),
        ("gpt-5.6-luna", "high", "2.03"),
        ("gpt-6.1-terra", "high", "9.43"),
    ],
)
def test_a_month_of_charts_costs_what_the_table_says(model, detail, dollars):
    cost = monthly_cost_usd(model, chart_calls(15), (1200, 900, detail))
    assert round(cost, 2) == Decimal(dollars)


@pytest.mark.parametrize(
    ("model", "single", "batched"),
    [
        ("gpt-4o", "3.08", "1.19"),
        ("gpt-4o-mini", "0.18", "0.07"),
        ("gpt-6-luna", "0.14", "0.06"),
        ("gpt-6.1-terra", "1.35", "0.56"),
    ],
)
def test_a_month_of_news_costs_what_the_table_says(model, single, batched):
    for batch, dollars in ((1, single), (25, batched)):
        assert abs(monthly_cost_usd(model, news_calls(100, batch)) - Decimal(dollars)) <= Decimal("0.0051")


def test_ten_pairs_cost_ten_times_as_much():
    one, ten = (monthly_cost_usd("gpt-6-luna", chart_calls(15, pairs), (1200, 900, "high")) for pairs in (1, 10))
    assert ten == one * 10


def test_costs_are_exact():
    assert cost_usd("gpt-6-luna", 2023, 40) == Decimal("0.0002223")
    assert cost_usd("gpt-4o", 1000, 0, cached_tokens=1000) == Decimal("0.00125")
    assert cost_usd("gpt-6-luna", 1000, 0, cache_write_tokens=1000) == Decimal("0.000125")


@given(names, tokens, tokens, tokens)
def test_what_comes_from_the_cache_is_never_dearer(name, fresh, cached, output):
    assert cost_usd(name, fresh + cached, output, cached) <= cost_usd(name, fresh + cached, output)


@given(names, tokens, tokens, tokens, tokens)
def test_two_calls_cost_as_much_as_their_sum(name, entry, output, more, longer):
    assert cost_usd(name, entry, output) + cost_usd(name, more, longer) == cost_usd(name, entry + more, output + longer)


@given(names, st.integers(1, 8000), st.integers(1, 8000))
def test_a_larger_picture_of_one_shape_never_costs_less(name, width, height):
    assert picture_tokens(name, width, height) <= picture_tokens(name, width * 2, height * 2)
    assert picture_tokens(name, width, height, "low") <= picture_tokens(name, width, height)


def test_dated_names_are_known_and_strangers_are_not():
    assert price_of("gpt-4o-2024-08-06") == price_of("gpt-4o")
    assert price_of("gpt-4o-mini-2024-07-18").name == "gpt-4o-mini"
    assert price_of("gpt-4o").shutdown == "2027-01-14"
    assert price_of("qwen3-vl:8b") is None
    assert cost_usd("qwen3-vl:8b", 10, 10) is None
    assert picture_tokens("qwen3-vl:8b", 10, 10) is None
    assert monthly_cost_usd("qwen3-vl:8b", chart_calls(15), (10, 10, "high")) is None


def test_nonsense_is_refused():
    for call in (
        lambda: cost_usd("gpt-4o", -1, 0),
        lambda: cost_usd("gpt-4o", 1, 0, 2),
        lambda: picture_tokens("gpt-4o", 0, 5),
        lambda: CallShape(-1, 0, 0),
    ):
        with pytest.raises(ValueError, match=r"below 0|part of|pixel"):
            call()

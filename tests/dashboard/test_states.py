"""Unknown is not empty, empty is not zero, old is not current."""

import pytest

from src.dashboard.states import DataSource, State, age_words, state_of
from src.dashboard.widgets import Card, amount, number, price, result, share

NOW = 1_000_000_000
UP = DataSource("bot", "The bot", NOW - 1_000, "waiting")
SILENT = DataSource("bot", "The bot", NOW - 40_000, "waiting")
STOPPED = DataSource("bot", "The bot", NOW - 1_000, "stopped")
NEVER = DataSource("bot", "The bot")

TABLE = (  # base, age of the data in s, source, state; the page's own script goes through the same table
    ("data", 10, UP, "fresh"),
    ("data", 60, UP, "fresh"),
    ("data", 61, UP, "late"),
    ("data", 180, UP, "late"),
    ("data", 181, UP, "stale"),
    ("empty", 10, UP, "empty"),
    ("empty", 61, UP, "late"),
    ("empty", 181, UP, "stale"),
    ("data", 10, SILENT, "down"),
    ("empty", 10, SILENT, "down"),
    ("data", 500, SILENT, "down"),
    ("data", 10, STOPPED, "down"),
    ("data", 10, NEVER, "fresh"),
    ("unknown", None, UP, "unknown"),
    ("unknown", None, SILENT, "unknown"),
    ("data", None, UP, "unknown"),
    ("error", 10, UP, "error"),
    ("error", None, SILENT, "error"),
)


def card(base: str, age_s: float | None) -> Card:
    return Card("x", "X", base, None if age_s is None else NOW - round(age_s * 1000), 60.0)


@pytest.mark.parametrize(("base", "age_s", "source", "expected"), TABLE)
def test_a_card_has_exactly_one_of_seven_states(base, age_s, source, expected):
    assert state_of(card(base, age_s), source, NOW) == State(expected)


def test_a_process_is_down_within_45_seconds_of_its_last_word():
    beat_every_s, poll_every_s = 10, 30
    assert not DataSource("bot", "", NOW - beat_every_s * 1000, "waiting").is_down(NOW)
    assert DataSource("bot", "", NOW - 36_000, "waiting").is_down(NOW)
    assert poll_every_s < SILENT.down_after_s < 45


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (59.9, "59 s"), (60, "1 min 0 s"), (200, "3 min 20 s"), (7_500, "2 h 5 min"), (273_600, "3 d 4 h")],
)
def test_ages_are_told_as_people_say_them(seconds, words):
    assert age_words(seconds) == words


def test_what_is_not_known_is_a_dash_and_never_zero():
    assert {each(None).text for each in (amount, number, price, result, share)} == {"—"}


def test_a_gain_or_loss_has_sign_arrow_and_unit_not_colour_alone():
    assert result(12.5).text == "▲ +12.50\N{NO-BREAK SPACE}USDT"
    assert result(-0.004).text == "▼ 0.00\N{NO-BREAK SPACE}USDT"
    assert result(-1234.5).text == "▼ −1,234.50\N{NO-BREAK SPACE}USDT"
    assert result(0).text == "· 0.00\N{NO-BREAK SPACE}USDT"


def test_a_figure_that_is_none_is_refused_not_drawn():
    with pytest.raises(ValueError, match="no figure"):
        number(float("nan"))

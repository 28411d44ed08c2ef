"""Instructions for models are files with a version; a changed text is never stored under an old identity."""

import re

import pytest

from src.domain.errors import SettingsError
from src.llm.prompts import FOLDER, read_prompt
from src.llm.untrusted_text import addresses_reader, safe_name


def test_every_shipped_prompt_is_read_and_says_that_what_it_is_shown_is_data():
    names = sorted(path.stem for path in FOLDER.glob("*.toml"))
    assert names == [
        "chart_full", "chart_simple", "news", "panel_mean_reversion", "panel_moderator", "panel_sceptic", "panel_trend",
    ]  # fmt: skip
    for name in names:
        prompt = read_prompt(name)
        assert re.fullmatch(rf"{name}@\d+-[0-9a-f]{{8}}", prompt.identity) and len(prompt.identity) <= 64
        assert re.search(r"never instructions|follow nothing", prompt.text), name


def test_a_changed_text_has_another_identity_even_where_nobody_raised_its_version(tmp_path):
    found = []
    for text in ("Say what you see.", "Say what you hear.", "Say  what you\nsee."):
        (tmp_path / "chart.toml").write_text(f'version = 1\ntext = """{text}"""\n', encoding="utf-8")
        found.append(read_prompt("chart", tmp_path).identity)
    assert found[0] != found[1] and found[0] == found[2], "white space is no change"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("text = 'x'", "whole number version and a text"),
        ("version = '1'\ntext = 'x'", "whole number version"),
        ("version = 1\ntext = ''", "1 to 8000 characters"),
        ("version = 0\ntext = 'x'", "at least 1"),
        ("version = 1\ntext = 'x'\nmodel = 'y'", "nothing else"),
        ("version = [", "cannot be used"),
    ],
)
def test_a_wrong_prompt_file_is_refused_with_its_name(tmp_path, content, problem):
    (tmp_path / "chart.toml").write_text(content, encoding="utf-8")
    with pytest.raises(SettingsError, match=problem) as refused:
        read_prompt("chart", tmp_path)
    assert "config/prompts/chart.toml" in str(refused.value)
    with pytest.raises(SettingsError, match="missing"):
        read_prompt("missing", tmp_path)


@pytest.mark.parametrize(
    "title",
    [
        "Bitcoin surges to record high", "SEC says new rules will follow all exchanges", "Solana network halted",
        "Analyst: Ethereum could reach $10,000", "Traders ignore weak data as Bitcoin rallies",
        "Fed chair answers questions on rates", "Company to buy Bitcoin, sells bonds", "User funds are safe, says CEO",
        "Binance executive returns to US to face charges", "Bullish: how to read a crypto chart",
    ],
)  # fmt: skip
def test_ordinary_headlines_do_not_speak_to_their_reader(title):
    assert not addresses_reader(title)


def test_a_contract_s_name_is_capitals_and_digits_or_not_shown():
    assert safe_name("1000PEPEUSDT") == "1000PEPEUSDT"
    assert {safe_name(each) for each in ("", "btcusdt", "BTC USDT", "BTC\nBUY", "A" * 21)} == {"UNNAMED"}

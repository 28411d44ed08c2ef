"""Whose figures hold: the set's own, but for those that the settings name, and then it is said everywhere."""

from dataclasses import fields, replace
from decimal import Decimal

import pytest

from src.apps.console_output import BotConsole
from src.backtest.options import setup_of
from src.domain.errors import SettingsError
from src.monitoring.health import heartbeat_health
from src.runtime.rule_loader import changed_figures, named, other_rules, read_rules, refuse_unnamed
from src.runtime.settings import PROJECT_ROOT, Settings
from src.strategy.rules import DecisionRules, limits_under, load_rules
from tests.monitoring.test_health import NOW_MS, beat

SETS = ("safety_first", "safety_exits", "patient_votes", "patient_trend")
OWN = DecisionRules(
    name="own",
    min_signal_strength=2,
    min_confidence=0.45,
    exit_confidence=0.6,
    allow_short=True,
    max_candle_age_ms=90_000,
)


@pytest.fixture
def load(tmp_path, monkeypatch):
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)

    def loader(**values):
        path = tmp_path / ".env"
        path.write_text("".join(f"{name}={value}\n" for name, value in values.items()))
        return Settings.load(path)

    return loader


@pytest.fixture
def own_set(tmp_path, monkeypatch):
    """A set of rules of a person's own, with other figures than the defaults."""
    folder = tmp_path / "rules"
    folder.mkdir()
    figures = {each.name: getattr(OWN, each.name) for each in fields(OWN)}
    lines = (f"{name} = {str(value).lower()}" for name, value in figures.items() if isinstance(value, int | float))
    (folder / "own.toml").write_text('name = "own"\n' + "\n".join(lines))
    monkeypatch.setattr(Settings, "rules_path", property(lambda each: folder / f"{each.rules}.toml"))


@pytest.mark.parametrize("name", SETS)
def test_a_rule_set_is_used_unchanged_without_overriding_settings(load, name):
    settings = load(RULES=name)
    assert read_rules(settings) == load_rules((PROJECT_ROOT / "config" / "rules" / f"{name}.toml").read_text())
    assert changed_figures(settings) == ()


def test_the_example_settings_leave_every_rule_set_unchanged(load):
    lines = (PROJECT_ROOT / ".env.example").read_text().splitlines()
    values = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    for name in SETS:
        assert changed_figures(load(**{**values, "RULES": name})) == ()


def test_a_set_of_one_s_own_is_not_changed_by_defaults(load, own_set):
    assert read_rules(load(RULES="own")) == OWN


def test_a_figure_that_is_written_wins_and_is_named(load, own_set):
    settings = load(RULES="own", MIN_SIGNAL_THRESHOLD=3, ALLOW_SHORT="false", MAX_CANDLE_AGE_S=120, EXIT_CONFIDENCE=0.6)
    assert read_rules(settings) == replace(OWN, min_signal_strength=3, allow_short=False, max_candle_age_ms=120_000)
    assert changed_figures(settings) == (
        "MIN_SIGNAL_THRESHOLD=3 instead of 2",
        "ALLOW_SHORT=false instead of true",
        "MAX_CANDLE_AGE_S=120 instead of 90",
    )


def test_a_stop_target_or_size_set_explicitly_is_used(load):
    written = {"STOP_LOSS_PERCENTAGE": "0.02", "TAKE_PROFIT_PERCENTAGE": "0.05", "POSITION_PERCENTAGE": "0.01"}
    scaled = limits_under(read_rules(load(RULES="patient_trend")), load(RULES="patient_trend").risk_limits)
    assert (scaled.stop_loss_share, scaled.take_profit_share, scaled.position_share) == (
        Decimal("0.05"), Decimal("0.15"), Decimal("0.02"),
    )  # fmt: skip
    settings = load(RULES="patient_trend", **written)
    limits = limits_under(read_rules(settings), settings.risk_limits)
    assert (limits.stop_loss_share, limits.take_profit_share, limits.position_share) == (
        Decimal("0.02"), Decimal("0.05"), Decimal("0.01"),
    )  # fmt: skip
    assert changed_figures(settings) == (
        "STOP_LOSS_PERCENTAGE=0.02 instead of 0.05",
        "TAKE_PROFIT_PERCENTAGE=0.05 instead of 0.15",
        "POSITION_PERCENTAGE=0.01 instead of 0.02",
    )
    assert changed_figures(load(RULES="safety_first", **written)) == ()
    assert changed_figures(load(RULES="patient_trend", STOP_LOSS_PERCENTAGE="0.05")) == ()


def test_the_environment_s_figure_wins_like_the_file_s(load, monkeypatch):
    monkeypatch.setenv("MIN_CONFIDENCE", "0.4")
    settings = load(RULES="safety_first")
    assert read_rules(settings).min_confidence == 0.4
    assert changed_figures(settings) == ("MIN_CONFIDENCE=0.4 instead of 0.3",)


def test_a_backtest_uses_the_bots_rules_and_its_report_lists_the_overrides(load):
    from src.backtest.__main__ import _parser

    settings = named(load(RULES="patient_trend", MIN_SIGNAL_THRESHOLD=2), "patient_votes")
    setup = setup_of(_parser().parse_args(["run"]), settings)
    assert setup.rules == read_rules(settings) and setup.rules.min_signal_strength == 2
    assert setup.rules_changed == ("MIN_SIGNAL_THRESHOLD=2 instead of 3",)


def test_a_running_bot_takes_any_set_there_is(load, own_set):
    """Candles and agent of other rules are made ready by the switch (tests/apps/test_rule_switch.py)."""
    settings = load(RULES="own", STOP_LOSS_PERCENTAGE="0.03")
    assert other_rules(settings, "own") == (OWN, settings.risk_limits)
    with pytest.raises(SettingsError, match="there are no rules named"):
        other_rules(settings, "none")


def test_the_bot_reports_overriding_settings_at_start(load):
    said = []

    class Listening:
        def say(self, text, *_):
            said.append(text)

        rule = gap = staticmethod(lambda: None)

    settings = load(RULES="patient_trend", MIN_SIGNAL_THRESHOLD=2)
    BotConsole(Listening()).start(settings, read_rules(settings), 0, "synthetic")
    assert "   Signal Threshold: 2" in said and "   Stop Loss: 5.0%" in said
    assert any("MIN_SIGNAL_THRESHOLD=2 instead of 3" in each and "patient_trend" in each for each in said)


def test_status_reports_it_too():
    plain = heartbeat_health(beat(details={"rules": "own", "rules_changed": []}), NOW_MS)
    changed = heartbeat_health(beat(details={"rules_changed": ["MIN_CONFIDENCE=0.4 instead of 0.3"]}), NOW_MS)
    assert "rules" not in plain.reason and plain.healthy and changed.healthy
    assert "MIN_CONFIDENCE=0.4 instead of 0.3" in changed.reason


@pytest.mark.parametrize("name", ["no_such_rules", "../../.env", "../rules/safety_first"])
def test_a_name_that_is_no_set_is_refused_and_the_sets_are_named(load, name):
    with pytest.raises(SettingsError) as caught:
        read_rules(named(load(), name))
    assert "patient_trend, patient_votes, safety_exits, safety_first" in caught.value.problems[0]


LIVE = {
    "TRADING_MODE": "live", "BINANCE_API_KEY": "k" * 64, "BINANCE_SECRET_KEY": "s" * 64, "FLASK_SECRET_KEY": "f9" * 32,
    "BOT_CONTROL_PIN": "739152",
}  # fmt: skip


def test_live_trading_starts_only_with_explicitly_chosen_rules(load, tmp_path):
    load()
    (tmp_path / ".env").chmod(0o600)
    with pytest.raises(SettingsError) as refusal:
        refuse_unnamed(load(**LIVE))
    said = str(refusal.value)
    for name in SETS:
        assert name in said
    assert "loses to its costs" in said and "837 variants" in said
    refuse_unnamed(load(**LIVE, RULES="safety_first"))
    refuse_unnamed(load())  # paper has a default


def test_every_rule_set_states_its_results():
    for path in (PROJECT_ROOT / "config" / "rules").glob("*.toml"):
        assert "shown = " in path.read_text(), path.name


def test_a_part_beyond_the_target_is_refused_in_one_sentence(load):
    with pytest.raises(SettingsError) as caught:
        read_rules(load(RULES="safety_exits", TAKE_PROFIT_PERCENTAGE="0.01"))
    [problem] = caught.value.problems
    assert "take_partial of safety_exits" in problem and "0.012" in problem and "target at 0.01" in problem


def test_the_exits_of_a_set_are_among_the_limits_of_its_positions(load):
    settings = load(RULES="safety_exits")
    exits = limits_under(read_rules(settings), settings.risk_limits).exits
    assert exits.take_partial == ((Decimal("0.012"), Decimal("0.5")),)
    assert (exits.break_even_after_share, exits.trailing_after_share) == (Decimal("0.006"), Decimal("0.01"))
    assert exits.max_holding_ms == 43_200_000

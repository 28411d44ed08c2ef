"""What the settings promise: the user's names work, nonsense stops the start, and secrets stay secret."""

import os
from decimal import Decimal
from pathlib import Path

import pytest
from dotenv import dotenv_values
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from src.domain.errors import SettingsError
from src.runtime.settings import EXAMPLE_VALUES, PROJECT_ROOT, Settings

# fmt: off
SPEC_NAMES = (
    "BINANCE_API_KEY", "BINANCE_SECRET_KEY", "USE_TESTNET", "TRADING_PAIR", "LEVERAGE", "POSITION_PERCENTAGE",
    "INTERVAL", "MIN_SIGNAL_THRESHOLD", "STOP_LOSS_PERCENTAGE", "TAKE_PROFIT_PERCENTAGE",
    "MAX_DAILY_LOSS_PERCENTAGE", "OPENAI_API_KEY", "NEWSAPI_KEY", "USE_LOCAL_SENTIMENT", "DASHBOARD_PORT",
    "DASHBOARD_HOST", "FLASK_SECRET_KEY", "FLASK_DEBUG", "BOT_CONTROL_PIN", "MCP_PORT", "MCP_HOST",
)
# fmt: on
LIVE = {
    "TRADING_MODE": "live",
    "USE_TESTNET": "false",
    "BINANCE_API_KEY": "k" * 64,
    "BINANCE_SECRET_KEY": "s" * 64,
    "FLASK_SECRET_KEY": "f" * 43,
    "BOT_CONTROL_PIN": "847201",
}


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch):
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def load(tmp_path):
    """Return a function that loads the settings written in a file of the given values."""

    def loader(permissions=0o600, text=None, **values):
        path = tmp_path / ".env"
        path.write_text(text if text is not None else "".join(f"{k}={v}\n" for k, v in values.items()))
        path.chmod(permissions)
        return Settings.load(path)

    return loader


def problems_of(load, **values):
    with pytest.raises(SettingsError) as caught:
        load(**values)
    return caught.value.problems


def test_every_setting_stands_in_the_example_with_its_default_and_nothing_else_does(load):
    example = dotenv_values(PROJECT_ROOT / ".env.example")
    assert {name.upper() for name in Settings.model_fields} == set(example)
    written, default = load(text=(PROJECT_ROOT / ".env.example").read_text()), load()
    for name in Settings.model_fields:
        assert getattr(written, name) == getattr(default, name), name
    assert written.rules_path.is_file()


def test_each_filled_line_of_the_example_really_is_the_default(load):
    example = {name: value for name, value in dotenv_values(PROJECT_ROOT / ".env.example").items() if value}
    for name, value in example.items():
        assert getattr(load(**{name: value}), name.lower()) == getattr(load(), name.lower()), name


def test_an_empty_rules_is_the_portfolio_and_one_named_pair_the_specifications_rule(load):
    six = ("BTCUSDT", "ETHUSDT", "SOLUSDT", "BNBUSDT", "XRPUSDT", "DOGEUSDT")
    assert (load().rules, load().pairs) == ("trend_portfolio", six)
    one = load(TRADING_PAIR="ETHUSDT")
    assert (one.rules, one.pairs) == ("safety_first", ("ETHUSDT",))
    assert "rules" not in one.model_fields_set
    several = load(TRADING_PAIR="ETHUSDT", TRADING_PAIRS="BTCUSDT,ETHUSDT")
    assert (several.rules, several.pairs) == ("trend_portfolio", ("BTCUSDT", "ETHUSDT"))
    assert load(RULES="patient_trend").pairs == ("BTCUSDT",)


def test_the_example_explains_itself():
    lines = (PROJECT_ROOT / ".env.example").read_text().splitlines()
    assert sum(line.startswith("#") for line in lines) >= 40
    assert not any(secret in line for line in lines for secret in EXAMPLE_VALUES if "=" in line and line[0] != "#")


@pytest.mark.parametrize("name", SPEC_NAMES)
def test_every_name_of_the_users_document_is_a_setting(name):
    assert name.lower() in Settings.model_fields


def test_the_users_own_configuration_works_as_printed(load):
    settings = load(
        text="""
TRADING_PAIR=BTCUSDT              # Trading pair
LEVERAGE=10                        # 10x leverage
POSITION_PERCENTAGE=0.05           # 5% of balance per trade
INTERVAL=60                        # 60-second check interval
MIN_SIGNAL_THRESHOLD=3             # Minimum signal strength to trade
STOP_LOSS_PERCENTAGE=0.02          # 2% stop loss
TAKE_PROFIT_PERCENTAGE=0.05        # 5% take profit
MAX_DAILY_LOSS_PERCENTAGE=0.05     # 5% daily loss limit
USE_TESTNET=true                   # Use testnet (ALWAYS start here!)
"""
    )
    assert settings.pairs == ("BTCUSDT",)
    assert settings.rules == "safety_first"
    assert settings.interval_s == 60.0
    assert settings.risk_limits.leverage == 10
    assert settings.risk_limits.stop_loss_share == Decimal("0.02")
    assert settings.mode == "paper"


def test_the_environment_wins_over_the_file(load, monkeypatch):
    monkeypatch.setenv("POSITION_PERCENTAGE", "0.01")
    assert load(POSITION_PERCENTAGE="0.05").position_percentage == Decimal("0.01")


@pytest.mark.parametrize(
    ("values", "mode"),
    [
        ({}, "paper"),
        ({"USE_TESTNET": "false"}, "paper"),
        ({"BINANCE_API_KEY": "k", "BINANCE_SECRET_KEY": "s"}, "testnet"),
        (LIVE | {"TRADING_MODE": ""}, "live"),
        (LIVE | {"TRADING_MODE": "paper", "USE_TESTNET": "true"}, "paper"),
    ],
)
def test_the_mode_follows_keys_and_testnet_switch(load, values, mode):
    assert load(**values).mode == mode


def test_the_account_of_the_mode_is_used(load):
    paper = load(**LIVE | {"TRADING_MODE": "paper", "PAPER_API_KEY": "pk", "PAPER_API_SECRET": "ps"})
    live = load(**LIVE | {"PAPER_API_KEY": "pk", "PAPER_API_SECRET": "ps"})
    assert (paper.exchange_key, paper.exchange_secret) == (SecretStr("pk"), SecretStr("ps"))
    assert (live.exchange_key, live.exchange_secret) == (SecretStr("k" * 64), SecretStr("s" * 64))


def test_nothing_explores_with_an_account(load):
    assert load().exploration_share == 0.0, "the main paper account trades as a live one would"
    assert load(EXPLORATION_RATE="0.02").exploration_share == 0.02
    assert load(**LIVE, EXPLORATION_RATE="0.02").exploration_share == 0.0


def test_all_problems_are_reported_at_once_single_and_joint_ones(load):
    problems = problems_of(load, LEVERAGE="200", TRADING_PAIR="BTC/USDT", LOG_LEVEL="loud", MCP_PORT="5000")
    assert len(problems) == 4
    for name in ("LEVERAGE", "TRADING_PAIR", "LOG_LEVEL", "MCP_PORT"):
        assert any(name in problem for problem in problems), name
    assert all(problem.endswith(".") and "\n" not in problem for problem in problems)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("STOP_LOSS_PERCENTAGE", "2"),
        ("STOP_LOSS_PERCENTAGE", "0"),
        ("TAKE_PROFIT_PERCENTAGE", "NaN"),
        ("POSITION_PERCENTAGE", "0.3"),
        ("INTERVAL", "0"),
        ("INTERVAL", "sixty"),
        ("USE_TESTNET", "perhaps"),
        ("TRADING_MODE", "real"),
        ("TRADING_PAIRS", "BTCUSDT,BTCUSDT"),
        ("DATABASE_URL", "mysql://x"),
        ("DATABASE_URL", "sqlite:///"),
        ("CHART_CANDLE_INTERVAL", "16m"),
        ("TIME_ZONE", "Mars/Base"),
        ("PAPER_HOST", "0.0.0.0"),
        ("PAPER_MARKET", "replay:"),
        ("PAPER_SPEED", "inf"),
        ("PAPER_SPEED", "20000"),
        ("API_CORS_ORIGINS", "*"),
        ("OPENAI_BASE_URL", "file:///etc/passwd"),
        ("DASHBOARD_PORT", "70000"),
        ("RULES", "../../etc/passwd"),
        ("BOT_ID", "a b"),
    ],
)
def test_one_wrong_value_is_one_sentence_that_names_it(load, name, value):
    (problem,) = problems_of(load, **{name: value})
    assert name in problem


def test_a_stop_behind_the_price_of_liquidation_is_refused(load):
    (problem,) = problems_of(load, LEVERAGE="50", MARGIN_TYPE="isolated")
    assert "STOP_LOSS_PERCENTAGE" in problem
    assert "liquidation" in problem


def test_a_mistyped_name_and_a_broken_line_are_noticed(load):
    problems = problems_of(load, text="LEVERGE=5\nthis is = not\nUNRELATED_TOOL=1\n")
    assert len(problems) == 2
    assert any("did you mean LEVERAGE" in problem for problem in problems)
    assert any("line 2" in problem for problem in problems)


def test_live_starts_with_everything_right(load):
    assert load(**LIVE).mode == "live"


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"BINANCE_API_KEY": "your_live_api_key"}, "BINANCE_API_KEY"),
        ({"BINANCE_SECRET_KEY": ""}, "BINANCE_SECRET_KEY"),
        ({"FLASK_SECRET_KEY": "change-this-in-production"}, "FLASK_SECRET_KEY"),
        ({"BOT_CONTROL_PIN": "123456"}, "BOT_CONTROL_PIN"),
        ({"BOT_CONTROL_PIN": ""}, "BOT_CONTROL_PIN"),
        ({"USE_TESTNET": "true"}, "USE_TESTNET"),
        ({"FLASK_DEBUG": "true"}, "FLASK_DEBUG"),
        ({"BINANCE_BASE_URL": "https://fapi.binance.com.evil.example"}, "BINANCE_BASE_URL"),
    ],
)
def test_live_refuses_what_would_cost_money(load, change, named):
    (problem,) = problems_of(load, **LIVE | change)
    assert named in problem


@pytest.mark.parametrize("permissions", [0o644, 0o640, 0o604])
def test_live_refuses_an_env_file_that_others_can_read(load, permissions):
    (problem,) = problems_of(load, permissions=permissions, **LIVE)
    assert "chmod 600" in problem
    assert load(permissions=permissions).mode == "paper"


def test_example_keys_do_not_reach_the_testnet(load):
    problems = problems_of(load, BINANCE_API_KEY="your_testnet_api_key", BINANCE_SECRET_KEY="your_testnet_secret_key")
    assert len(problems) == 2


def test_paper_and_testnet_never_speak_to_the_real_exchange(load):
    (problem,) = problems_of(load, BINANCE_BASE_URL="https://fapi.binance.com")
    assert "BINANCE_BASE_URL" in problem


def test_a_mirror_of_the_real_market_cannot_run_faster(load):
    (problem,) = problems_of(load, PAPER_MARKET="mirror", PAPER_SPEED="60")
    assert "PAPER_SPEED=1" in problem


@pytest.mark.parametrize("name", ["DASHBOARD_HOST", "MCP_HOST"])
def test_remote_access_needs_strong_secrets(load, name):
    problems = problems_of(load, **{name: "0.0.0.0"})
    assert [problem.split()[0] for problem in problems] == ["FLASK_SECRET_KEY", "BOT_CONTROL_PIN"]
    strong = {"FLASK_SECRET_KEY": "f" * 32, "BOT_CONTROL_PIN": "847201"}
    assert load(**{name: "0.0.0.0"}, **strong)
    assert problems_of(load, **{name: "0.0.0.0"}, **strong | {"FLASK_DEBUG": "true"})


def test_relative_places_count_from_the_project_whatever_the_folder(load, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    settings = load()
    assert settings.database_url == f"sqlite:///{PROJECT_ROOT}/trading_bot.db"
    assert settings.model_path == PROJECT_ROOT / "models/rl_trading_model.pkl"
    assert load(DATABASE_URL="sqlite:////var/lib/bot.db").database_url == "sqlite:////var/lib/bot.db"
    assert load(DATABASE_URL="sqlite:///:memory:").database_url == "sqlite:///:memory:"


def test_secrets_show_in_no_text_of_the_settings_and_in_no_problem(load):
    canary = "canary-7f3a9c"
    secret_names = [name for name in Settings.model_fields if isinstance(getattr(load(), name), SecretStr)]
    values = {name.upper(): f"{canary}-{name}-{'x' * 32}" for name in secret_names}
    settings = load(**values, DATABASE_URL=f"postgresql+psycopg://bot:{canary}@db/bot")
    assert canary not in repr(settings) + str(settings)
    assert len(settings.secrets()) == len(secret_names) + 1
    assert all(canary in secret for secret in settings.secrets())
    assert canary not in "".join(problems_of(load, **values, LEVERAGE="0", TRADING_MODE="live"))


def test_the_hash_changes_with_a_setting_and_not_with_a_secret(load):
    usual = load().config_hash()
    assert load(LEVERAGE="11").config_hash() != usual
    assert load(OPENAI_API_KEY="x", CHART_ANALYST="").config_hash() == usual


def test_settings_are_frozen(load):
    with pytest.raises(ValueError, match="frozen"):
        load().leverage = 3


def test_a_missing_file_is_an_empty_one(tmp_path):
    assert Settings.load(tmp_path / "none").leverage == 10


@settings(max_examples=40)  # each loads all settings anew
@given(st.integers(-1000, 1000), st.decimals(-1, 2, places=3))
@example(0, Decimal("0.02"))
@example(1, Decimal("0.999"))
@example(1, Decimal(1))
@example(125, Decimal("0.001"))
@example(125, Decimal("0.02"))
@example(126, Decimal("0.02"))
@example(10, Decimal(0))
def test_what_loads_obeys_the_limits_of_risk(leverage, stop):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LEVERAGE", str(leverage))
        patch.setenv("STOP_LOSS_PERCENTAGE", str(stop))
        try:
            limits = Settings.load(Path(os.devnull)).risk_limits
        except SettingsError as refused:
            assert not (1 <= leverage <= 125 and 0 < stop < 1) or "liquidation" in str(refused)
        else:
            assert (limits.leverage, limits.stop_loss_share) == (leverage, stop)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"TRADING_PAIR": "ETHBTC"}, "TRADING_PAIR is wrong: ETHBTC is not quoted in USDT or USDC"),
        ({"TRADING_PAIRS": "BTCUSDT,ETHUSDC"}, "its contracts are quoted in USDT and USDC"),
        ({"TRADING_PAIR": "BTCUSDC"}, "the paper exchange lists contracts in USDT alone"),
    ],
)
def test_pairs_that_no_one_bot_can_keep_its_books_in_are_refused(load, values, told):
    assert any(told in problem for problem in problems_of(load, **values))


def test_pairs_in_usdc_are_reckoned_in_usdc(load):
    keys = {"BINANCE_API_KEY": "k" * 64, "BINANCE_SECRET_KEY": "s" * 64, "TRADING_MODE": "testnet"}
    assert load(TRADING_PAIRS="BTCUSDC,ETHUSDC", **keys).quote_asset == "USDC"
    assert load().quote_asset == "USDT"

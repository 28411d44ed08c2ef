"""What a month costs: recorded where there is a record, else by the table, and it says which."""

from decimal import Decimal

import pytest

from src.domain.clock import DAY_MS, utc_text
from src.llm.cost_report import current_mode, month_of, read_ledger
from src.runtime.settings import Settings
from src.storage.database import TradingDatabase
from src.storage.rows import ApiUsage

NOW_MS = 1_795_330_800_000


@pytest.fixture
def settings(tmp_path, monkeypatch):
    def load(**environment: str) -> Settings:
        given = {"TRADING_MODE": "paper", "DATABASE_URL": f"sqlite:///{tmp_path}/costs.db", **environment}
        for name, value in ({"TRADING_PAIR": "BTCUSDT"} | given).items():
            monkeypatch.setenv(name, value)
        return Settings.load(tmp_path / "none.env")

    return load


def record(settings, rows):
    database = TradingDatabase(settings.database_url)
    database.migrate()
    for age_days, operation, cost, cached in rows:
        usage = ApiUsage(
            timestamp=utc_text(NOW_MS - int(age_days * DAY_MS)),
            process="chart_analysis_bot",
            service="openai",
            operation=operation,
            model="gpt-6-luna",
            cost_usd=Decimal(cost),
            cached=cached,
        )
        database.record_api_usage(usage)
    database.flush()
    database.close()


def test_without_a_record_the_price_table_speaks(settings):
    loaded = settings()
    cost = month_of("premium", loaded, read_ledger(loaded, NOW_MS))
    assert cost.total_usd == Decimal("1.00")
    assert [line.usd for line in cost.lines] == [Decimal("0.94"), Decimal("0.06"), Decimal(0), Decimal(0)]
    assert "price table" in cost.lines[0].basis
    assert month_of("cost-saving", loaded, read_ledger(loaded, NOW_MS)).total_usd == Decimal("0.94")
    assert month_of("free", loaded, read_ledger(loaded, NOW_MS)).total_usd == Decimal("0.00")


def test_two_pairs_twice_as_often_cost_four_times_as_much(settings):
    loaded = settings(TRADING_PAIRS="BTCUSDT,ETHUSDT", CHART_INTERVAL_MINUTES="5", OPENAI_MODEL="gpt-4o")
    cost = month_of("cost-saving", loaded, read_ledger(loaded, NOW_MS))
    assert cost.total_usd == Decimal("106.49")  # 17.748 x 2 pairs x 3 times as often


def test_a_record_of_days_is_carried_on_to_a_month_and_what_was_cached_is_left_out(settings):
    loaded = settings()
    record(
        loaded, [(10, "chart_full", "0.10", False), (5, "chart_simple", "0.20", False), (4, "chart_full", "9", True)]
    )
    ledger = read_ledger(loaded, NOW_MS)
    line = month_of("cost-saving", loaded, ledger).lines[0]
    assert line.usd == Decimal("0.90")
    assert line.basis == "recorded: 2 calls in 10.0 days"
    assert "price table" in month_of("premium", loaded, ledger).lines[1].basis


def test_a_record_of_hours_is_too_short_to_tell(settings):
    loaded = settings()
    record(loaded, [(0.5, "chart_full", "0.10", False)])
    assert "price table" in month_of("cost-saving", loaded, read_ledger(loaded, NOW_MS)).lines[0].basis


def test_a_model_without_a_price_makes_the_sum_unknown_not_wrong(settings):
    loaded = settings(OPENAI_MODEL="gpt-9-nova")
    cost = month_of("premium", loaded, read_ledger(loaded, NOW_MS))
    assert (cost.lines[0].usd, cost.total_usd) == (None, None)
    own = settings(OPENAI_MODEL="qwen3-vl:8b", OPENAI_BASE_URL="http://localhost:11434/v1")
    assert month_of("cost-saving", own, read_ledger(own, NOW_MS)).lines[0].basis == "your own server"


def test_a_missing_database_is_said_not_hidden(settings):
    ledger = read_ledger(settings(), NOW_MS)
    assert ledger.note.startswith("no record")


@pytest.mark.parametrize(
    ("local", "analyst", "mode"),
    [
        ("false", "", "premium"),
        ("false", "openai", "premium"),
        ("true", "", "cost-saving"),
        ("true", "local", "free"),
        ("false", "local", None),
    ],
)
def test_the_mode_is_read_off_the_settings(settings, local, analyst, mode):
    loaded = settings(USE_LOCAL_SENTIMENT=local, CHART_ANALYST=analyst, OPENAI_API_KEY="k" * 20)
    assert current_mode(loaded) == mode

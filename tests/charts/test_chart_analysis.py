"""Chart analysis as the user's document tests it: what it needs, how it is set, its parts, the whole chain."""

import importlib
import re
from importlib.metadata import version

import pytest

from src.domain.clock import ManualClock
from src.runtime.settings import PROJECT_ROOT, Settings
from tests.chart_samples import wave


@pytest.mark.parametrize("library", ["mplfinance", "matplotlib", "pandas", "openai", "pillow"])
def test_dependencies_are_installed_as_pinned(library):
    pinned = re.search(rf"^{library}==(\S+)", (PROJECT_ROOT / "requirements.txt").read_text(), re.MULTILINE)
    assert pinned is not None, f"{library} is not in requirements.txt"
    assert version(library) == pinned[1]


@pytest.mark.parametrize(
    ("name", "room"),
    [
        ("ChartGenerator", "chart_generator"),
        ("OpenAIAnalyzer", "openai_analyzer"),
        ("ChartAnalysisBot", "chart_analysis_bot"),
        ("read_chart", "charts.rule_based_analyst"),
    ],
)
def test_components_can_be_imported(name, room):
    assert callable(getattr(importlib.import_module(f"src.{room}"), name))


def test_the_environment_decides_who_reads_the_charts(tmp_path, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("CHART_ANALYST", raising=False)
    assert Settings.load(tmp_path / "none").chart_analyst_name == "local", "free without a key"
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test-0123456789")
    assert Settings.load(tmp_path / "none").chart_analyst_name == "openai"
    monkeypatch.setenv("CHART_ANALYST", "local")
    assert Settings.load(tmp_path / "none").chart_analyst_name == "local"


@pytest.mark.long
def test_from_candles_to_the_documents_output(tmp_path):
    from src.charts.analysis_job import record_of
    from src.charts.generator import ChartGenerator
    from src.charts.renderer import resized
    from src.charts.vision_analyst import OpenAIAnalyzer

    generator = ChartGenerator(tmp_path, clock=ManualClock(1_795_305_600_000))
    picture = generator.generate_chart("BTCUSDT", "15m", wave())
    opinion = OpenAIAnalyzer(None, resized).analyze_chart(picture.view, picture.png)
    row = record_of(picture.view, opinion, picture.path.name, 1_795_305_600_000)
    assert row.trend in ("bullish", "bearish", "neutral")
    assert row.recommendation in ("BUY", "SELL", "HOLD")
    assert row.confidence in ("high", "medium", "low")
    assert all(isinstance(level, float) for level in (*row.support_levels, *row.resistance_levels))
    assert set(row.technical_signals) == {"ema_alignment", "rsi_condition", "macd_signal"}
    assert 0 <= row.overall_score <= 10
    assert (tmp_path / row.chart_file).stat().st_size > 10_000


@pytest.mark.long
def test_from_candles_through_the_model_to_the_documents_output(tmp_path):
    from decimal import Decimal

    from src.charts.generator import ChartGenerator
    from src.charts.renderer import resized
    from src.charts.vision_analyst import OpenAIAnalyzer
    from src.llm.budgeted_model import BudgetedModel
    from src.llm.client import OpenAIClient
    from src.llm.usage_ledger import UsageLedger
    from src.storage.database import TradingDatabase
    from tests.standins.openai import KEY, openai_stand_in

    database = TradingDatabase(f"sqlite:///{tmp_path}/t.db")
    database.migrate()
    picture = ChartGenerator(tmp_path).generate_chart("BTCUSDT", "15m", wave())
    with openai_stand_in() as server:
        model = BudgetedModel(OpenAIClient(KEY, server.url), UsageLedger(database, Decimal(3), "test"), "gpt-6-luna")
        opinion = OpenAIAnalyzer(model, resized).analyze_chart(picture.view, picture.png)
    assert (opinion.analyst, opinion.reading.recommendation) == ("openai", "BUY")
    assert Decimal("0.0001") < opinion.cost_usd < Decimal("0.001"), "2,880 of them cost a dollar or two a month"
    database.close()

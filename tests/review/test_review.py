"""Every number of a review is found again in the database, by another library and another way."""

import re
import sqlite3
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from src.domain.clock import DAY_MS, utc_text
from src.domain.forecasts import Forecast, outcome_of
from src.review.__main__ import main
from src.review.figures import GroupFigures, RefusedFigures, ReviewFigures
from src.review.text import suggestion
from src.storage.database import TradingDatabase
from src.storage.forecast_repository import ForecastRepository
from src.storage.rows import ApiUsage
from tests.api.rows import OWNER, fill

HOUR_MS = 3_600_000
END_MS = 1_763_900_000_000 // 60_000 * 60_000
NUMBER = re.compile(r"[-+]?\d[\d.]*\d|\d")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A database of a third of a market day with trades, refusals, costs and forecasts."""
    made = tmp_path / "r.db"
    fill(made, 2_400, 160, END_MS)
    with closing(TradingDatabase(f"sqlite:///{made}", OWNER)) as database:
        for number in range(3):
            spent = ApiUsage(
                timestamp=utc_text(END_MS - (number + 1) * HOUR_MS),
                symbol="BTCUSDT",
                process="chart_analysis_bot",
                service="openai",
                operation="chart",
                model="m",
                cost_usd=Decimal("0.0125"),
            )
            database.record_api_usage(spent)
        said = [Forecast("BTCUSDT", "agent", END_MS - n * HOUR_MS // 3, 900_000, 1, 0.9, 100.0) for n in range(1, 60)]
        ForecastRepository(database).fill([(each, outcome_of(each, 99.0 + n % 4 / 2, 0.0012)) for n, each in
                                           enumerate(said)])  # fmt: skip
        database.flush()
    with closing(sqlite3.connect(made)) as connection, connection:
        connection.execute("UPDATE signals SET price = 60000 + (instant_ms / 60000 * 7919) % 1500")
    return made


def frames(path: Path, first_ms: int, last_ms: int) -> dict[str, pd.DataFrame]:
    with closing(sqlite3.connect(path)) as connection:
        read = {name: pd.read_sql(f"SELECT * FROM {name}", connection) for name in
                ("trades", "signals", "api_usage", "forecasts", "chart_analyses")}  # fmt: skip
    first, last = utc_text(first_ms), utc_text(last_ms)
    for name in ("trades", "api_usage", "forecasts", "chart_analyses"):
        frame = read[name]
        read[name] = frame[(frame.timestamp >= first) & (frame.timestamp < last)]
    read["trades"] = read["trades"][read["trades"].status == "closed"]
    return read


def expected(path: Path, first_ms: int, last_ms: int) -> list[str]:
    """All numbers that a review of the span may hold, as text, from the tables alone."""
    read = frames(path, first_ms, last_ms)
    done, turns = read["trades"], read["signals"]
    turns = turns[(turns.instant_ms >= first_ms) & (turns.instant_ms < last_ms + HOUR_MS)]
    inside = turns[turns.instant_ms < last_ms]
    money = [done.pnl.sum(), done.fees.sum(), done.funding.sum(), *done.groupby("exit_reason").pnl.sum()]
    counts = [len(done), len(inside), *done.exit_reason.value_counts(), 60]
    refused = inside[(inside.veto.fillna("") != "") & inside.signal_type.isin(["BUY", "SELL"])]
    counts.append(len(refused))
    percents = []
    by_pair = {
        symbol: (frame.instant_ms.to_numpy(), frame.price.to_numpy()) for symbol, frame in turns.groupby("symbol")
    }
    for _, group in refused.groupby("veto"):
        results = []
        for row in group.itertuples():
            times, prices = by_pair[row.symbol]
            later = prices[times >= row.instant_ms + HOUR_MS]
            if len(later):
                moved = later[0] / row.price - 1
                results.append((1 if row.signal_type == "BUY" else -1) * moved - 0.0012)
        counts += [len(group), len(results), int((np.array(results) > 0).sum())]
        percents += [f"{100 * np.mean(results):+.4f}"] if results else []
    settled = read["forecasts"][read["forecasts"].status == "settled"]
    keys = ["forecaster", "model", "horizon_s"]
    counts += [len(settled), read["forecasts"].groupby(keys).ngroups]
    for _, group in settled.groupby(keys):
        counts += [len(group), int((group.direction * group.return_share > 0).sum())]
    spent = [f"{each:.4f}" for each in read["api_usage"].groupby("service").cost_usd.sum()]
    analyses = sum((Decimal(str(each)) for each in read["chart_analyses"].cost_usd), Decimal(0))
    spent.append(f"{analyses:.4f}")
    return [*(f"{each:+.4f}" for each in money), *map(str, counts), *percents, *spent]


@pytest.mark.parametrize(("span", "length_ms"), [("day", DAY_MS), ("week", 7 * DAY_MS)])
def test_every_number_of_the_review_is_in_the_database(path, capsys, monkeypatch, span, length_ms):
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{path}")
    assert main([span, "--to", utc_text(END_MS)]) == 0
    told = capsys.readouterr().out
    head, _, body = told.partition("\n")
    assert f"{utc_text(END_MS - length_ms)[:16]} to {utc_text(END_MS)[:16]} UTC" in head
    known = expected(path, END_MS - length_ms, END_MS)
    facts = body.partition("Suggestion:")[0]
    found = NUMBER.findall(facts)
    assert len(found) > 15
    failed = int(re.search(r"(\d+) of \d+ forecasters", facts)[1])
    assert failed == facts.partition("Forecasts:")[2].count(" right")
    unknown = [each for each in found if each not in known and each != str(failed)]
    assert unknown == []
    assert "agent: " in facts and "openai: 0.0375 USD" in facts
    assert all(name in body for name in ("Traded:", "Refused:", "Costs:", "Forecasts:", "Suggestion:"))


def figures(refused=None, trades=0, net="0", fees="0") -> ReviewFigures:
    group = GroupFigures(trades, Decimal(net))
    return ReviewFigures(0, DAY_MS, 10, group, Decimal(fees), Decimal(0), {}, refused or {}, {}, Decimal(0), ())


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (figures({"confidence": RefusedFigures(50, 40, 30, 0.002)}), "Suggestion: MIN_CONFIDENCE. 40 entries"),
        (figures({"confidence": RefusedFigures(50, 29, 30, 0.002)}), "Suggestion: none"),
        (figures({"confidence": RefusedFigures(50, 40, 10, -0.002)}), "Suggestion: none"),
        (figures({"breaker": RefusedFigures(50, 40, 30, 0.002)}), "Suggestion: none"),
        (figures({"regime": RefusedFigures(50, 40, 30, 0.002)}), "Suggestion: [evidence] regime of the rule set. 40"),
        (figures(trades=40, net="-12", fees="10"), "Suggestion: RULES=patient_trend"),
        (figures(trades=40, net="30", fees="10"), "Suggestion: none"),
        (figures(trades=29, net="-12", fees="10"), "Suggestion: none"),
    ],
)
def test_one_suggestion_names_a_setting_only_where_the_figures_speak_for_it(given, words):
    said = list(suggestion(given))
    assert said[0].startswith(words)
    assert ("none" in said[0]) != any("python3 -m src.backtest" in line for line in said)


def test_a_wrong_instant_and_a_database_that_is_not_there_are_said_in_one_sentence(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path}/none.db")
    assert main(["day", "--to", "yesterday"]) in (2, 75)
    assert main(["day", "--to", "2026-01-01"]) == 75
    assert len(capsys.readouterr().err.strip().splitlines()) == 2

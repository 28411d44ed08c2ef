"""The command for a portfolio: reports whose parts agree with one another, and clear sentences for what goes wrong."""

import csv
import json
from decimal import Decimal

import numpy as np
import pytest

from src.backtest.__main__ import main
from src.backtest.portfolio_figures import drops, periods
from src.backtest.portfolio_files import lean_minutes
from src.backtest.portfolio_starts import month_starts
from src.domain.errors import DataRefused
from src.market_data.columns import Candles
from src.market_data.store import MarketStore
from tests.backtest.portfolio_past import START_MS, instant

HOUR = 3_600_000


def hourly(days: int, seed: int, price: float) -> Candles:
    dice = np.random.default_rng(seed)
    count = days * 24
    trend = 0.0003 * np.sin(np.arange(count) / 500.0)
    close = np.round(price * np.exp(np.cumsum(trend + dice.normal(0.0, 0.004, count))), 2)
    opened = np.concatenate((close[:1], close[:-1]))
    zeros = np.zeros(count)
    times = START_MS + HOUR * np.arange(count)
    columns = (times, opened, np.maximum(opened, close), np.minimum(opened, close), close, np.full(count, 5e7 / price))
    return Candles(*columns, zeros.astype(np.int64), zeros, zeros)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A store with hourly candles of two pairs over 330 days, and the reports of one run."""
    folder = tmp_path_factory.mktemp("portfolio")
    store = MarketStore(folder / "data")
    store.merge_candles("BTCUSDT", "1h", hourly(330, 1, 30_000.0))
    store.merge_candles("ETHUSDT", "1h", hourly(330, 2, 2_000.0))
    assert command(folder, "--name", "whole") == 0
    return folder


def command(folder, *words):
    places = ["--reports", str(folder / "reports"), "run", "--data", str(folder / "data")]
    return main([*places, "--strategy", "trend_portfolio", "--pairs", "BTCUSDT,ETHUSDT", *words])


def test_hourly_candles_of_the_store_are_found_and_a_whole_report_is_written(place):
    folder = place / "reports" / "whole"
    facts = json.loads((folder / "summary.json").read_text())
    assert facts["from"][:10] == "2023-03-22"  # 80 days after the first candle
    assert facts["months"][0]["month"] == "2023-03"
    assert facts["decisions"] == 250 * 3
    assert {goal["pair"] for goal in facts["pairs"]} == {"BTCUSDT", "ETHUSDT"}
    assert facts["constant_volatility"]["sharpe"]["value"] is not None
    assert facts["starts_band"]["sharpe"]["lowest"] <= facts["starts_band"]["sharpe"]["highest"]
    page = (folder / "index.html").read_text()
    for heading in ("Equity", "Exposure", "Begun in each month", "Pairs", "Months", "Deepest drawdowns", "Goals"):
        assert heading in page
    assert "http" not in page.replace("http://www.w3.org", "")


def test_the_parts_of_a_report_agree(place):
    folder = place / "reports" / "whole"
    facts = json.loads((folder / "summary.json").read_text())
    gain = facts["end_equity"] - facts["start_equity"]
    assert sum(pair["pnl"] for pair in facts["pairs"]) == pytest.approx(gain, abs=1e-6)
    assert np.prod([1 + month["return_share"] for month in facts["months"]]) - 1 == pytest.approx(facts["return_share"])
    costs = facts["costs"]
    assert costs["before_costs"] + costs["slippage"] + costs["fees"] + costs["funding"] == pytest.approx(costs["net"])
    assert costs["net"] == pytest.approx(gain)
    rows = list(csv.DictReader((folder / "trades.csv").open()))
    assert len(rows) == facts["trades"]["trades"] + facts["open_trades"] > 3
    pnl = sum(Decimal(row["pnl"]) for row in rows if row["exit_time"])
    assert float(pnl) == pytest.approx(facts["trades"]["net_pnl"], abs=1e-6)
    decisions = list(csv.DictReader((folder / "decisions.csv").open()))
    assert len(decisions) == facts["decisions"] * 2
    assert all(row["reason"].endswith(".") for row in decisions)
    assert {bool(row["orders"]) for row in decisions} == {True, False}


def test_a_report_can_be_compared(place, capsys):
    assert main(["--reports", str(place / "reports"), "compare", "whole"]) == 0
    assert "trend_portfolio" in (place / "reports" / "comparison" / "index.html").read_text()


def test_the_environment_wins_over_the_rule_set_and_it_is_said(place, capsys, monkeypatch):
    monkeypatch.setenv("MAX_DAILY_LOSS_PERCENTAGE", "0.03")
    assert command(place, "--no-starts", "--name", "other") == 0
    said = capsys.readouterr().out
    assert "MAX_DAILY_LOSS_PERCENTAGE=0.03 instead of 0.05" in said
    facts = json.loads((place / "reports" / "other" / "summary.json").read_text())
    assert facts["limits"]["max_daily_loss_share"] == 0.03


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--strategy", "nonsense"], 78, "available: trend_portfolio"),
        (["--pairs", "SOLUSDT"], 65, "The store has no candles of SOLUSDT"),
        (["--from", "2029-01"], 65, "no candles in that span"),
        (["--candles", "/nowhere/BTCUSDT-1m.csv"], 65, "no file of ETHUSDT"),
        (["--pairs", "BTCUSDT", "--candles", "/nowhere/BTCUSDT-1m.csv"], 65, "no such file"),
    ],
)
def test_what_goes_wrong_is_said_in_one_sentence(place, capsys, words, code, said):
    assert command(place, "--no-starts", *words) == code
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_a_limit_that_cannot_be_is_refused_with_its_name(place, capsys, monkeypatch):
    monkeypatch.setenv("LEVERAGE", "20")
    assert command(place, "--no-starts") == 78
    assert "stop_loss_share must be below 1 / leverage" in capsys.readouterr().err


def test_candles_longer_than_the_strategy_s_are_refused(tmp_path):
    days = hourly(60, 1, 100.0)
    rows = (f"{START_MS + 86_400_000 * number},1,1,1,1,1" for number in range(len(days) // 24))
    path = tmp_path / "BTCUSDT-1d.csv"
    path.write_text("\n".join(rows))
    with pytest.raises(DataRefused, match="can be foretold"):
        lean_minutes([path], "8h")


def test_month_starts_leave_half_a_year():
    found = month_starts(instant("2023-01-15"), instant("2024-01-01"))
    assert found[0] == instant("2023-02-01")
    assert found[-1] == instant("2023-07-01")


def test_drops_are_found_with_their_ends():
    equity = np.array([100.0, 110.0, 99.0, 104.5, 111.0, 105.45, 111.0, 88.8, 90.0])
    found = drops(np.arange(9) * 60_000, equity)
    assert [round(each.depth_share, 4) for each in found] == [0.2, 0.1, 0.05]
    assert found[0].end_ms is None
    assert (found[1].start_ms, found[1].deepest_ms, found[1].end_ms) == (60_000, 120_000, 240_000)


def test_the_first_month_is_that_of_the_span(place):
    class Outcome:
        start_equity = 100.0
        instants = instant("2023-02-01") + 60_000 * np.arange(1, 60 * 24 * 40)
        equity = np.linspace(100.0, 110.0, len(instants))
        trades = ()

    assert [row["month"] for row in periods(Outcome, "M")] == ["2023-02", "2023-03"]

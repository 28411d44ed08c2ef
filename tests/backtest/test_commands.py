"""The command writes what it promises: a page that needs nothing from anywhere, trades, summary; and honest codes."""

import csv
import json
import re

import pytest

from src.backtest.__main__ import main
from src.market_data.columns import Candles
from src.market_data.store import MarketStore
from tests.candles import START_MS, random_candles

pytestmark = pytest.mark.long
MARKET = ["--train-days", "1", "--exploration", "0.5", "--breaker", "off"]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("past")
    MarketStore(folder / "data").merge_candles("BTCUSDT", "1m", Candles.of(random_candles(7_000, seed=9)))
    return folder


def command(place, record, *words):
    data = [] if record == "compare" else ["--data", str(place / "data"), *MARKET]
    return main(["--reports", str(place / "reports"), record, *data, *words])


@pytest.fixture(scope="module")
def report(place):
    assert command(place, "run", "--name", "one") == 0
    return place / "reports" / "one"


def test_the_page_stands_alone_and_shows_everything(report):
    page = (report / "index.html").read_text()
    assert not re.search(r"<script|<link|@import|url\(|(src|href)=", page)
    for heading in ("Equity", "Drawdown", "Trades on the price", "Months", "How trades ended", "Where the money went"):
        assert f"<h2>{heading}" in page
    assert page.count("<svg") == 3
    assert "always flat" in page
    assert "What this rests on" in page


def test_trades_and_summary_agree(report):
    trades = list(csv.DictReader((report / "trades.csv").open()))
    facts = json.loads((report / "summary.json").read_text())
    assert len(trades) == facts["trades"]["trades"] > 0
    assert sum(float(row["pnl"]) for row in trades) == pytest.approx(facts["trades"]["net_pnl"], abs=1e-6)
    assert sum(each["trades"] for each in facts["exit_reasons"].values()) == len(trades)
    assert facts["costs"]["net"] == pytest.approx(facts["trades"]["net_pnl"], abs=1e-6)
    assert facts["costs"]["before_costs"] + facts["costs"]["slippage"] + facts["costs"]["fees"] + facts["costs"][
        "funding"
    ] == pytest.approx(facts["costs"]["net"], abs=1e-6)
    months = 1.0
    for row in facts["months"]:
        months *= 1.0 + row["return_share"]
    assert months - 1.0 == pytest.approx(facts["return_share"], abs=1e-9)
    regimes = 1.0
    for row in facts["regimes"]:
        regimes *= 1.0 + row["return_share"]
    assert regimes - 1.0 == pytest.approx(facts["return_share"], abs=1e-9)


def test_every_turn_by_the_trader_gives_the_same_report(place, report):
    assert command(place, "run", "--name", "slow", "--every-turn", "--to", "2023-11-17") == 0
    assert command(place, "run", "--name", "fast", "--to", "2023-11-17") == 0
    slow, fast = ((place / "reports" / name / "trades.csv").read_text() for name in ("slow", "fast"))
    assert slow == fast
    assert slow.count("\n") > 1


def test_reports_side_by_side(place, report, capsys):
    assert command(place, "run", "--name", "two", "--taker-fee", "0") == 0
    assert command(place, "compare", "one", "two", "--name", "both") == 0
    page = (place / "reports" / "both" / "index.html").read_text()
    assert "one" in page
    assert "two" in page
    assert "Sharpe" in capsys.readouterr().out


def test_a_sweep_and_a_walk_by_command(place, capsys):
    assert command(place, "sweep", "--grid", "min_signal_strength=2,3", "--name", "s") == 0
    assert "2 variants tried" in capsys.readouterr().out
    assert (place / "reports" / "s" / "ranking.csv").read_text().count("\n") == 3
    assert command(place, "walk-forward", "--test-days", "1", "--name", "w") == 0
    facts = json.loads((place / "reports" / "w" / "summary.json").read_text())
    assert len(facts["folds"]) >= 2
    assert facts["variants_tried"] == 1


@pytest.mark.parametrize(
    ("record", "words", "code"),
    [
        ("run", ["--pair", "ETHUSDT"], 65),
        ("run", ["--rules", "no_such_rules"], 78),
        ("run", ["--from", "soon"], 78),
        ("run", ["--from", "2031-01"], 65),
        ("run", ["--name", "../x"], 78),
        ("run", ["--model", "/nowhere.pkl"], 65),
        ("sweep", [], 78),
        ("sweep", ["--grid", "stop_loss_share=7"], 78),
        ("compare", ["no-report"], 65),
    ],
)
def test_what_goes_wrong_is_said_in_one_sentence(place, capsys, record, words, code):
    assert command(place, record, *words) == code
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "Traceback" not in said


def test_a_bad_file_is_refused(place, capsys, tmp_path):
    bad = tmp_path / "BTCUSDT-1m.csv"
    bad.write_text("open_time,open,high,low,close,volume\n1,2,3,4,5,six\n")
    assert command(place, "run", "--candles", str(bad)) == 65
    assert "BTCUSDT-1m.csv" in capsys.readouterr().err


@pytest.fixture(scope="module")
def quarters(tmp_path_factory):
    """Fifteen-minute candles of three months."""
    path = tmp_path_factory.mktemp("coarse") / "BTCUSDT-15m.csv"
    made = enumerate(random_candles(9_000, seed=2), START_MS // 900_000)
    rows = (each._replace(open_ms=900_000 * number) for number, each in made)
    path.write_text("\n".join(",".join(str(value) for value in each[:6]) for each in rows))
    return str(path)


@pytest.mark.parametrize(
    ("record", "words", "named"),
    [
        ("run", ["--rules", "safety_first"], "1m"),
        ("walk-forward", ["--rules", "safety_first"], "1m"),
        ("sweep", ["--rules", "patient_votes", "--grid", "candle_interval=1h,5m"], "5m"),
    ],
)
def test_rules_that_could_foretell_their_candles_are_refused(place, capsys, quarters, record, words, named):
    assert command(place, record, "--candles", quarters, *words) == 65
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f"decides on {named} candles and there are 15m ones" in said


def test_rules_that_decide_on_candles_as_long_are_not(place, quarters):
    assert command(place, "run", "--candles", quarters, "--rules", "patient_votes", "--name", "coarse") == 0


def test_breaking_off_is_130(place, capsys, monkeypatch):
    def broken_off(*_args, **_kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("src.backtest.__main__.run_backtest", broken_off)
    assert command(place, "run") == 130

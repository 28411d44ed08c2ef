"""What a backtest is given: candles of any stored length, files of its own contract, numbers within bounds."""

import json
from datetime import UTC, datetime
from decimal import Decimal

import numpy as np
import pytest

from src.backtest.__main__ import _parser, main
from src.backtest.engine import run_backtest
from src.backtest.options import past_of, setup_of
from src.backtest.performance import summary
from src.backtest.result import daily_closes
from src.domain.clock import DAY_MS, utc_text
from src.domain.errors import DataRefused
from src.domain.funding import HOUR_MS
from src.domain.market import Candle
from src.market_data.__main__ import main as market_data
from src.market_data.columns import Candles
from src.market_data.store import MarketStore
from src.runtime.settings import Settings
from src.strategy.rules import DecisionRules
from tests.backtest.past import busy, explorer
from tests.candles import START_MS, random_candles
from tests.market_data.archive_stand_in import archive_stand_in
from tests.market_data.contract_lists import INVENTED, answers

MIDNIGHT = -(-START_MS // DAY_MS) * DAY_MS
MINUTES = [
    each._replace(open_ms=MIDNIGHT + 60_000 * number) for number, each in enumerate(random_candles(4_400, seed=4))
]

CALM = busy(stop_loss_share=Decimal("0.05"), take_profit_share=Decimal("0.08"), max_daily_loss_share=Decimal("0.5"))


def command(tmp_path, *words, command="run"):
    return _parser().parse_args([command, "--data", str(tmp_path / "data"), "--train-days", "0", *words])


def joined(part):
    """Return one candle of several minutes."""
    high, low = max(each.high for each in part), min(each.low for each in part)
    return Candle(part[0].open_ms, part[0].open, high, low, part[-1].close, sum(each.volume for each in part))


def longer(minutes, count):
    """Return candles of ``count`` minutes each."""
    return [joined(minutes[at : at + count]) for at in range(0, len(minutes) - count + 1, count)]


def csv(path, candles):
    path.write_text("".join(",".join(map(str, each[:6])) + "\n" for each in candles))
    return str(path)


def test_candles_of_any_stored_length_are_found_and_the_shortest_that_reach_back_are_taken(tmp_path):
    store = MarketStore(tmp_path / "data")
    store.merge_candles("BTCUSDT", "15m", Candles.of(longer(MINUTES, 15)))
    slow = [DecisionRules(candle_interval="1h")]
    found = past_of(command(tmp_path), slow)
    assert len(found.candles) > 4_000 and "BTCUSDT-15m.parquet" in found.understood[0]
    store.merge_candles("BTCUSDT", "1m", Candles.of(MINUTES[2_900:]))
    assert "BTCUSDT-1m.parquet" in past_of(command(tmp_path), slow).understood[0]
    early = utc_text(MIDNIGHT + DAY_MS)[:10]
    assert "BTCUSDT-15m.parquet" in past_of(command(tmp_path, "--from", early), slow).understood[0]
    with pytest.raises(DataRefused, match="and there are 15m ones"):
        past_of(command(tmp_path, "--from", early), [DecisionRules(candle_interval="5m")])


def test_spot_alone_is_not_traded_in_silence(tmp_path):
    from src.domain.candle_names import SeriesKind

    MarketStore(tmp_path / "data").merge_candles("BTCUSDT", "1m", Candles.of(MINUTES), SeriesKind.SPOT)
    with pytest.raises(DataRefused, match="Only spot candles of BTCUSDT are stored") as refusal:
        past_of(command(tmp_path), [])
    path = str(refusal.value).rpartition("--candles ")[2].rstrip(".")
    said = past_of(command(tmp_path, "--candles", path), []).understood
    assert "spot prices" in said[0]


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("--pair", "BTCUSDT", "--candles", "ETHUSDT-1m-2023-11.csv"), "is of ETHUSDT by its name, and the run is"),
        (("--candles", "ETHUSDT-1m-2023-11.csv", "BTCUSDT-1m-2023-11.csv"), "BTCUSDT and ETHUSDT"),
        (("--candles", "BTCUSDT-1m-2023-11.csv", "--funding", "ETHUSDT-fundingRate-2023-11.csv"), "ETHUSDT"),
        (("--pair", "BTCUSDT", "--funding", "ETHUSDT-fundingRate-2023-11.csv"), "is of ETHUSDT"),
    ],
)
def test_files_of_another_contract_are_noticed(tmp_path, monkeypatch, words, named):
    monkeypatch.chdir(tmp_path)
    for name in ("ETHUSDT-1m-2023-11.csv", "BTCUSDT-1m-2023-11.csv"):
        csv(tmp_path / name, MINUTES)
    (tmp_path / "ETHUSDT-fundingRate-2023-11.csv").write_text(f"calc_time,last_funding_rate\n{MIDNIGHT},0.0001\n")
    with pytest.raises(DataRefused, match=named):
        past_of(command(tmp_path, *words), [])


def test_the_contract_is_that_of_the_file_where_no_other_is_given(tmp_path):
    path = csv(tmp_path / "ETHUSDT-1m-2023-11.csv", MINUTES)
    assert setup_of(command(tmp_path, "--candles", path), Settings.load(tmp_path / "none")).symbol == "ETHUSDT"


@pytest.mark.parametrize(
    "words",
    [
        ("--balance", "abc"), ("--balance", "0"), ("--balance", "-5"), ("--balance", "nan"), ("--balance", "1e99"),
        ("--taker-fee", "5"), ("--taker-fee", "-0.1"), ("--taker-fee", "5%"), ("--taker-fee", "x%"),
        ("--exploration", "2"), ("--exploration", "-1"), ("--exploration", "often"), ("--train-days", "-1"),
        ("--train-days", "1.5"),
    ],
)  # fmt: skip
def test_numbers_are_typed_and_bounded(capsys, words):
    with pytest.raises(SystemExit) as ended:
        main(["run", *words])
    said = capsys.readouterr().err
    assert ended.value.code == 2 and words[0] in said and "Traceback" not in said


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("sweep", ("--workers", "-1")), ("sweep", ("--random", "-3")), ("sweep", ("--seed", "x")),
        ("walk-forward", ("--test-days", "0")), ("walk-forward", ("--test-days", "soon")),
    ],
)  # fmt: skip
def test_so_are_those_of_the_other_commands(capsys, command, words):
    with pytest.raises(SystemExit) as ended:
        main([command, *words])
    assert ended.value.code == 2 and "Traceback" not in capsys.readouterr().err


def test_a_fee_may_be_written_in_percent(tmp_path):
    settings = Settings.load(tmp_path / "none")
    for text in ("0.05%", "0.0005"):
        assert setup_of(command(tmp_path, "--taker-fee", text), settings).taker_share == Decimal("0.0005")


def test_days_begin_with_the_span_and_not_with_a_day_of_nothing():
    instants = MIDNIGHT + 60_000 * np.arange(0, 2_881)
    equity = np.linspace(100.0, 110.0, len(instants))
    assert len(daily_closes(instants, equity, 100.0)) == 3, "two days have two ends"
    assert len(daily_closes(instants[1:], equity[1:], 100.0)) == 3
    assert len(daily_closes(instants[:1], equity[:1], 100.0)) == 2


@pytest.fixture(scope="module")
def outcome():
    """A run that begins at midnight on the first of a month and ends with a position held."""
    first = int(datetime(2023, 12, 1, tzinfo=UTC).timestamp() * 1_000)
    begin = first - 1_100 * 60_000
    made = enumerate(random_candles(6_000, seed=8))
    candles = Candles.of(each._replace(open_ms=begin + 60_000 * number) for number, each in made)
    rates = {first + hour * HOUR_MS: 0.001 for hour in range(0, 96, 3)}
    for length in range(6_000, 3_000, -37):
        part = candles.cut(0, length)
        found = run_backtest(part, CALM, explorer(allow_short=True), from_ms=first, funding=rates)
        if found.open_trade is not None and found.open_trade.funding:
            return found, part
    raise AssertionError("no run ended in a position that had paid funding")


def test_months_begin_with_the_span(outcome):
    facts = summary(outcome[0], CALM, outcome[1])
    assert [row["month"] for row in facts["months"]] == ["2023-12"]


def test_what_an_open_trade_has_cost_is_in_the_summary(outcome):
    found, candles = outcome
    facts, held = summary(found, CALM, candles), found.open_trade
    closed_fees = float(sum(trade.fees for trade in found.trades))
    closed_funding = float(sum(trade.funding for trade in found.trades))
    assert held.fees > 0
    assert -facts["costs"]["fees"] == pytest.approx(closed_fees + float(held.fees))
    assert facts["costs"]["funding"] == pytest.approx(closed_funding + float(held.funding))
    assert facts["costs"]["net"] == pytest.approx(found.end_equity - float(found.start_equity), abs=1e-9)
    assert sum(row["fees"] for row in facts["months"]) == pytest.approx(closed_fees + float(held.fees))
    gross = facts["costs"]["net"] - facts["costs"]["fees"] - facts["costs"]["funding"]
    assert gross == pytest.approx(facts["costs"]["before_costs"] + facts["costs"]["slippage"], abs=1e-9)


@pytest.mark.long
@pytest.mark.parametrize("symbol", INVENTED)
def test_a_quarter_of_a_contract_that_is_not_among_the_six(tmp_path, capsys, symbol):
    """Any contract of the exchange's list: its tick, step and funding hours come from the stored list."""
    data, hours = tmp_path / "data", INVENTED[symbol][2]
    with archive_stand_in() as exchange:
        exchange.files |= answers()
        assert market_data(["--data", str(data), "contracts", "--update", "--base-url", exchange.url]) == 0
    first, tick = int(datetime(2023, 9, 30, tzinfo=UTC).timestamp() * 1_000), float(INVENTED[symbol][0])
    price = {"ADAUSDT": 0.5, "LPTUSDT": 8.0, "1000PEPEUSDT": 0.001}[symbol]
    whole = []
    for number, each in enumerate(random_candles(93 * 1_440, seed=6)):
        prices = [round(value * price / 30_000 / tick) * tick for value in each[1:5]]
        volume = each.volume * 30_000 / price
        whole.append(Candle(first + 60_000 * number, prices[0], max(prices), min(prices), prices[3], volume))
    rates = "".join(f"{first + hour * HOUR_MS + 2},{hours},0.0002\n" for hour in range(0, 93 * 24, hours))
    funding = tmp_path / f"{symbol}-fundingRate-2023.csv"
    funding.write_text("calc_time,funding_interval_hours,last_funding_rate\n" + rates)
    files = [csv(tmp_path / f"{symbol}-1m-2023-Q4.csv", whole), str(funding)]
    assert market_data(["--data", str(data), "import", *files]) == 0
    words = ["--pair", symbol, "--train-days", "1", "--exploration", "0.5", "--breaker", "off"]
    words += ["--rules", "safety_first"]
    span = ["--from", "2023-10-02", "--to", "2023-12"]
    assert main(["--reports", str(tmp_path), "run", "--data", str(data), *words, *span, "--name", "q"]) == 0
    facts = json.loads((tmp_path / "q" / "summary.json").read_text())
    assert facts["symbol"] == symbol and facts["trades"]["trades"] > 10
    assert facts["costs"]["funding"] != 0.0
    assert any("cautious table" in each for each in facts["assumptions"])
    assert [row["month"] for row in facts["months"]] == ["2023-10", "2023-11", "2023-12"]


def test_a_contract_that_nobody_lists_says_what_to_do(tmp_path):
    with pytest.raises(DataRefused, match=r"NOSUCHUSDT is not among the 6 contracts known .* contracts --update"):
        setup_of(command(tmp_path, "--pair", "NOSUCHUSDT"), Settings.load(tmp_path / "none"))

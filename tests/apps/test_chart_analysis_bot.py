"""The chart bot: one half's trouble is its own, the loop stays alive, tells the truth, and ends when told."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest
from sqlalchemy import select

from src.apps.chart_analysis_bot import ChartAnalysisBot
from src.charts.analysis_job import ChartAnalysisJob
from src.charts.console_output import ChartConsole
from src.charts.generator import ChartPicture, ChartUnavailable
from src.charts.vision_analyst import OpenAIAnalyzer, Opinion
from src.domain.clock import ExchangeClock, ManualClock, monotonic_s, utc_text
from src.domain.errors import ExchangeUnavailable, StoreUnavailable
from src.domain.market import INTERVAL_MS
from src.reporting.service import ReportService
from src.runtime.console import Console
from src.runtime.settings import Settings
from src.runtime.worker_process import WorkerProcess, WorkerRequestFailed
from src.storage.database import TradingDatabase
from src.storage.rows import Owner
from src.storage.tables import api_usage, bot_status, chart_analyses
from tests.chart_samples import plain_png, resize, wave

ROOT = Path(__file__).resolve().parents[2]
OWNER = Owner("main", "paper", "synthetic")


@pytest.fixture
def database(tmp_path):
    database = TradingDatabase(f"sqlite:///{tmp_path}/t.db", OWNER)
    database.migrate()
    yield database
    database.close()


class World:
    """Candles that a test moves, pictures that are counted, an analyst of rules."""

    def __init__(self, database, pairs=("BTCUSDT",), **options):
        self.candles = {pair: wave(300) for pair in pairs}
        self.broken = {}
        self.asked = []
        self.drawn = []
        self.clock = ManualClock(self.candles[pairs[0]][-1].open_ms + INTERVAL_MS["15m"] + 3_000)
        self.analyst = OpenAIAnalyzer(None, resize)
        self.lines = []
        console = Console(self)
        self.round = ChartAnalysisJob(
            owner=OWNER,
            pairs=pairs,
            interval="15m",
            clock=self.clock,
            candles=self.give,
            pictures=self,
            analyst=self.analyst,
            store=database,
            reports=ReportService(database),
            console=ChartConsole(console),
            **options,
        )

    def info(self, form, text):
        self.lines.append(form % text)

    def give(self, symbol, interval, limit):
        self.asked.append((symbol, interval, limit))
        if symbol in self.broken:
            raise self.broken[symbol]
        return self.candles[symbol]

    def draw(self, view, marks=None):
        self.drawn.append((view.symbol, marks))
        return ChartPicture(Path(f"/charts/{view.symbol}.png"), plain_png(1200, 900), view)

    def next_candle(self, moved):
        for symbol, candles in self.candles.items():
            last = candles[-1]
            close = last.close * (1 + moved)
            low, high = min(last.close, close), max(last.close, close)
            self.candles[symbol] = [
                *candles,
                last._replace(open_ms=last.open_ms + 900_000, open=last.close, close=close, low=low, high=high),
            ]
        self.clock.advance_to(self.clock.now_ms() + 900_000)


def rows(database, table=chart_analyses):
    database.flush()
    with database.read() as connection:
        return [dict(row) for row in connection.execute(select(table).order_by(table.c.id)).mappings()]


def test_a_round_reads_every_pair_with_one_request_each_and_keeps_it(database):
    world = World(database, ("BTCUSDT", "ETHUSDT"))
    result = world.round.run_round()
    assert result.analysed == ["BTCUSDT", "ETHUSDT"]
    assert world.asked == [("BTCUSDT", "15m", 1_000), ("ETHUSDT", "15m", 1_000)]
    kept = rows(database)
    assert [(row["symbol"], row["analyst"], row["status"]) for row in kept] == [
        ("BTCUSDT", "local", "ok"),
        ("ETHUSDT", "local", "ok"),
    ]
    assert kept[0]["chart_file"] == "BTCUSDT.png" and kept[0]["price"] == world.candles["BTCUSDT"][-1].close
    assert set(kept[0]["technical_signals"]) == {"ema_alignment", "rsi_condition", "macd_signal"}


def test_the_summary_says_what_the_users_document_says(database):
    world = World(database)
    world.round.run_round()
    text = "\n".join(world.lines)
    for word in ("Trend:", "Recommendation:", "Confidence:", "Support:", "Resistance:", "Score:", "local rules"):
        assert word in text


def test_a_pair_that_fails_is_noted_and_stops_no_other(database):
    world = World(database, ("BTCUSDT", "ETHUSDT"))
    world.broken = {"BTCUSDT": ExchangeUnavailable("no answer")}
    result = world.round.run_round()
    assert result.failed == {"BTCUSDT": "no answer"} and result.analysed == ["ETHUSDT"]
    assert next((row["symbol"], row["status"], row["error"]) for row in rows(database)) == (
        "BTCUSDT",
        "error",
        "no answer",
    )


def test_a_new_listing_with_few_candles_is_a_sentence(database):
    world = World(database)
    world.candles["BTCUSDT"] = world.candles["BTCUSDT"][:5]
    assert "has 5 candles" in world.round.run_round().failed["BTCUSDT"]


def test_a_picture_that_cannot_be_drawn_is_a_failure_of_that_pair(database):
    world = World(database)

    def refuse(view, marks=None):
        raise ChartUnavailable("disk full")

    world.draw = refuse  # type: ignore[method-assign]
    assert world.round.run_round().failed == {"BTCUSDT": "disk full"}


def test_a_chart_that_hardly_moved_is_not_read_again_until_it_is_old(database):
    world = World(database)
    world.round.run_round()
    for _ in range(3):
        world.next_candle(0.0)
        assert world.round.run_round().skipped == ["BTCUSDT"]
    world.next_candle(0.0)
    assert world.round.run_round().analysed == ["BTCUSDT"], "after four intervals it is read in any case"
    world.next_candle(0.01)
    assert world.round.run_round().analysed == ["BTCUSDT"], "one percent is more than a quarter ATR"
    assert len(world.drawn) == 3


def test_the_threshold_is_a_setting_and_zero_reads_every_time(database):
    world = World(database, min_move_atr=0.0)
    world.round.run_round()
    world.next_candle(0.0)
    assert world.round.run_round().analysed == ["BTCUSDT"]


def test_what_another_analyst_read_is_read_again(database):
    world = World(database)
    world.round.run_round()

    class Paid:
        kind = "openai"
        name = "gpt-6-luna"

        def analyze_chart(self, view, png):
            reading = OpenAIAnalyzer(None, resize).analyze_chart(view, png).reading
            return Opinion(reading, "local", note="gpt-6-luna was not heard: the monthly budget is spent")

    world.round._analyst = Paid()
    for _ in range(2):  # the rules stood in: ask the model again next time
        assert world.round.run_round().analysed == ["BTCUSDT"]
    assert rows(database)[-1]["error"].startswith("gpt-6-luna was not heard")


def test_a_replay_that_began_anew_is_read(database):
    world = World(database)
    world.round.run_round()
    world.round._clock = ManualClock(world.clock.now_ms() - 10**9)
    assert world.round.run_round().analysed == ["BTCUSDT"]


def test_a_store_that_refuses_costs_the_analysis_and_nothing_else(database):
    world = World(database)

    class Locked:
        def save_chart_analysis(self, analysis):
            raise StoreUnavailable("locked")

    world.round._store = Locked()
    assert world.round.run_round().failed == {"BTCUSDT": "locked"}


class ScriptedChild:
    """Answers requests as told and notes them."""

    def __init__(self, clock_ms=1_700_000_000_000):
        self.clock_ms = clock_ms
        self.requests = []
        self.ended = 0
        self.fail = {}
        self.on_request = lambda request: None

    def ask(self, request, deadline_s, stop, while_waiting=lambda: None):
        name = request["request"]
        self.requests.append(name)
        while_waiting()
        self.on_request(name)
        if name in self.fail:
            raise WorkerRequestFailed(self.fail[name])
        return {"ok": True, "now_ms": self.clock_ms, "analysed": ["BTCUSDT"], "last_market_ms": self.clock_ms}

    def end(self, grace_s=2.0):
        self.ended += 1


@pytest.fixture
def bot(database, tmp_path, monkeypatch):
    monkeypatch.setenv("TRADING_MODE", "paper")
    stop = threading.Event()
    child = ScriptedChild()
    settings = Settings.load(tmp_path / "none")
    made = ChartAnalysisBot(
        settings=settings,
        clock=ExchangeClock(),
        database=database,
        child=child,
        console=ChartConsole(Console(World(database))),
        stop=stop,
    )
    made.child, made.stop = child, stop  # type: ignore[attr-defined]
    yield made
    stop.set()


def test_it_learns_the_time_then_does_both_halves_then_lets_the_child_go(bot, database):
    waiting = threading.Event()
    bot.child.end = lambda grace_s=2.0: waiting.set()
    thread = threading.Thread(target=bot.run)
    thread.start()
    assert waiting.wait(5)
    bot.stop.set()
    thread.join(5)
    assert not thread.is_alive()
    assert bot.child.requests == ["clock", "charts", "news"]
    (row,) = rows(TradingDatabase(f"sqlite:///{database.name}", OWNER), bot_status)
    assert (row["process"], row["phase"], row["cycle_no"]) == ("chart_analysis_bot", "stopped", 1)
    assert row["started_at"].startswith("2023-11-14") and row["cycle_finished"] >= row["cycle_started"]
    assert row["last_market"] == utc_text(1_700_000_000_000)


@pytest.mark.parametrize(("broken", "works"), [("charts", "news"), ("news", "charts")])
def test_a_half_that_fails_does_not_stop_the_other_and_is_told(bot, database, broken, works):
    bot.child.fail = {broken: "the exchange is away"}
    for half in bot._halves:
        bot.take_round(half)
    assert bot.child.requests == ["charts", "news"]
    (row,) = rows(database, bot_status)
    assert f"{broken}: the exchange is away" in row["last_error"] and row["last_error_at"]
    halves = {half.name: half for half in bot._halves}
    assert halves[works].error == "" and halves[broken].failures == 1
    assert halves[broken].left_ms(bot._clock.now_ms()) <= 60_000, "tried again soon"


def test_a_clock_that_was_turned_back_makes_nobody_wait_for_years(bot):
    bot._clock.follow(1_900_000_000_000)
    bot.child.clock_ms = 1_900_000_000_000
    bot.take_round(bot._charts)
    assert 0 < bot._charts.left_ms(bot._clock.now_ms()) <= 903_000
    bot._clock.follow(1_700_000_000_000)
    assert bot._charts.left_ms(bot._clock.now_ms()) == 0


def test_a_round_in_which_every_pair_failed_is_a_missed_cycle(bot, database):
    bot._child.ask = lambda *_: {
        "ok": True,
        "now_ms": 1_700_000_000_000,
        "failed": {"BTCUSDT": "no answer"},
        "analysed": [],
    }
    bot.take_round(bot._charts)
    (row,) = rows(database, bot_status)
    assert row["cycle_finished"] is None and "BTCUSDT: no answer" in row["last_error"]


def test_health_sees_a_beat_while_a_round_takes_long(bot, database):
    beats = []
    bot.child.on_request = lambda name: (setattr(bot, "_last_beat_s", -100.0), bot._beat_when_due(), beats.append(name))
    bot.take_round(bot._charts)
    (row,) = rows(database, bot_status)
    assert beats == ["charts"] and row["phase"] == "waiting"


CHILD = """
    import sys, time
    from src.runtime.worker_process import requests
    with requests() as (asked, answer):
        for request in asked:
            kind = request["request"]
            if kind == "die":
                sys.exit(3)
            if kind == "sleep":
                time.sleep(30)
            if kind == "fail":
                answer({"ok": False, "error": "no luck"})
            else:
                answer({"ok": True, "echo": request, "pid": __import__("os").getpid()})
"""


@pytest.fixture
def child(tmp_path, monkeypatch):
    (tmp_path / "request_runner.py").write_text(textwrap.dedent(CHILD))
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}:{tmp_path}")
    made = WorkerProcess("request_runner", tmp_path)
    yield made
    made.end(0.0)


def test_requests_are_done_by_one_child_until_it_is_let_go(child):
    stop = threading.Event()
    first = child.ask({"request": "x", "text": "ü" * 10}, 10, stop)
    assert first["echo"]["text"] == "ü" * 10
    assert child.ask({"request": "y"}, 10, stop)["pid"] == first["pid"] == child.pid
    child.end()
    assert child.pid is None
    assert child.ask({"request": "z"}, 10, stop)["pid"] != first["pid"]


def test_an_request_that_fails_dies_or_hangs_is_one_failure_and_the_next_one_works(child):
    stop = threading.Event()
    with pytest.raises(WorkerRequestFailed, match="no luck"):
        child.ask({"request": "fail"}, 10, stop)
    with pytest.raises(WorkerRequestFailed, match="has ended"):
        child.ask({"request": "die"}, 10, stop)
    assert child.ask({"request": "x"}, 10, stop)["ok"]
    pid = child.pid
    with pytest.raises(WorkerRequestFailed, match="not done within"):
        child.ask({"request": "sleep"}, 0.3, stop)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert child.ask({"request": "x"}, 10, stop)["ok"]


@pytest.mark.long
def test_a_stop_waits_two_seconds_for_the_child_and_no_longer(child):
    stop = threading.Event()
    child.ask({"request": "x"}, 10, stop)
    stop.set()
    began_s = monotonic_s()
    with pytest.raises(WorkerRequestFailed, match="stopped"):
        child.ask({"request": "sleep"}, 60, stop)
    assert monotonic_s() - began_s < 4


def test_a_child_ends_when_its_parent_is_gone(tmp_path, monkeypatch, child):
    code = """
        import threading, os, sys
        from pathlib import Path
        from src.runtime.worker_process import WorkerProcess
        child = WorkerProcess("request_runner", Path(sys.argv[1]))
        child.ask({"request": "x"}, 10, threading.Event())
        print(child.pid, flush=True)
        os.kill(os.getpid(), 9)
    """
    told = subprocess.run([sys.executable, "-c", textwrap.dedent(code), str(tmp_path)], capture_output=True, text=True)
    pid = int(told.stdout)
    pause = threading.Event()
    for _ in range(50):
        if not Path(f"/proc/{pid}").exists() or "Z" in Path(f"/proc/{pid}/stat").read_text().split()[2]:
            return
        pause.wait(0.1)
    os.kill(pid, signal.SIGKILL)
    pytest.fail("the child outlived its parent")


def run_bot(folder, address, until, **settings):
    """Run the real process until a line says ``until`` twice, stop it in order; return its exit code and its words."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": os.environ.get("HOME", "/"),
        "BOT_ID": "chart-test",
        "TRADING_MODE": "paper",
        "TRADING_PAIRS": "BTCUSDT,ETHUSDT",
        "BINANCE_BASE_URL": address,
        "PAPER_SPEED": "60",
        "DATABASE_URL": f"sqlite:///{folder}/t.db",
        "CHART_DIR": f"{folder}/charts",
        "CACHE_DIR": f"{folder}/cache",
        "LOG_DIR": f"{folder}/logs",
        **settings,
    }
    process = subprocess.Popen(
        [sys.executable, "src/chart_analysis_bot.py"],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        said, seen = [], 0
        for line in process.stdout:
            said.append(line)
            seen += until in line
            if seen == 2:
                break
        process.send_signal(signal.SIGTERM)
        rest, _ = process.communicate(timeout=10)
    finally:
        process.kill()
    return process.returncode, "".join(said) + rest


@pytest.mark.long
def test_the_whole_bot_lives_beside_the_paper_exchange(tmp_path):
    from tests.paper_exchange.running import running

    with running(tmp_path / "paper.json", speed=60) as exchange:
        code, text = run_bot(tmp_path, exchange.address, "round done: half=charts")
    assert code == 0, text
    assert "Chart bot stopped." in text and "Traceback" not in text
    database = TradingDatabase(f"sqlite:///{tmp_path}/t.db", read_only=True)
    kept = rows(database)
    assert {row["symbol"] for row in kept} == {"BTCUSDT", "ETHUSDT"}
    assert all(row["status"] == "ok" and row["world"] == "synthetic" for row in kept)
    assert {path.name for path in (tmp_path / "charts").iterdir()} == {row["chart_file"] for row in kept}
    (beat,) = rows(database, bot_status)
    assert beat["phase"] == "stopped" and beat["speed"] == 60.0
    assert beat["details"]["news"]["reasons"], "no real news in a made-up market"


@pytest.mark.long
def test_the_whole_bot_asks_a_model_books_it_and_keeps_its_key_to_itself(tmp_path):
    from tests.paper_exchange.running import running
    from tests.standins.openai import KEY, openai_stand_in

    with running(tmp_path / "paper.json", speed=60) as exchange, openai_stand_in() as model:
        settings = {"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": model.url, "CHART_MIN_MOVE_ATR": "0"}
        code, text = run_bot(tmp_path, exchange.address, "round done: half=charts", **settings)
    assert code == 0, text
    database = TradingDatabase(f"sqlite:///{tmp_path}/t.db", read_only=True)
    kept, paid = rows(database), rows(database, api_usage)
    assert [row["analyst"] for row in kept] == ["openai"] * 4
    assert {row["cost_usd"] for row in (*kept, *paid)} == {0}, "nobody sends a bill from this machine"
    assert sum(row["input_tokens"] for row in kept) == sum(row["input_tokens"] for row in paid) > 0
    written = text + "".join(str(row) for row in (*kept, *paid, *rows(database, bot_status)))
    assert KEY not in written and KEY[3:] not in written


@pytest.mark.long
def test_without_an_exchange_the_bot_lives_on_says_so_and_goes_on_with_news(tmp_path):
    code, text = run_bot(tmp_path, "http://127.0.0.1:9", "round done: half=news", NEWS_INTERVAL_MINUTES="1")
    assert code == 0, text
    assert "Charts round failed" in text and "Traceback" not in text
    (beat,) = rows(TradingDatabase(f"sqlite:///{tmp_path}/t.db", read_only=True), bot_status)
    assert beat["cycle_finished"] is None and beat["last_error"].startswith("charts:")

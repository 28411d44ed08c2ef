"""What the question after a service's health promises: the truth, in one line and an exit code."""

import http.server
import os
import socket
import threading
from contextlib import closing

import pytest

from src.domain.clock import SystemClock, utc_text
from src.monitoring import health
from src.monitoring.health import exchange_trouble, heartbeat_health, main, process_health, web_health
from src.runtime.settings import Settings
from src.storage.database import TradingDatabase
from src.storage.rows import Heartbeat

NOW_MS = 1_700_000_000_000


def beat(age_s=0.0, **changes):
    usual = {"beat_at": utc_text(NOW_MS - int(age_s * 1000)), "interval_s": 60.0, "speed": 1.0}
    return usual | {"cycle_no": 7, "phase": "waiting", "pid": 42} | changes


@pytest.fixture
def settings(tmp_path):
    env = tmp_path / ".env"
    env.write_text(f"DATABASE_URL=sqlite:///{tmp_path}/bot.db\nPAPER_PORT=0\n")
    return Settings.load(env)


@pytest.fixture
def serve():
    """Return a function that answers every request with a status and a body, and returns the port."""
    servers = []

    def start(status, body):
        class Answer(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(status)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        server = http.server.HTTPServer(("127.0.0.1", 0), Answer)
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        return server.server_address[1]

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(("age_s", "healthy"), [(0, True), (119, True), (121, False), (1e6, False)])
def test_a_process_is_healthy_until_it_misses_two_cycles(age_s, healthy):
    assert heartbeat_health(beat(age_s), NOW_MS).healthy is healthy


def test_a_fast_market_shortens_the_patience_but_not_below_a_few_seconds():
    assert not heartbeat_health(beat(30, speed=10.0), NOW_MS).healthy
    assert heartbeat_health(beat(4, speed=300.0), NOW_MS).healthy
    assert not heartbeat_health(beat(6, speed=300.0), NOW_MS).healthy


@pytest.mark.parametrize("phase", ["starting", "stopping", "stopped"])
def test_a_process_on_its_way_up_or_down_is_not_well(phase):
    assert not heartbeat_health(beat(phase=phase), NOW_MS).healthy


def test_a_fresh_beat_of_a_dead_predecessor_does_not_count():
    assert heartbeat_health(beat(pid=42), NOW_MS, pid=42).healthy
    assert heartbeat_health(beat(pid=41), NOW_MS, pid=42).reason == "no heartbeat of process 42 yet"


def test_a_clock_set_back_does_not_make_a_process_ill():
    assert heartbeat_health(beat(age_s=-3600), NOW_MS).healthy


def test_the_newest_beat_of_this_bot_is_read_from_the_database(settings):
    assert not process_health(settings, ("trading_bot",)).healthy  # there is no database yet
    now = utc_text(SystemClock().now_ms())
    with closing(TradingDatabase(settings.database_url)) as database:
        database.migrate()
        assert process_health(settings, ("trading_bot",)).reason == "no heartbeat yet"
        sign = Heartbeat(
            timestamp=now,
            beat_at=now,
            process="trading_bot",
            pid=os.getpid(),
            started_at=now,
            phase="waiting",
            version="1",
            config_hash="x",
            interval_s=60.0,
            cycle_no=3,
        )
        database.heartbeat(sign)
        database.flush()
    found = process_health(settings, ("trading_bot", "rl_bot"), os.getpid())
    assert (found.healthy, "cycle 3, waiting" in found.reason) == (True, True)
    assert not process_health(settings, ("chart_bot",)).healthy


def test_a_server_answers_for_itself(serve):
    up, failing = serve(200, b'{"status": "ok"}'), serve(503, b'{"status": "two cycles missed"}')
    assert web_health("127.0.0.1", up, "/").reason == "answers 200, ok"
    assert web_health("0.0.0.0", up, "/").healthy
    assert web_health("127.0.0.1", failing, "/") == health.ServiceHealth(False, "answers 503, two cycles missed")
    assert web_health("127.0.0.1", serve(200, b"<html>"), "/").reason == "answers 200"


def test_a_missing_server_and_one_that_does_not_answer_are_unhealthy(monkeypatch):
    monkeypatch.setattr(health, "_ANSWER_TIMEOUT_S", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        assert not web_health("127.0.0.1", port, "/").healthy
    assert not web_health("127.0.0.1", port, "/").healthy


def test_the_command_prints_mode_usage_and_wrong_settings(monkeypatch, capsys):
    monkeypatch.setenv("TRADING_MODE", "paper")
    assert (main(["mode"]), capsys.readouterr().out) == (0, "paper\n")
    assert main(["is-paper"]) == 0
    monkeypatch.setenv("TRADING_MODE", "testnet")
    monkeypatch.setenv("BINANCE_API_KEY", "k" * 64)
    monkeypatch.setenv("BINANCE_SECRET_KEY", "s" * 64)
    assert main(["is-paper"]) == 1
    assert main(["nonsense"]) == 2
    monkeypatch.setenv("LEVERAGE", "900")
    assert main(["mode"]) == 78
    assert "LEVERAGE" in capsys.readouterr().err


def test_the_command_ends_with_1_for_a_service_that_is_away(monkeypatch, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    monkeypatch.setenv("PAPER_PORT", str(port))
    assert main(["paper_exchange"]) == 1
    assert "no answer" in capsys.readouterr().out


def heard(market=True, user=True, price_age_s=1.0, phase="waiting", **changes):
    sockets = {"market": {"connected": market}, "user": {"connected": user}}
    told = {"timestamp": utc_text(NOW_MS), "last_market": utc_text(NOW_MS - int(price_age_s * 1000))}
    return beat(phase=phase) | told | {"details": {"sockets": sockets}} | changes


@pytest.mark.parametrize(
    ("row", "told"),
    [
        (heard(), ""),
        (heard(market=False), "its market socket is down"),
        (heard(market=False, user=False), "its market socket is down, its user socket is down"),
        (heard(price_age_s=119), ""),
        (heard(price_age_s=121), "its newest price is 121 s old"),
        (heard(market=False, phase="stopped"), ""),
        (heard(details={}), ""),
        (heard(last_market=None, user=False), "its user socket is down"),
    ],
)
def test_data_missing_from_the_exchange_is_reported(row, told):
    assert exchange_trouble(row) == told

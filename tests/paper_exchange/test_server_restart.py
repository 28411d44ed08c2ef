"""What survives: SIGTERM, kill -9, a damaged file, a second instance, another market."""

import json
import os
import resource
import subprocess
import sys
import threading
import time
import urllib.error

import pytest
from websockets.sync.client import connect

from tests.paper_exchange.running import ROOT, environment, restart, running, start, wait_until
from tests.paper_exchange.wire import Wire

pytestmark = pytest.mark.long


@pytest.fixture
def state(tmp_path):
    return tmp_path / "deep" / "state.json"


def refused(*arguments, **settings):
    """Start one that cannot start; return exit code and what it said."""
    done = subprocess.run(
        [sys.executable, "-m", "src.paper_exchange", "--port", "0", *arguments],
        cwd=ROOT, env=environment(**settings), capture_output=True, text=True, timeout=30,
    )  # fmt: skip
    return done.returncode, done.stderr.strip()


def picture(exchange):
    return exchange.control("GET", "state")["accounts"]


def test_a_graceful_end_is_quick_and_leaves_a_private_file(state):
    with running(state) as exchange:
        Wire(exchange).order()
        begin = time.monotonic()
        assert exchange.stop() == 0
        assert time.monotonic() - begin < 3
    assert os.stat(state).st_mode & 0o777 == 0o600
    assert state.with_name("state.json.journal").stat().st_size == 0


def test_it_ends_in_time_even_while_a_request_hangs_and_sockets_are_open(state):
    with running(state) as exchange:
        exchange.fault("hang", "GET /fapi/v1/ping")

        def hang():
            with pytest.raises((urllib.error.URLError, OSError)):
                exchange.get("/fapi/v1/ping")

        waiting = threading.Thread(target=hang)
        waiting.start()
        with connect(exchange.socket_address + "/market/ws/btcusdt@markPrice@1s") as socket:
            socket.recv(timeout=5)
            begin = time.monotonic()
            assert exchange.stop() == 0
            assert time.monotonic() - begin < 3
        waiting.join(5)


@pytest.mark.parametrize("round_number", range(3))
def test_kill_nine_loses_no_order_that_was_answered(state, round_number):
    """The killed one and its successor agree to the last digit, also where only the journal knew."""
    first = start(state, speed=20.0)
    try:
        wire = Wire(first)
        told = []
        for number in range(8 + round_number):
            client_id = f"r{round_number}-{number}"
            answer = wire.order(newClientOrderId=client_id, side="BUY" if number % 3 else "SELL")
            told.append((client_id, answer.body["orderId"]))
        stop_id = wire.stop(wire.last() * 0.9, clientAlgoId="kept-stop").body["algoId"]
        key = wire.plain("POST", "/fapi/v1/listenKey", body="a=1").body["listenKey"]
        trades = wire.signed("GET", "/fapi/v1/userTrades", symbol="BTCUSDT").body
        first.kill()
    finally:
        first.kill()
    second = restart(first)
    try:
        wire = Wire(second)
        for client_id, order_id in told:
            row = wire.signed("GET", "/fapi/v1/order", symbol="BTCUSDT", origClientOrderId=client_id).body
            assert row["orderId"] == order_id
        assert wire.signed("GET", "/fapi/v1/algoOrder", clientAlgoId="kept-stop").body["algoId"] == stop_id
        assert wire.plain("POST", "/fapi/v1/listenKey", body="a=1").body["listenKey"] == key
        assert wire.signed("GET", "/fapi/v1/userTrades", symbol="BTCUSDT").body == trades
        counts = second.control("GET", "client_ids")
        assert all(counts[client_id] == 1 for client_id, _ in told)
    finally:
        second.stop()


def test_time_that_passed_while_it_was_down_is_caught_up(state):
    with running(state, speed=300.0) as first:
        before = first.now_ms()
        first.stop()
    time.sleep(0.5)
    with running(state, speed=300.0) as second:
        assert second.now_ms() - before > 150_000


def test_a_torn_last_line_was_never_answered_and_is_left_out(state):
    first = start(state)
    Wire(first).order(newClientOrderId="whole")
    first.kill()
    with state.with_name("state.json.journal").open("ab") as journal:
        journal.write(b"[99,17953")
    second = restart(first)
    try:
        assert second.control("GET", "client_ids") == {"whole": 1}
        assert Wire(second).order(newClientOrderId="after").status == 200
        second.kill()
        third = restart(second)
        try:
            assert third.control("GET", "client_ids") == {"whole": 1, "after": 1}
        finally:
            third.stop()
    finally:
        second.kill()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"format": 99}', '{"format": 1}'])
def test_a_damaged_file_is_named_and_kept(state, content):
    state.parent.mkdir(parents=True)
    state.write_text(content)
    code, said = refused("--state", str(state))
    assert (code, state.read_text()) == (65, content)
    assert said.count("\n") == 0
    assert "state.json is damaged" in said


def test_a_picture_whose_inside_is_damaged_is_refused_too(state):
    with running(state) as exchange:
        exchange.stop()
    whole = json.loads(state.read_text())
    whole["venue"] = {"nonsense": True}
    state.write_text(json.dumps(whole))
    code, said = refused("--state", str(state), "--market", "synthetic:7")
    assert (code, said.count("\n")) == (65, 0)


def test_a_second_one_on_the_same_file_does_not_start(state):
    with running(state) as exchange:
        code, said = refused("--state", str(state))
        assert code == 1
        assert f"process {exchange.process.pid}" in said


def test_a_port_in_use_is_reported_with_its_owner(state, tmp_path):
    with running(state) as exchange:
        code, said = refused("--state", str(tmp_path / "other.json"), "--port", str(exchange.port))
        assert code == 1
        assert f"port {exchange.port} is taken by process {exchange.process.pid}" in said


def test_figures_of_two_markets_are_never_mixed(state):
    with running(state, market="synthetic:7") as first:
        Wire(first).order(newClientOrderId="in-seven")
        first.stop()
    with running(state, market="synthetic:8") as other:
        assert other.control("GET", "client_ids") == {}
        other.stop()
    with running(state, market="synthetic:7") as back:
        assert back.control("GET", "client_ids") == {"in-seven": 1}


@pytest.mark.parametrize(
    ("arguments", "settings", "word"),
    [
        (["--speed", "fast"], {}, "PAPER_SPEED"),
        (["--speed", "0"], {}, "PAPER_SPEED"),
        (["--host", "0.0.0.0"], {}, "PAPER_HOST"),
        (["--market", "dreams"], {}, "PAPER_MARKET"),
        (["--market", "replay:/nowhere.csv"], {}, "nowhere.csv"),
        (["--balance", "-1"], {}, "PAPER_BALANCE"),
        (["--start", "soon"], {}, "PAPER_START"),
        (["--market", "mirror", "--speed", "2"], {}, "PAPER_SPEED"),
        ([], {"PAPER_CONTROL_TOKEN": "short"}, "PAPER_CONTROL_TOKEN"),
        ([], {"PAPER_API_KEY": "short", "PAPER_API_SECRET": "x"}, "key"),
        ([], {"PAPER_PORT": "many"}, "PAPER_PORT"),
    ],
)
def test_a_wrong_setting_is_one_sentence_and_exit_78(state, arguments, settings, word):
    options = ["--state", str(state), *arguments]
    if "PAPER_PORT" in settings:
        done = subprocess.run(
            [sys.executable, "-m", "src.paper_exchange", *options],
            cwd=ROOT, env=environment(**settings), capture_output=True, text=True, timeout=30,
        )  # fmt: skip
        code, said = done.returncode, done.stderr.strip()
    else:
        code, said = refused(*options, **settings)
    assert (code, said.count("\n")) == (78, 0)
    assert word in said


def test_configured_keys_have_an_account_each(state):
    keys = {"PAPER_API_KEY": f"{'a' * 64},{'b' * 64}", "PAPER_API_SECRET": "one,two"}
    with running(state, settings=keys) as exchange:
        first, second = Wire(exchange, "a" * 64, "one"), Wire(exchange, "b" * 64, "two")
        key = second.plain("POST", "/fapi/v1/listenKey", body="a=1").body["listenKey"]
        with connect(f"{exchange.socket_address}/private/ws?listenKey={key}") as socket:
            assert first.order().status == 200
            with pytest.raises(TimeoutError):
                socket.recv(timeout=0.5)
        assert len(first.signed("GET", "/fapi/v3/positionRisk").body) == 1
        assert second.signed("GET", "/fapi/v3/positionRisk").body == []
        assert Wire(exchange).signed("GET", "/fapi/v3/balance").code == -2015


def limit_files(exchange, length):
    """No file of the exchange may grow beyond ``length``: what a full disk is, for anybody, without any rights."""
    _, hard = resource.prlimit(exchange.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(exchange.process.pid, resource.RLIMIT_FSIZE, (length, hard))


def test_a_full_disk_ends_nothing_and_loses_no_acknowledged_order(state):
    """Orders go on while the journal's room lasts, are refused as Binance refuses, and go on when there is room."""
    with running(state) as exchange:
        wire = Wire(exchange)
        assert wire.order(newClientOrderId="before").status == 200
        limit_files(exchange, 4_000)
        answers = [wire.order(newClientOrderId=f"full-{number}", quantity="0.001") for number in range(40)]
        taken = [number for number, answer in enumerate(answers) if answer.status == 200]
        refused = {(answer.status, answer.code, answer.body["msg"]) for answer in answers if answer.status != 200}
        assert taken == list(range(len(taken)))
        assert 2 <= len(taken) < 40
        assert refused == {(503, -1000, "Service Unavailable.")}
        assert wire.plain("GET", "/fapi/v1/ping").status == 200
        exchange.kill()
        exchange = restart(exchange)
        ids = exchange.control("GET", "client_ids")
        assert ids == {"before": 1, **{f"full-{number}": 1 for number in taken}}
        limit_files(exchange, 0)
        assert Wire(exchange).order(newClientOrderId="none").status == 503
        before_ns = state.stat().st_mtime_ns
        limit_files(exchange, resource.prlimit(exchange.process.pid, resource.RLIMIT_FSIZE)[1])
        assert wait_until(lambda: Wire(exchange).order(newClientOrderId="after").status == 200)
        wait_until(lambda: state.stat().st_mtime_ns > before_ns, 20)
        assert exchange.stop() == 0
        exchange = restart(exchange)
        assert exchange.control("GET", "client_ids") == {**ids, "after": 1}
        exchange.stop()


def test_a_disk_full_from_the_start_is_reported_and_one_that_fills_later_is_recovered(state):
    """Without any picture there is nothing to go on from; with one the journal tells the rest."""

    def small():
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))

    command = [
        sys.executable, "-m", "src.paper_exchange", "--port", "0", "--market", "synthetic:7", "--state", str(state)
    ]  # fmt: skip
    done = subprocess.run(
        command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=30, preexec_fn=small
    )
    assert (done.returncode, "no space" in done.stderr) == (1, True)
    with running(state) as exchange:
        assert Wire(exchange).order(newClientOrderId="kept").status == 200
        exchange.kill()
    again = subprocess.Popen(
        command, cwd=ROOT, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=small,
    )  # fmt: skip
    try:
        assert "ready" in again.stdout.readline()
    finally:
        again.terminate()
        assert again.wait(5) == 0
    with running(state) as exchange:
        assert exchange.control("GET", "client_ids") == {"kept": 1}

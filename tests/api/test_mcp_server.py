"""The server as a process: started, asked by the official client and by a fuzzer, put under strain, stopped."""

import asyncio
import json
import re
import secrets
import signal
import socket
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client

from src.api.auth import HEADERS
from src.api.keys import KeyStore
from src.api.operation import ROOT
from src.api.operations import OPERATIONS
from src.apps.mcp_server import run
from tests.api.serving import CANARY, Server, environment, fill, keys_file, launch, running
from tests.paper_exchange.running import ROOT as PROJECT
from tests.paper_exchange.running import wait_until
from tests.suite.running import free_port

pytestmark = pytest.mark.long

TOOLS = [each.name for each in OPERATIONS if each.tool and each.scope != "control"]
DEEDS = ["trip_circuit_breaker", "request_circuit_breaker_reset"]
MESSENGER = """
class Apprise:
    def add(self, url):
        self.path = url.removeprefix("file://")
        return True

    def notify(self, body, title, notify_type):
        with open(self.path, "a") as file:
            file.write(" | ".join((title, notify_type, body.replace(chr(10), " "))) + chr(10))
        return True
"""
BOT = """
import sys, time
from src.domain.clock import SystemClock, utc_text
from src.storage.database import TradingDatabase
from src.storage.rows import Heartbeat
from tests.api.rows import OWNER
database = TradingDatabase(sys.argv[1], OWNER)
for number in range(600):
    now = utc_text(SystemClock().now_ms())
    database.heartbeat(Heartbeat(
        timestamp=now, beat_at=now, process="fast-bot", pid=1, started_at=now, phase="waiting", version="0",
        config_hash="", interval_s=0.5, cycle_no=number, cycle_finished=now))
    time.sleep(0.2)
"""
CURL = (  # the lines of the user's document, as printed there, but for the port
    "curl http://localhost:3000/api/v1/health",
    "curl http://localhost:3000/api/v1/info",
    'curl "http://localhost:3000/api/v1/signals?limit=10&signal_type=BUY"',
    'curl "http://localhost:3000/api/v1/trades/performance?hours=24"',
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with running(tmp_path_factory.mktemp("api")) as server:
        yield server


def test_the_lines_of_the_document_work(server: Server) -> None:
    for line in CURL:
        done = subprocess.run(
            ["bash", "-c", line.replace(":3000", f":{server.port}")], capture_output=True, text=True, timeout=20
        )
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["meta"]["label"] == "paper, synthetic"


def test_it_listens_on_loopback_alone(server: Server) -> None:
    wanted = f"{server.port:04X}"
    rows = [line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]]
    listening = [row[1] for row in rows if row[1].endswith(f":{wanted}") and row[3] == "0A"]
    assert listening == [f"0100007F:{wanted}"]


async def use_everything(client: Client) -> list[str]:
    """Let the official client list and call all there is, deeds aside; return the names of the tools."""
    tools = [each.name for each in (await client.list_tools()).tools]
    for name in TOOLS:
        result = await client.call_tool(name, {})
        assert not result.is_error, (name, result)
        assert result.structured_content["data"] is not None
    for each in (await client.list_resources()).resources:
        assert (await client.read_resource(each.uri)).contents[0].text.startswith("{")
    for prompt in (await client.list_prompts()).prompts:
        assert (await client.get_prompt(prompt.name, {})).messages
    return tools


@pytest.mark.parametrize("mode", ["legacy", "auto", "2026-07-28"])
def test_the_official_client_calls_everything_in_old_and_new_revisions(server: Server, mode: str) -> None:
    async def work() -> list[str]:
        async with Client(f"{server.address}/mcp", mode=mode) as client:
            return await use_everything(client)

    assert asyncio.run(work()) == TOOLS


@pytest.mark.parametrize("mode, arguments", [("legacy", []), ("2026-07-28", ["--control"])])
def test_the_official_client_speaks_over_standard_input_too(tmp_path: Path, mode: str, arguments: list[str]) -> None:
    fill(tmp_path)
    process = StdioServerParameters(
        command=sys.executable,
        args=["src/mcp_server.py", "--stdio", *arguments],
        env=environment(tmp_path),
        cwd=str(PROJECT),
    )

    async def work() -> list[str]:
        async with Client(stdio_client(process), mode=mode) as client:
            tools = await use_everything(client)
            if arguments:
                for changed in (True, False):
                    done = await client.call_tool("trip_circuit_breaker", {"reason": "A test."})
                    assert done.structured_content["data"]["changed"] is changed
            return tools

    assert asyncio.run(work()) == TOOLS + (DEEDS if arguments else [])


def test_an_address_that_others_reach_opens_to_keys_alone(tmp_path: Path) -> None:
    store = KeyStore(keys_file(tmp_path))
    tokens = [store.create("reader", ("read",)), store.create("agent", ("read", "control"))]
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}).encode()
    kind = {"Content_Type": "application/json", "Accept": "application/json, text/event-stream"}

    async def tools(address: str, token: str) -> list[str]:
        async with (
            create_mcp_http_client(headers={"Authorization": f"Bearer {token}"}) as http,
            Client(streamable_http_client(f"{address}/mcp", http_client=http)) as client,
        ):
            return await use_everything(client)

    with running(tmp_path, MCP_HOST="0.0.0.0") as server:
        for path, method, sent in (("/mcp", "POST", body), (f"{ROOT}/signals", "GET", None), ("/metrics", "GET", None)):
            headers = kind if sent else {}
            status, answer, _ = server.ask(path, method, sent, **headers)
            assert (status, answer["WWW-Authenticate"]) == (401, 'Bearer realm="api"')
            assert server.ask(path, method, sent, Authorization="Bearer wrong", **headers)[0] == 401
            good = {"Authorization": f"Bearer {tokens[0]}"} | headers
            assert server.ask(path, method, sent, **good)[0] == 200
            assert server.ask(path, method, sent, Host="evil.example", **good)[0] == 400
            assert server.ask(path, method, sent, Origin="https://evil.example", **good)[0] == 403
        assert [asyncio.run(tools(server.address, token)) for token in tokens] == [TOOLS, TOOLS + DEEDS]
        assert not any(token in server.log for token in tokens)


def test_people_hear_of_a_bot_that_falls_silent(tmp_path: Path) -> None:
    """With nobody watching but this server; Apprise is stood in for by a module that writes to a file."""
    (tmp_path / "apprise.py").write_text(MESSENGER)
    own = f"silent-{secrets.token_hex(4)}"
    settings = {"BOT_ID": own, "ALERT_URLS": f"file://{tmp_path}/told.txt", "PYTHONPATH": f"{PROJECT}:{tmp_path}"}
    told = tmp_path / "told.txt"
    with running(tmp_path, **settings) as server:
        bot = subprocess.Popen([sys.executable, "-c", BOT, f"sqlite:///{tmp_path}/api.db"], cwd=PROJECT)
        try:
            wait_until(lambda: "fast-bot" in str(server.ask(f"{ROOT}/bot-status")[2]), 60, 0.1)
            assert not told.exists()
        finally:
            bot.kill()
            bot.wait(10)
        wait_until(told.exists, 60, 0.1)
        title = f"trading suite {own}: process unresponsive: main/fast-bot"
        assert [line.split(" | ")[:2] for line in told.read_text().splitlines()] == [[title, "failure"]]
        assert "unresponsive for more than 5 s" in told.read_text()
        assert server.stop(signal.SIGINT) == 0, server.log[-2000:]


def test_the_protocol_has_the_same_door(server: Server) -> None:
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}).encode()
    kind = {"Content_Type": "application/json", "Accept": "application/json, text/event-stream"}
    assert server.ask("/mcp", "POST", body, **kind)[0] == 200
    assert server.ask("/mcp", "POST", body, Host="evil.example", **kind)[0] == 400
    assert server.ask("/mcp", "POST", body, Origin="https://evil.example", **kind)[0] == 403
    assert server.ask("/mcp", "POST", body, Authorization="Bearer wrong", **kind)[0] == 401
    assert server.ask("/mcp", "POST", body, X_Forwarded_For="198.51.100.3", **kind)[0] == 401
    assert server.ask("/mcp", "POST", b"[" * 60_000, **kind)[0] == 400
    assert server.ask("/mcp", "POST", b" " * 70_000, **kind)[0] == 413
    assert server.ask("/mcp", "POST", body, Content_Type="text/plain")[0] == 415
    for method in ("GET", "DELETE"):
        status, headers, _ = server.ask("/mcp", method)
        assert (status, "POST" in headers["Allow"]) == (405, True)


def test_ten_slow_clients_keep_nobody_waiting(server: Server) -> None:
    slow = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(10)]
    try:
        for each in slow:
            each.sendall(b"POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Length: 60000\r\n")
        began = time.monotonic()
        for _ in range(20):
            assert server.ask(f"{ROOT}/health")[0] == 200
        assert time.monotonic() - began < 10
    finally:
        for each in slow:
            each.close()


@pytest.mark.parametrize("line", [b"GARBAGE", b"GET /", b"GET / HTTP/1.1\r\nContent-Length: x", b"A" * 300_000])
def test_what_is_no_http_gets_a_problem_and_no_name(server: Server, line: bytes) -> None:
    with closing(socket.create_connection(("127.0.0.1", server.port), timeout=10)) as connection:
        try:
            connection.sendall(line + b"\r\n\r\n")
            answer = connection.makefile("rb").read()
        except ConnectionError:
            return  # refused while it still spoke
    head, _, body = answer.partition(b"\r\n\r\n")
    assert re.match(rb"HTTP/1\.[01] 4\d\d ", head)
    assert b"waitress" not in answer.lower()
    assert b"\r\nserver:" not in head.lower()
    for name, value in HEADERS.items():
        assert f"\r\n{name}: {value}".lower().encode() in head.lower()
    assert json.loads(body)["status"] == int(head.split()[1])


def test_no_secret_has_been_said_by_anything(server: Server) -> None:
    for operation in OPERATIONS:
        if operation.method == "GET":
            assert CANARY.encode() not in server.ask(ROOT + operation.path)[2]
    for path in ("/metrics", f"{ROOT}/docs", f"{ROOT}/openapi.json", f"{ROOT}/{CANARY}", f"{ROOT}/signals?x={CANARY}"):
        server.ask(path)
    server.ask(f"{ROOT}/signals", Authorization=f"Bearer key_00000000_{'z' * 43}")
    said = server.log
    for secret in (CANARY, CANARY[::-1], "canary-pin-77", "z" * 43):
        assert secret not in said
    arguments = Path(f"/proc/{server.process.pid}/cmdline").read_bytes()
    assert b"canary" not in arguments


def test_a_signal_ends_it_in_order(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        server.ask("/mcp", "POST", b"{}", Content_Type="application/json")  # with the protocol's loop alive
        began = time.monotonic()
        assert server.stop() == 0, server.log[-2000:]
        assert time.monotonic() - began < 10
        assert "Traceback" not in server.log


def test_a_taken_port_and_an_open_door_are_refused_with_a_reason(tmp_path: Path) -> None:
    weak = {"MCP_HOST": "0.0.0.0", "BOT_CONTROL_PIN": "123456"}
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        cases: dict[str, tuple[int, str, int, dict[str, str]]] = {
            "taken": (75, "port is in use", taken.getsockname()[1], {}),
            "keyless": (78, "there is no API key", free_port(), {"MCP_HOST": "0.0.0.0"}),
            "weak": (78, "BOT_CONTROL_PIN is the example value", free_port(), weak),
        }
        for name in cases:
            (tmp_path / name).mkdir()
            fill(tmp_path / name)
        started = {name: launch(tmp_path / name, port, **settings) for name, (_, _, port, settings) in cases.items()}
        ended = {name: process.wait(120) for name, process in started.items()}
    for name, (code, words, _, _) in cases.items():
        log = (tmp_path / name / "server.log").read_text()
        assert (ended[name], words in log) == (code, True), log[-2000:]


def test_nothing_that_trades_and_nothing_heavy_is_loaded() -> None:
    script = "import sys, src.apps.mcp_server; print(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], cwd=PROJECT, capture_output=True, text=True, timeout=60)
    loaded = set(done.stdout.split())
    trading = {
        f"src.{name}" for name in ("order_desk", "binance_client", "binance_exchange", "trader", "position_keeper")
    }
    assert not loaded & trading
    assert not loaded & {"mcp", "starlette", "uvicorn", "pandas", "alembic", "binance", "openai", "prometheus_client"}


def test_the_command_line_says_how_it_is_used(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--what"]) == 2
    said = capsys.readouterr()
    assert ("Usage" in said.err, said.out) == (True, "")

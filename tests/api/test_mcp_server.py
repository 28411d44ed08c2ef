"""The server as a process: started, asked by the official client and by a fuzzer, put under strain, stopped."""

import asyncio
import json
import re
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

from src.api.operations import OPERATIONS, ROOT
from tests.api.serving import CANARY, Server, environment, fill, launch, running
from tests.paper_exchange.running import ROOT as PROJECT
from tests.suite.running import free_port

pytestmark = pytest.mark.long

TOOLS = [each.name for each in OPERATIONS if each.tool and each.scope != "control"]
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


@pytest.mark.parametrize("mode", ["legacy", "auto", "2026-07-28"])
def test_the_official_client_calls_everything_in_old_and_new_revisions(server: Server, mode: str) -> None:
    async def work() -> None:
        async with Client(f"{server.address}/mcp", mode=mode) as client:
            assert [each.name for each in (await client.list_tools()).tools] == TOOLS
            for name in TOOLS:
                result = await client.call_tool(name, {})
                assert not result.is_error, (name, result)
                assert result.structured_content["data"] is not None
            for each in (await client.list_resources()).resources:
                assert (await client.read_resource(each.uri)).contents[0].text.startswith("{")
            for each in (await client.list_prompts()).prompts:
                assert (await client.get_prompt(each.name, {})).messages

    asyncio.run(work())


def test_the_official_client_speaks_over_standard_input_too(tmp_path: Path) -> None:
    fill(tmp_path)
    own = environment(tmp_path)

    async def work(*arguments: str) -> list[str]:
        process = StdioServerParameters(
            command=sys.executable, args=["src/mcp_server.py", "--stdio", *arguments], env=own, cwd=str(PROJECT)
        )
        async with Client(stdio_client(process)) as client:
            names = [each.name for each in (await client.list_tools()).tools]
            for name in TOOLS:
                assert not (await client.call_tool(name, {})).is_error
            return names

    assert asyncio.run(work()) == TOOLS
    assert asyncio.run(work("--control"))[-2:] == ["trip_circuit_breaker", "request_circuit_breaker_reset"]


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
    for number in (signal.SIGTERM, signal.SIGINT):
        folder = tmp_path / f"signal{number}"
        folder.mkdir()
        with running(folder) as server:
            server.ask("/mcp", "POST", b"{}", Content_Type="application/json")  # with the protocol's loop alive
            began = time.monotonic()
            assert server.stop(number) == 0, server.log[-2000:]
            assert time.monotonic() - began < 10
            assert "Traceback" not in server.log


def test_a_taken_port_and_an_open_door_are_refused_with_a_reason(tmp_path: Path) -> None:
    fill(tmp_path)
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        process = launch(tmp_path, taken.getsockname()[1])
        assert process.wait(60) == 75
    log = tmp_path / "server.log"
    assert "port is taken" in log.read_text()
    if not (PROJECT / "state" / "api_keys.json").exists():  # else the door is rightly open for its keys
        process = launch(tmp_path, free_port(), MCP_HOST="0.0.0.0")
        assert process.wait(60) == 78
        assert "there is no API key" in log.read_text()
    process = launch(tmp_path, free_port(), MCP_HOST="0.0.0.0", FLASK_SECRET_KEY="short", BOT_CONTROL_PIN="123456")
    assert process.wait(60) == 78
    assert "BOT_CONTROL_PIN is the example value" in log.read_text()


def test_nothing_that_trades_and_nothing_heavy_is_loaded() -> None:
    script = "import sys, src.mcp_server; print(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], cwd=PROJECT, capture_output=True, text=True, timeout=60)
    loaded = set(done.stdout.split())
    trading = {
        f"src.{name}" for name in ("order_desk", "binance_client", "binance_exchange", "trader", "position_keeper")
    }
    assert not loaded & trading
    assert not loaded & {"mcp", "starlette", "uvicorn", "pandas", "alembic", "binance", "openai", "prometheus_client"}


def test_the_command_line_says_how_it_is_used() -> None:
    done = subprocess.run(
        [sys.executable, "src/mcp_server.py", "--what"], cwd=PROJECT, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, "Usage" in done.stderr, done.stdout) == (2, True, "")

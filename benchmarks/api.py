"""What an answer of the API costs: python -m benchmarks.api [--signals 1000000] [--trades 100000] [--requests 150]

A bot writes ten rows a second while four clients ask every endpoint, each with other filters, over connections that
stay. Before it, in the same run: a bare APIFlask endpoint under the same server, to which every line is set in
relation (p99, and processor time, which no other load on the machine can falsify); after it the same application
under uvicorn (ASGI outside, Flask inside). Prints milliseconds by endpoint, tools, the 304 path, the longest
answers, memory, what became of the writer, and which endpoint is over 50 ms. ``--database FILE`` keeps the million
rows for the next run.
"""

import argparse
import http.client
import json
import multiprocessing
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import insert

from src.api.server import THREADS
from src.domain.clock import SystemClock, utc_text
from src.domain.errors import StoreUnavailable
from src.storage.database import TradingDatabase
from src.storage.rows import Heartbeat
from src.storage.tables import signals
from tests.api.rows import OWNER, SYMBOLS, fill, signal_row

ROOT = Path(__file__).resolve().parent.parent
CLIENTS = 4
WRITES_A_SECOND = 10
BUDGET_MS = 50.0
MCP_HEADERS = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
SMALL = 60  # requests of a client, where an answer is long
INSTRUMENTS = {symbol: {"tick": "0.10", "step": "0.001"} for symbol in SYMBOLS}  # as a bot tells them


def queries() -> dict[str, list[str]]:
    """Return the endpoints, each with the questions asked of it in turn."""
    pairs = [f"symbol={symbol}" for symbol in SYMBOLS]
    kinds = ["signal_type=BUY", "signal_type=SELL", "signal_type=HOLD"]
    strengths = [f"min_strength={number}" for number in (1, 3, 5, 6)]
    hours = [f"hours={number}" for number in (1, 24, 168, 720, 4000)]
    return {
        "/signals": ["", *pairs, *kinds, *strengths, "acted=true", "acted=false", "offset=5000", "limit=20"],
        "/signals (two filters)": [
            f"{kind}&{other}" for kind in kinds for other in (*pairs, *strengths, "acted=false")
        ],
        "/signals/stats": ["", *pairs, *hours],
        "/trades": ["", *pairs, "status=closed", "status=open", "side=LONG", "side=SHORT", "min_pnl=10", "max_pnl=-10"],
        "/trades/performance": ["", *hours, *pairs, "bot_id=main"],
        "/market-context": [""],
        "/market-context/history": hours,
        "/chart-analysis": ["", "symbol=BTCUSDT"],
        "/bot-status": [""],
        "/analytics/summary": ["", *hours],
        "/health": [""],
        "/info": [""],
        "/readyz": [""],
        "/openapi.json": [""],
        "/docs": [""],
        "/metrics": [""],
    }


class Question(NamedTuple):
    """A line to be measured: its name, path, what is asked in turn, how often by each client, whether for a 304."""

    name: str
    path: str
    asked: list[str]
    requests: int
    confirm: bool = False


def free_port() -> int:
    """Return a port of loopback that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def serving(arguments: list[str], port: int, database: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A server in a process of its own, answering on ``port``."""
    own = {
        "DATABASE_URL": f"sqlite:///{database}",
        "MCP_PORT": str(port),
        "TRADING_MODE": "paper",
        "PAPER_MARKET": "synthetic",
        "BOT_ID": "main",
        "LOG_LEVEL": "WARNING",
        "LOG_DIR": str(database.parent / "logs"),
    }
    with subprocess.Popen([sys.executable, *arguments], cwd=ROOT, env={**os.environ, **own}) as process:
        try:
            for _ in range(1_200):
                if answers(port):
                    break
                time.sleep(0.1)
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(20)


def answers(port: int) -> bool:
    """Return whether something answers on the port."""
    try:
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=2)) as connection:
            connection.request("GET", "/api/v1/livez")
            return connection.getresponse().status == 200
    except OSError:
        return False


def ask(port: int, path: str, asked: list[str], requests: int, seed: int, confirm: bool) -> list[float]:
    """Ask ``requests`` times over one connection and return the seconds of each; with ``confirm`` for a 304.

    Of the path ``/mcp`` the questions are names of tools.
    """
    chance, samples, tags = random.Random(seed), [], {}
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        for _ in range(requests):
            query = chance.choice(asked)
            address = ("" if path == "/metrics" else "/api/v1") + path + (f"?{query}" if query else "")
            headers = {"If-None-Match": tags[address]} if confirm and address in tags else {}
            began = time.perf_counter()
            if path == "/mcp":
                connection.request("POST", path, tool_call(query), MCP_HEADERS)
            else:
                connection.request("GET", address, headers=headers)
            answer = connection.getresponse()
            answer.read()
            took = time.perf_counter() - began
            if answer.status not in (200, 304):
                raise SystemExit(f"{address} answered {answer.status}")
            tags[address] = answer.headers["ETag"] or ""
            if not confirm or answer.status == 304:
                samples.append(took)
    return samples


def tool_call(name: str) -> bytes:
    """Return the message that calls a tool."""
    called = {"name": name, "arguments": {}}
    return json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": called}).encode()


def together(port: int, path: str, asked: list[str], requests: int, confirm: bool = False) -> list[float]:
    """Let four clients ask at once; return the seconds of all their requests."""
    tasks = [(port, path, asked, requests, seed, confirm) for seed in range(CLIENTS)]
    with multiprocessing.get_context("fork").Pool(CLIENTS) as pool:
        return sorted(sample for samples in pool.starmap(ask, tasks) for sample in samples)


def cpu_s(process: int) -> float:
    """Return the seconds of processor time that a process has used: what no other load can falsify."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Line:
    """One line of the table: seconds of each answer, in order, and of processor time for one."""

    name: str
    samples: list[float]
    cpu_s: float = 0.0

    @property
    def p99_s(self) -> float:
        """What 99 of 100 answers did not exceed."""
        return self.samples[min(len(self.samples) - 1, int(len(self.samples) * 0.99))]

    def text(self, bare: "Line | None" = None) -> str:
        """Return the line as printed, beside the bare endpoint where there is one."""
        middle, longest = self.samples[len(self.samples) // 2], self.samples[-1]
        figures = "".join(f"{each * 1e3:>9.2f}" for each in (middle, self.p99_s, longest, self.cpu_s))
        beside = f"{self.p99_s / bare.p99_s:>9.1f}{self.cpu_s / bare.cpu_s:>9.1f}" if bare else ""
        return f"{self.name:<34}{len(self.samples):>9}{figures}{beside}"


HEAD = "".join(f"{name:>9}" for name in ("answers", "p50 ms", "p99 ms", "max ms", "cpu ms", "p99 x", "cpu x"))


def row(process: int, name: str, port: int, path: str, asked: list[str], requests: int, confirm: bool = False) -> Line:
    """Measure one line of the table."""
    ask(port, path, asked[:1], 1, 0, confirm=False)  # what is loaded with the first call is no answer's time
    before = cpu_s(process)
    samples = together(port, path, asked, requests, confirm)
    return Line(name, samples, (cpu_s(process) - before) / (requests * CLIENTS))


def memory_mb(process: int) -> tuple[float, float]:
    """Return resident and private memory of a process in MB."""
    kinds = {"Rss": 0, "Private_Clean": 0, "Private_Dirty": 0}
    for each in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
        name = each.split(":")[0]
        if name in kinds:
            kinds[name] = int(each.split()[1])
    return kinds["Rss"] / 1024, (kinds["Private_Clean"] + kinds["Private_Dirty"]) / 1024


class Writer:
    """Writes as a busy bot does, and remembers how long each row took and what was refused."""

    def __init__(self, path: Path, total: int) -> None:
        self._database = TradingDatabase(f"sqlite:///{path}", OWNER)
        self._total = total
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.samples: list[float] = []
        self.refused = 0

    def __enter__(self) -> "Writer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._database.close()

    def _run(self) -> None:
        clock, number = SystemClock(), self._total
        self._database.heartbeat(beat(clock.now_ms()))
        while not self._stop.wait(1 / WRITES_A_SECOND):
            turn = signal_row(number, number + 1, clock.now_ms())
            turn |= {name: [] for name in ("votes", "gates")} | {"rl_state": {}}
            began = time.perf_counter()
            try:
                self._database.write(lambda connection, turn=turn: connection.execute(insert(signals), turn))
            except StoreUnavailable:
                self.refused += 1
            self.samples.append(time.perf_counter() - began)
            number += 1
            if number % 50 == 0:
                self._database.heartbeat(beat(clock.now_ms()))


def beat(now_ms: int) -> Heartbeat:
    """Return a sign of life of a trading bot."""
    now = utc_text(now_ms)
    common: dict[str, Any] = {"phase": "waiting", "version": "0", "config_hash": "", "interval_s": 60.0}
    common |= {"timestamp": now, "beat_at": now, "started_at": now, "cycle_finished": now}
    return Heartbeat(process="trading_bot", pid=1, details={"instruments": INSTRUMENTS}, **common)


def measure_bare(database: Path, requests: int) -> Line:
    """Measure and print the endpoint that does nothing."""
    port = free_port()
    with serving(["-m", "benchmarks.api", "bare", str(port)], port, database) as process:
        found = row(process.pid, "bare APIFlask endpoint (waitress)", port, "/livez", [""], requests)
    print(f"\n{'':<34}{HEAD}\n{found.text(found)}", flush=True)
    return found


def measure(title: str, arguments: list[str], database: Path, plan: list[Question], beside: Line) -> list[Line]:
    """Print the table of one server and return its lines."""
    port, found = free_port(), []
    with serving([*arguments, str(port)] if arguments[0] == "-m" else arguments, port, database) as process:
        print(f"\n{title:<34}{HEAD}")
        idle = memory_mb(process.pid)
        for name, path, asked, requests, confirm in plan:
            found.append(row(process.pid, name, port, path, asked, requests, confirm))
            print(found[-1].text(beside), flush=True)
        busy = memory_mb(process.pid)
        print(f"memory: idle {idle[0]:.0f} MB ({idle[1]:.0f} private), after {busy[0]:.0f} MB ({busy[1]:.0f} private)")
        locked = sum(path.read_text(errors="replace").count("locked") for path in database.parent.glob("logs/*.log*"))
        print(f"'database is locked' in its log: {locked}")
    return found


def usual(requests: int) -> list[Question]:
    """Return the questions that the budget is about: every endpoint, tools, and answers confirmed (304)."""
    plan = [Question(path, path.split(maxsplit=1)[0], asked, requests) for path, asked in queries().items()]
    plan += [Question(f"tool {name}", "/mcp", [name], SMALL) for name in ("get_signals", "get_bot_status")]
    confirmed = ("/signals", "/trades", "/analytics/summary")
    return plan + [Question(f"{path}, 304", path, [""], requests * 2, True) for path in confirmed]


def longest() -> list[Question]:
    """Return questions whose answers are as long, or lie as far back, as they can."""
    asked = (("/signals", "limit=1000"), ("/trades", "limit=1000"), ("/signals", "offset=450000"))
    return [Question(f"{path} {query}", path, [query], SMALL) for path, query in asked]


def bare(port: int) -> None:
    """Serve one APIFlask endpoint that does nothing."""
    from apiflask import APIFlask

    from src.api.server import ApiServer

    app = APIFlask("bare")

    @app.get("/api/v1/livez")
    def livez() -> dict[str, str]:
        return {"status": "up"}

    serve_until_told(ApiServer(app, "127.0.0.1", port).serve)


def under_uvicorn(port: int) -> None:
    """Serve the same application with ASGI outside and Flask inside."""
    import a2wsgi
    import uvicorn

    from src.api.auth import Authenticator
    from src.api.context import ApiContext
    from src.api.keys import KEYS_FILE, KeyStore
    from src.api.rest import build_app
    from src.runtime.settings import Settings

    url = os.environ["DATABASE_URL"]
    source = ApiContext(TradingDatabase(url, OWNER, read_only=True), SystemClock(), lambda: TradingDatabase(url, OWNER))
    keys = KeyStore(Settings.load().state_dir / KEYS_FILE)
    app = a2wsgi.WSGIMiddleware(
        build_app(source, Authenticator(host="127.0.0.1", origins=(), keys=keys, clock=SystemClock())), workers=THREADS
    )
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning")


def serve_until_told(serve: Callable[[threading.Event], None]) -> None:
    """Serve until SIGTERM."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    serve(stop)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--signals", type=int, default=1_000_000)
    parser.add_argument("--trades", type=int, default=100_000)
    parser.add_argument("--requests", type=int, default=150, help="of each client at each endpoint")
    parser.add_argument("--database", type=Path, help="a file that is kept, and used if it is there")
    parser.add_argument("serve", nargs="*", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        {"bare": bare, "uvicorn": under_uvicorn}[options.serve[0]](int(options.serve[1]))
        return
    with tempfile.TemporaryDirectory() as folder:
        path = (options.database or Path(folder) / "api.db").absolute()
        if not path.exists():
            began = time.perf_counter()
            fill(path, options.signals, options.trades, SystemClock().now_ms())
            print(f"made {path.stat().st_size / 1e6:.0f} MB in {time.perf_counter() - began:.0f} s")
        print(f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}, {CLIENTS} clients, a row each 0.1 s")
        with Writer(path, options.signals) as writer:
            beside = measure_bare(path, options.requests * 2)
            ours = ["src/mcp_server.py"]
            found = measure("ours (waitress)", ours, path, usual(options.requests), beside)
            measure("ours, the longest answers", ours, path, longest(), beside)
            some = [each for each in usual(options.requests) if each.name in ("/signals", "/trades", "/health")]
            measure("the same under uvicorn", ["-m", "benchmarks.api", "uvicorn"], path, some, beside)
        print("\n" + Line("the writer's rows", sorted(writer.samples)).text() + f"   refused {writer.refused}")
        over = [each.name for each in found if each.p99_s * 1e3 > BUDGET_MS]
        print(f"p99 over {BUDGET_MS:.0f} ms: {', '.join(over) or 'none'}; load at the end {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()

"""What an answer of the API costs: python -m benchmarks.api [--signals 1000000] [--trades 100000] [--requests 200]

A bot writes ten rows a second while four clients ask every endpoint, each with other filters, over connections that
stay. Beside it, in the same run: a bare APIFlask endpoint under the same server, and the same application under
uvicorn (ASGI outside, Flask inside). Prints milliseconds by endpoint, the 304 path, memory, and what became of the
writer. ``--database FILE`` keeps the million rows for the next run.
"""

import argparse
import http.client
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
from pathlib import Path
from typing import Any

from sqlalchemy import insert

from src.core.clock import SystemClock, utc_text
from src.core.errors import StoreUnavailable
from src.database import TradingDatabase
from src.records import Heartbeat
from src.schema import signals
from tests.api.rows import OWNER, SYMBOLS, fill, signal_row

ROOT = Path(__file__).resolve().parent.parent
CLIENTS = 4
WRITES_A_SECOND = 10
BUDGET_MS = 50.0
SMALL = 60  # requests of a client, where an answer is long


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
        "/trades/performance": ["", *hours, *pairs],
        "/market-context": [""],
        "/market-context/history": hours,
        "/chart-analysis": ["", "symbol=BTCUSDT"],
        "/bot-status": [""],
        "/analytics/summary": ["", *hours],
        "/health": [""],
        "/info": [""],
    }


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
    """Ask ``requests`` times over one connection and return the seconds of each; with ``confirm`` for a 304."""
    chance, samples, tags = random.Random(seed), [], {}
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        for _ in range(requests):
            query = chance.choice(asked)
            address = f"/api/v1{path.split(maxsplit=1)[0]}" + (f"?{query}" if query else "")
            headers = {"If-None-Match": tags[address]} if confirm and address in tags else {}
            began = time.perf_counter()
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


def together(port: int, path: str, asked: list[str], requests: int, confirm: bool = False) -> list[float]:
    """Let four clients ask at once; return the seconds of all their requests."""
    tasks = [(port, path, asked, requests, seed, confirm) for seed in range(CLIENTS)]
    with multiprocessing.get_context("fork").Pool(CLIENTS) as pool:
        return sorted(sample for samples in pool.starmap(ask, tasks) for sample in samples)


def cpu_s(process: int) -> float:
    """Return the seconds of processor time that a process has used: what no other load can falsify."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def row(process: int, name: str, port: int, path: str, asked: list[str], requests: int, confirm: bool = False) -> str:
    """Measure one line of the table."""
    before = cpu_s(process)
    samples = together(port, path, asked, requests, confirm)
    return line(name, samples, (cpu_s(process) - before) / (requests * CLIENTS))


def line(name: str, samples: list[float], cpu: float = 0.0) -> str:
    """Return a row of the table."""
    if not samples:
        return f"{name:<34}{'none':>9}"
    p50, p99 = samples[len(samples) // 2], samples[min(len(samples) - 1, int(len(samples) * 0.99))]
    over = "" if p99 * 1e3 <= BUDGET_MS else f"  over {BUDGET_MS:.0f} ms"
    return (
        f"{name:<34}{len(samples):>9}{p50 * 1e3:>9.2f}{p99 * 1e3:>9.2f}{samples[-1] * 1e3:>9.2f}{cpu * 1e3:>9.2f}{over}"
    )


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
    return Heartbeat(
        timestamp=now, beat_at=now, process="trading_bot", pid=1, started_at=now, cycle_finished=now, **common
    )


def measure(title: str, arguments: list[str], database: Path, requests: int, every: bool) -> None:
    """Print the table of one server; without ``every`` only three endpoints."""
    port = free_port()
    with serving([*arguments, str(port)] if arguments[0] == "-m" else arguments, port, database) as process:
        print(f"\n{title:<34}{'answers':>9}{'p50 ms':>9}{'p99 ms':>9}{'max ms':>9}{'cpu ms':>9}")
        idle = memory_mb(process.pid)
        asked = queries() if every else {name: queries()[name] for name in ("/signals", "/trades", "/health")}
        for path, each in asked.items():
            print(row(process.pid, path, port, path, each, requests), flush=True)
        if every:
            for path, question in (
                ("/signals", "limit=1000"),
                ("/trades", "limit=1000"),
                ("/signals", "offset=450000"),
            ):
                print(row(process.pid, f"{path} {question}", port, path, [question], SMALL))
            for path in ("/trades", "/analytics/summary"):
                print(row(process.pid, f"{path}, 304", port, path, [""], requests * 2, confirm=True))
        busy = memory_mb(process.pid)
        print(f"memory: idle {idle[0]:.0f} MB ({idle[1]:.0f} private), after {busy[0]:.0f} MB ({busy[1]:.0f} private)")


def bare(port: int) -> None:
    """Serve one APIFlask endpoint that does nothing."""
    from apiflask import APIFlask

    from src.api.serving import WebServer

    app = APIFlask("bare")

    @app.get("/api/v1/livez")
    def livez() -> dict[str, str]:
        return {"status": "up"}

    serve_until_told(WebServer(app, "127.0.0.1", port).serve)


def under_uvicorn(port: int) -> None:
    """Serve the same application with ASGI outside and Flask inside."""
    import contextlib

    import a2wsgi
    import uvicorn
    from starlette.applications import Starlette
    from starlette.routing import Mount

    from src.api.bridge import mcp_app
    from src.api.door import Door
    from src.api.keys import KeyStore
    from src.api.rest import build_app
    from src.api.source import Source

    url = os.environ["DATABASE_URL"]
    source = Source(TradingDatabase(url, OWNER, read_only=True), SystemClock(), lambda: TradingDatabase(url, OWNER))
    rest = build_app(source, Door("127.0.0.1", (), KeyStore(), SystemClock()))
    protocol = mcp_app(source)

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> Any:
        async with protocol.router.lifespan_context(protocol):
            yield

    app = Starlette(routes=[*protocol.routes, Mount("/", a2wsgi.WSGIMiddleware(rest, workers=6))], lifespan=lifespan)
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
    parser.add_argument("--requests", type=int, default=200, help="of each client at each endpoint")
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
            measure("ours (waitress)", ["src/mcp_server.py"], path, options.requests, every=True)
            measure("the same under uvicorn", ["-m", "benchmarks.api", "uvicorn"], path, options.requests, every=False)
            port = free_port()
            with serving(["-m", "benchmarks.api", "bare", str(port)], port, path) as process:
                name = "bare APIFlask endpoint (waitress)"
                print("\n" + row(process.pid, name, port, "/livez", [""], options.requests * 2))
        print(line("the writer's rows", sorted(writer.samples)) + f"  refused {writer.refused}")


if __name__ == "__main__":
    main()

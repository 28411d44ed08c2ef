"""What charts cost: time of the first and the next pictures, memory of the child that draws and of the loop.

``python3 -m benchmarks.charts [PICTURES] [CANDLES.parquet]`` (default: 500 pictures; real candles of ``../shared/data``
beside the project where they are at hand, else made-up ones). Each figure stands beside its budget.
"""

import random
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

from rich.console import Console
from rich.table import Table

from src.charts.analysis_schema import ChartView, view_of
from src.domain.clock import monotonic_s
from src.domain.market import Candle

ROOT = Path(__file__).resolve().parent.parent
CANDLES = ROOT.parent / "shared" / "data" / "BTCUSDT_um_15m_2022_2024H1.parquet"
FIRST_S, NEXT_S, GROWTH_MB, LOOP_MB = 3.0, 0.8, 20.0, 60.0


def main(pictures: int, file: Path) -> int:
    """Print the figures; 1 where one is beyond its budget."""
    told = subprocess.run(
        [sys.executable, "-m", "benchmarks.charts", "--child", str(pictures), str(file)],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    first_s, p50_s, p99_s, start_mb, end_mb, most_mb, size_kb = map(float, told.stdout.split()[-7:])
    loop_mb, loop_private_mb = loop_memory_mb()
    rows = [
        ("first picture, imports included", first_s, "s", FIRST_S),
        ("next pictures, median", p50_s, "s", NEXT_S),
        ("next pictures, 99 of 100", p99_s, "s", None),
        (f"child's growth from picture 10 to {pictures}", end_mb - start_mb, "MB", GROWTH_MB),
        ("child, most", most_mb, "MB", None),
        ("the loop's own process, idle (RSS)", loop_mb, "MB", LOOP_MB),
        ("the loop's own process, idle (private)", loop_private_mb, "MB", None),
        ("one picture on disk", size_kb, "kB", None),
    ]
    table = Table("what", "measured", "budget", "")
    good = True
    for what, value, unit, budget in rows:
        within = budget is None or value <= budget
        good = good and within
        table.add_row(
            what, f"{value:.2f} {unit}", "" if budget is None else f"{budget:g} {unit}", "" if within else "✗"
        )
    Console().print(table)
    return 0 if good else 1


def child(pictures: int, file: Path) -> None:
    """Draw that many different charts, and write what they took on one line."""
    began_s = monotonic_s()
    import src.charts.renderer as drawing

    candles = candles_of(file)
    views = charts_of(candles, random.Random(7))
    png = drawing.draw_chart(next(views))
    first_s = monotonic_s() - began_s
    took = []
    start_mb = memory_mb()[0]
    most_mb = start_mb
    for number in range(1, pictures):
        view = next(views)
        began_s = monotonic_s()
        drawing.draw_chart(view)
        took.append(monotonic_s() - began_s)
        if number == 10:
            start_mb = memory_mb()[0]
        most_mb = max(most_mb, memory_mb()[0])
    took.sort()
    end_mb = memory_mb()[0]
    p50_s, p99_s = took[len(took) // 2], took[int(len(took) * 0.99)]
    print(first_s, p50_s, p99_s, start_mb, end_mb, most_mb, len(png) / 1000)


def charts_of(candles: list[Candle], chance: random.Random):
    """Return views of spans of 1,000 candles, without end."""
    while True:
        start = chance.randrange(max(1, len(candles) - 1_000))
        yield view_at(candles, start)


def view_at(candles: list[Candle], start: int) -> ChartView:
    """Return the view of 1,000 candles from ``start`` on."""
    return view_of("BTCUSDT", "15m", candles[start : start + 1_000])


def candles_of(file: Path) -> list[Candle]:
    """Return the candles of a parquet file; a random walk where there is none."""
    if not file.is_file():
        chance, price, made = random.Random(7), 30_000.0, []
        for at in range(20_000):
            close = price * (1 + chance.gauss(0, 0.003))
            top, bottom = max(price, close) * 1.001, min(price, close) * 0.999
            made.append(Candle(1_700_000_100_000 + at * 900_000, price, top, bottom, close, chance.expovariate(0.01)))
            price = close
        return made
    import pyarrow.parquet as parquet

    columns = ["open_time", "open", "high", "low", "close", "volume"]
    table = parquet.read_table(file, columns=columns).slice(0, 40_000)
    return [Candle(*row) for row in zip(*(table[column].to_pylist() for column in columns), strict=True)]


def memory_mb(pid: str = "self") -> tuple[float, float]:
    """Return resident and private memory of a process in MB."""
    figures = dict.fromkeys(("Rss", "Private_Clean", "Private_Dirty"), 0.0)
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        name, _, rest = line.partition(":")
        if name in figures:
            figures[name] = int(rest.split()[0]) * 1024 / 1e6
    return figures["Rss"], figures["Private_Clean"] + figures["Private_Dirty"]


def loop_memory_mb() -> tuple[float, float]:
    """Return the memory of a chart bot that waits: its real process, with a child that has nothing to tell."""
    code = """
        import sys, threading
        from decimal import Decimal
        from src import chart_analysis_bot as bot
        from src.charts.console_output import ChartConsole
        from src.runtime.console import Console
        from src.domain.clock import ExchangeClock
        from src.storage.database import TradingDatabase
        from src.runtime.settings import Settings
        from pathlib import Path
        database = TradingDatabase(f"sqlite:///{sys.argv[1]}/t.db")
        if sys.argv[2] == "make":
            database.migrate()
            sys.exit()
        database.migrate()
        class Nobody:
            def ask(self, *_): return {"ok": True, "now_ms": 1_700_000_000_000}
            def end(self, grace_s=0.0): print("idle", flush=True)
        stop = threading.Event()
        made = bot.ChartAnalysisBot(
            Settings.load(Path(sys.argv[1]) / "none"), ExchangeClock(), database, Nobody(),
            ChartConsole(Console(bot.log)), stop)
        made.run()
    """
    with tempfile.TemporaryDirectory() as folder:
        run = [sys.executable, "-c", textwrap.dedent(code), folder]
        subprocess.run([*run, "make"], cwd=ROOT, check=True)
        process = subprocess.Popen([*run, "run"], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        try:
            assert process.stdout is not None
            process.stdout.readline()
            return memory_mb(str(process.pid))
        finally:
            process.kill()
            process.wait()


if __name__ == "__main__":
    words = [word for word in sys.argv[1:] if word != "--child"]
    count = int(words[0]) if words else 500
    source = Path(words[1]) if words[1:] else CANDLES
    sys.exit(child(count, source) if "--child" in sys.argv else main(count, source))

"""How long the bot takes to its first decision, and what it weighs: python -m benchmarks.start

Starts the real bot on a real paper exchange (loopback), first without a model (it trains one), then with it, and
prints seconds from the start of the process to the first journalled turn, and resident memory. A bare interpreter
that imports what the bot needs from libraries is the baseline of the same run.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.paper_exchange.running import ROOT, wait_until
from tests.suite.running import Bot, suite

RUNS = 3
IMPORTS = "import binance.client, sqlalchemy, alembic.command, numpy, pydantic_settings, websockets, requests"


def resident_mb(pid: int) -> float:
    """Return the resident memory of a process in megabytes."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))


def first_turn_s(bot: Bot) -> tuple[float, float]:
    """Start the bot; return seconds to its first new turn in the journal, and its memory then."""
    before = len(bot.rows("SELECT id FROM signals"))
    began = time.perf_counter()
    bot.start()
    wait_until(lambda: len(bot.rows("SELECT id FROM signals")) > before, 60, 0.01)
    took = time.perf_counter() - began
    assert bot.process is not None
    weight = resident_mb(bot.process.pid)
    bot.stop()
    return took, weight


def bare_imports_s() -> float:
    """Return how long a process takes that only imports the libraries."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", IMPORTS], cwd=ROOT, check=True)
    return time.perf_counter() - began


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "bot"
        folder.mkdir()
        with suite(folder) as (_exchange, bot):
            trained, _ = first_turn_s(bot)
            again = [first_turn_s(bot) for _ in range(RUNS)]
        bare = min(bare_imports_s() for _ in range(RUNS))
    best = min(took for took, _ in again)
    print(f"first start, trains on 10,080 candles   {trained:6.2f} s   budget: training under 5 s")
    print(f"start with a model                      {best:6.2f} s   budget: 1 s beyond the imports")
    print(f"  of which the libraries' imports       {bare:6.2f} s")
    print(f"resident memory after the first turn    {max(weight for _, weight in again):6.0f} MB")


if __name__ == "__main__":
    main()

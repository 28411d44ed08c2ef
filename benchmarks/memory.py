"""What each service weighs when nothing happens: python -m benchmarks.memory

Starts everything by ``restart_all.sh`` in a copy of the project, lets it rest for two turns of the bot, and prints
resident memory (RSS) and the share that would come back if the process ended (PSS: pages that several processes use
count in parts). The budget is for the four services of the specification; the paper exchange and the watcher run beside
them.
"""

import sys
import tempfile
import time
from pathlib import Path

from tests.clone import SERVICES, cloned

FOUR = ("rl_bot", "chart_bot", "mcp_server", "web_dashboard")
BUDGET_MB = 250
REST_S = 130.0


def weight_mb(pid: int) -> tuple[float, float]:
    """Return RSS and PSS of a process in megabytes, by the kernel's own sums."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()[1:]
    sums = {line.split(":")[0]: int(line.split()[1]) / 1024 for line in lines}
    return sums["Rss"], sums["Pss"]


def main(rest_s: float = REST_S) -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as name, cloned(Path(name) / "suite") as clone:
        began = time.perf_counter()
        done = clone.run("restart_all.sh")
        if done.returncode:
            sys.exit(done.stdout + done.stderr)
        took_s = time.perf_counter() - began
        time.sleep(rest_s)
        weights = {service: weight_mb(clone.pid(service)) for service in SERVICES}
    print(f"all healthy after {took_s:.1f} s; after {rest_s:.0f} s of rest, in MB:")
    print(f"{'':16}{'RSS':>8}{'PSS':>8}")
    for service, (rss, pss) in weights.items():
        print(f"{service:16}{rss:8.1f}{pss:8.1f}")
    rss, pss = (sum(weights[service][at] for service in FOUR) for at in (0, 1))
    print(f"{'the four':16}{rss:8.1f}{pss:8.1f}   budget {BUDGET_MB}")


if __name__ == "__main__":
    main(*map(float, sys.argv[1:]))

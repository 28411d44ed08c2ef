"""A whole market week by the live bot and by the backtest, compared bit for bit.

    python -m tests.suite.parity_week [--days 7] [--restart | --kill] [--settings busy|delivered|near|exits]

The bot is the real process on a paper exchange, over HTTP and sockets; the market stands and is moved on minute by
minute. With ``--restart`` the bot is stopped and started again in mid-week: from then on its indicators begin with a
thousand candles, not with all, so that figures differ in their last digits; each decision that differs is listed with
the figure that lies nearest to its threshold. Ends 0 when nothing differs (with ``--restart``: when no decision
differs but where a figure lies within 1e-6 of a threshold), else 1.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

import numpy as np

from src.domain.clock import instant_of, utc_text
from src.market_data.files import read_candles
from tests.shared_data import shared_folder
from tests.suite.parity import Comparison, Live, TrainingSeries, begin, compared, live, past
from tests.suite.running import BUSY

RECORD, FROM = "BTCUSDT_spot_1m_2023.parquet", "2023-03-10"
DAY = 1_440
KINDS = {
    "busy": {**BUSY, "EXPLORATION_RATE": "0.6", "RULES": "safety_first"},
    "delivered": {"RULES": "safety_first"},
    "exits": {
        **BUSY,
        "EXPLORATION_RATE": "0.95",
        "RULES": "safety_exits",
        "EXIT_CONFIDENCE": "1",
        "ALLOW_SHORT": "true",
        "LEVERAGE": "2",
    },
    "near": {
        **BUSY,
        "EXPLORATION_RATE": "0.6",
        "RULES": "safety_first",
        "STOP_LOSS_PERCENTAGE": "0.0015",
        "TAKE_PROFIT_PERCENTAGE": "0.002",
    },
}
SHOWN = 40


def main() -> int:
    """Run one week both ways and print what differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--days", type=float, default=7.0)
    parser.add_argument("--restart", action="store_true", help="stop and start the bot again in the middle")
    parser.add_argument("--kill", action="store_true", help="kill the bot in the middle and start it again")
    parser.add_argument("--settings", choices=sorted(KINDS), default="busy")
    parser.add_argument("--record", type=Path, default=shared_folder() / RECORD, help="one-minute candles")
    parser.add_argument("--from", dest="first_day", default=FROM, help="the first day, YYYY-MM-DD")
    command = parser.parse_args()
    minutes, begins_anew = round(command.days * DAY), command.restart or command.kill
    first = int(np.searchsorted(read_candles(command.record).open_ms, instant_of(command.first_day)))
    course = TrainingSeries(
        command.record, first, minutes, KINDS[command.settings], minutes // 2 * begins_anew, command.kill
    )
    with tempfile.TemporaryDirectory() as folder:
        candles, settings = begin(course, Path(folder))
        began, load = utc_text(int(candles.open_ms[first])), os.getloadavg()[0]
        print(f"{command.record.name} from {began}, {minutes} minutes, {command.settings}, load {load:.1f}", flush=True)
        seen = live(course, Path(folder), candles, settings)
        found = compared(seen, past(course, Path(folder), candles, settings, seen))
    _print(found, seen, minutes)
    return 0 if found.equal or (begins_anew and found.near_edges and not found.other_trades) else 1


def _print(found: Comparison, seen: Live, minutes: int) -> None:
    each_ms = 1_000.0 / minutes
    print(
        f"{seen.wall_s:.0f} s: {seen.wall_s * each_ms:.1f} ms a minute (CPU: bot {seen.bot_cpu_s * each_ms:.1f}, "
        f"exchange {seen.exchange_cpu_s * each_ms:.1f}), {seen.by_seconds} minutes by seconds, load "
        f"{os.getloadavg()[0]:.1f}"
    )
    print(f"turns {found.turns}, trades {found.trades}")
    reasons = sorted({row["exit_reason"] for row in seen.trades})
    print("exits: " + ", ".join(f"{sum(row['exit_reason'] == name for row in seen.trades)} {name}" for name in reasons))
    for name, listed in (
        ("turns late by a lost socket", seen.late),
        ("turns of the bot alone", found.extra),
        ("turns without a pair", found.missing),
        ("turns that decide otherwise", found.decisions),
        ("trades that differ", found.other_trades),
    ):
        print(f"{name}: {len(listed)}")
        for line in listed[:SHOWN]:
            print(f"  {line}")
    print(f"turns with another figure: {len(found.figures)}" + (f", from {found.figures[0]}" if found.figures else ""))


if __name__ == "__main__":
    sys.exit(main())

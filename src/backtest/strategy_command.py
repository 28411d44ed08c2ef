"""Carries out ``python3 -m src.backtest check NAME``: proves what must hold of a user's strategy, and notes it."""

import argparse
from pathlib import Path

from src.backtest.portfolio_command import Show
from src.backtest.strategy_check import check_strategy, facts_rows
from src.domain.clock import SystemClock, utc_text
from src.runtime.settings import Settings
from src.runtime.strategy_loader import STRATEGIES, note_check, read_strategy_file


def add_strategies(parser: argparse.ArgumentParser) -> None:
    """Add the option that names the folder of strategy files."""
    parser.add_argument(
        "--strategies", type=Path, default=STRATEGIES, metavar="FOLDER", help="folder of your own (config/strategies)"
    )


def run_check_command(command: argparse.Namespace, show: Show) -> None:
    """Check one file and print what was found; a file that passes may be started on paper and live."""
    settings, file = Settings.load(), read_strategy_file(command.strategy, command.strategies)
    facts = check_strategy(file)
    note_check(settings.state_dir, file, facts, utc_text(SystemClock().now_ms())[:16])
    show(("check", f"{file.path.name}"), facts_rows(file, facts))
    print(f"{file.path.name} passed; sha256 {file.digest[:16]}... is noted: these very bytes may trade.")
    if not facts["invested"]:
        print("It wanted to hold nothing in all of these decisions; a backtest tells whether it ever does.")

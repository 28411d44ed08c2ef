"""Writes a backtest's folder (``index.html``, ``trades.csv``, ``summary.json``) and reads it back."""

import csv
import io
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from src.backtest.config import Setup
from src.backtest.html_report import compare_page, page
from src.backtest.performance import TRADE_COLUMNS, summary, trade_row
from src.backtest.result import BacktestResult
from src.backtest.sweep import SweepResult
from src.backtest.walk_forward import Fold
from src.domain.errors import DataRefused, SettingsError
from src.domain.portfolio import Trade
from src.market_data.columns import Candles


def report_folder(root: Path, name: str) -> Path:
    """Return the folder of a report; raises ``SettingsError`` for a name that is none."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name):
        raise SettingsError((f"{name!r} is no name of a report: letters, digits, dots, dashes and underscores.",))
    return root / name


def write_report(
    folder: Path, outcome: BacktestResult, setup: Setup, candles: Candles, more: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Write the three files of a run and return its summary; ``more`` is added to it."""
    facts = {**summary(outcome, setup, candles, folder.name), **(more or {})}
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / "trades.csv", trades_csv(outcome.trades))
    write_whole(folder / "summary.json", json.dumps(facts, indent=1) + "\n")
    write_whole(folder / "index.html", page(outcome, setup, candles, facts))
    return facts


def read_summary(folder: Path) -> dict[str, Any]:
    """Return the summary of a report; raises ``DataRefused`` where there is none or it is damaged."""
    path = folder / "summary.json"
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        compare_page([facts])
    except FileNotFoundError as error:
        raise DataRefused(f"{folder} holds no backtest: {path.name} is missing.") from error
    except (ValueError, KeyError, TypeError) as error:
        raise DataRefused(f"{path} is damaged or of another kind of report.") from error
    return dict(facts)


def write_comparison(folder: Path, reports: Sequence[Mapping[str, Any]]) -> Path:
    """Write several summaries side by side and return the page's path."""
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / "index.html", compare_page(reports))
    return folder / "index.html"


def write_sweep(folder: Path, result: SweepResult) -> None:
    """Write the ranking of a sweep as ``ranking.csv`` and ``summary.json``."""
    columns = [key for key in result.rows[0] if key != "daily_returns"] if result.rows else []
    text = io.StringIO()
    table = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    table.writeheader()
    table.writerows(result.rows)
    write_whole(folder / "ranking.csv", text.getvalue())
    best = {key: result.rows[0][key] for key in columns} if result.rows else None
    facts = {"best": best, "deflated": result.deflated._asdict()}
    write_whole(folder / "summary.json", json.dumps(facts, indent=1) + "\n")


def folds_as_json(folds: Sequence[Fold]) -> list[dict[str, Any]]:
    """Return walk-forward's folds as plain values."""
    return [asdict(fold) for fold in folds]


def trades_csv(trades: Sequence[Trade]) -> str:
    """Return closed trades as CSV with a header."""
    text = io.StringIO()
    table = csv.DictWriter(text, TRADE_COLUMNS, lineterminator="\n")
    table.writeheader()
    table.writerows(trade_row(trade) for trade in trades)
    return text.getvalue()


def write_whole(path: Path, text: str) -> None:
    """Put the whole text in the file's place, or nothing."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(path)

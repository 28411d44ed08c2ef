#!/usr/bin/env python3
"""Floor 5, script: shows what the models cost in a month, and switches between paying and not paying for them."""

# ruff: noqa: E402  the first import may start this script anew with the Python that has the others

from src.domain.version import VERSION_LINE
from src.runtime.venv_reexec import use_project_python

use_project_python()

import argparse
import json
import math
import sys
from dataclasses import asdict
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, get_args

from rich.console import Console
from rich.table import Table

from src.domain.clock import SystemClock
from src.domain.errors import SettingsError, SourceUnavailable
from src.llm.cost_report import (
    MODE_SETTINGS,
    Mode,
    ModeCost,
    SpendingRecord,
    current_mode,
    model_reachable,
    month_of,
    read_ledger,
)
from src.llm.pricing import is_own_server, price_of
from src.llm.server_check import api_address, check_server, chosen_model, models_at
from src.runtime.env_file import Change, EnvMissing, EnvNotWritable, changes_in, edited, read_env, value_in, write_env
from src.runtime.settings import Settings

EX_OK: Final = 0
EX_UNAVAILABLE: Final = 69
EX_CANTCREAT: Final = 73
EX_CONFIG: Final = 78
EX_USAGE: Final = 2
MODES: Final = get_args(Mode)
LOCAL: Final = "local"
LOCAL_SETTINGS: Final = {"CHART_ANALYST": "openai"}
EXAMPLES: Final = """examples:
  python3 configure_costs.py                    what is set, where it comes from, what it costs
  python3 configure_costs.py compare            all modes side by side
  python3 configure_costs.py cost-saving        charts by the model, news on this machine
  python3 configure_costs.py premium --dry-run  show what would change, write nothing
  python3 configure_costs.py status --json      the same for a program
  python3 configure_costs.py local --base-url http://localhost:11434/v1 --model qwen3:8b
                                                a model on a server of your own (Ollama, LM Studio, vLLM, llama.cpp)

exit codes: 0 done, 2 usage, 69 the server does not answer as it should, 73 .env cannot be written,
78 settings wrong or .env missing
"""
NO_KEY: Final = "OPENAI_API_KEY is empty: until it is set, charts and news are judged on this machine, free."
SHOWN: Final = (
    "USE_LOCAL_SENTIMENT",
    "CHART_ANALYST",
    "OPENAI_MODEL",
    "OPENAI_NEWS_MODEL",
    "CHART_INTERVAL_MINUTES",
    "OPENAI_MONTHLY_BUDGET_USD",
)


def main(arguments: list[str] | None = None) -> int:
    """Do what the command line says and return the exit code."""
    asked = parser().parse_args(arguments)
    console = Console(no_color=asked.no_color or None, highlight=False, soft_wrap=True)
    try:
        content = read_env(asked.env_file)
        settings = Settings.load(asked.env_file)
        if asked.command == LOCAL:
            return set_up_local(asked, content, settings, console)
        if asked.command in MODES:
            return switch(asked.command, asked, content, console)
        ledger = read_ledger(settings, SystemClock().now_ms())
        if asked.json:
            print(json.dumps(as_json(settings, ledger), indent=2))
        elif asked.command == "compare":
            show_comparison(settings, ledger, console)
        else:
            show_status(settings, ledger, content, console)
    except SettingsError as error:
        print("\n".join(error.problems), file=sys.stderr)
        return EX_CONFIG
    except EnvMissing as error:
        print(error, file=sys.stderr)
        return EX_CONFIG
    except EnvNotWritable as error:
        print(error, file=sys.stderr)
        return EX_CANTCREAT
    except SourceUnavailable as error:
        print(f"Nothing was written: {error}.", file=sys.stderr)
        return EX_UNAVAILABLE
    return EX_OK


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    made = argparse.ArgumentParser(
        prog="configure_costs.py",
        description="Show and choose what the models may cost.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--version", action="version", version=VERSION_LINE)
    made.add_argument("command", nargs="?", default="status", choices=[*MODES, LOCAL, "status", "compare"])
    made.add_argument(
        "--base-url", default="", metavar="URL", help="local: the server, such as http://localhost:11434/v1"
    )
    made.add_argument("--model", default="", metavar="NAME", help="local: the model (default: the only one there)")
    made.add_argument("--json", action="store_true", help="results as JSON")
    made.add_argument("-n", "--dry-run", action="store_true", help="show the change, write nothing")
    made.add_argument("--no-color", action="store_true", help="plain text (also: NO_COLOR=1)")
    made.add_argument("--env-file", type=Path, default=Path(__file__).resolve().parent / ".env", help="another .env")
    return made


def switch(mode: Mode, asked: argparse.Namespace, content: bytes, console: Console) -> int:
    """Write the mode's settings into ``.env``, and show what changed and what it means."""
    changes = changes_in(content, MODE_SETTINGS[mode])
    backup = None
    if changes and not asked.dry_run:
        backup = write_env(asked.env_file, edited(content, changes))
    settings = Settings.load(asked.env_file)
    ledger = read_ledger(settings, SystemClock().now_ms())
    cost = month_of(mode, settings, ledger)
    warnings = [] if asked.dry_run else warnings_of(mode, settings)
    if asked.json:
        told = {"mode": mode, "written": backup is not None, "changes": [_change_json(each) for each in changes]}
        print(json.dumps({**told, "month": _cost_json(cost), "warnings": warnings}, indent=2))
        return EX_OK
    for each in changes:
        console.print(f"{each.name}: {_quoted(each.old)} -> {_quoted(each.new)}", markup=False)
    if not changes:
        console.print(f"Already {mode}: nothing to change.")
    elif asked.dry_run:
        console.print("Dry run: nothing was written.")
    else:
        console.print(f"Written; the old file is {backup}. Restart the chart service for it to take effect.")
    show_month([cost], console)
    for warning in warnings:
        print(warning, file=sys.stderr)
    return EX_OK


def set_up_local(asked: argparse.Namespace, content: bytes, settings: Settings, console: Console) -> int:
    """Check a server of one's own with one question and write it into ``.env``; show what it takes.

    Raises:
        SourceUnavailable: it does not answer as it should; nothing was written.
    """
    try:
        address = api_address(asked.base_url or settings.openai_base_url)
    except ValueError as error:
        print(f"local needs --base-url: {error}.", file=sys.stderr)
        return EX_USAGE
    key = settings.openai_api_key.get_secret_value()
    model = chosen_model(models_at(address, key), asked.model)
    found = check_server(address, model, key)
    timeout_s = max(30, min(600, math.ceil(4 * found.seconds)))
    wanted = LOCAL_SETTINGS | {
        "OPENAI_BASE_URL": address,
        "OPENAI_MODEL": model,
        "OPENAI_NEWS_MODEL": model,
        "OPENAI_TIMEOUT_S": str(timeout_s),
    }
    changes = changes_in(content, wanted)
    if changes and not asked.dry_run:
        write_env(asked.env_file, edited(content, changes))
    facts = {**asdict(found), "written": bool(changes) and not asked.dry_run, "free": is_own_server(address)}
    if asked.json:
        print(json.dumps({**facts, "changes": [_change_json(each) for each in changes]}, indent=2))
        return EX_OK
    for each in changes:
        console.print(f"{each.name}: {_quoted(each.old)} -> {_quoted(each.new)}", markup=False)
    console.print(f"{model} answered within {found.seconds} s.", markup=False)
    console.print("It sees pictures." if found.vision else "It sees no pictures: charts are read from their figures.")
    if not found.schema:
        console.print("It takes no schema: the shape of the answer is asked for in words.")
    if not facts["free"]:
        print(f"{address} is no address of your own network: what it charges is not known here.", file=sys.stderr)
    console.print(
        "Dry run: nothing was written." if asked.dry_run else "Restart the chart service for it to take effect."
    )
    return EX_OK


def warnings_of(mode: Mode, settings: Settings) -> list[str]:
    """Return what keeps the mode from being what it says."""
    found = []
    if mode != "free" and not model_reachable(settings):
        found.append(NO_KEY)
    if current_mode(settings) != mode:
        found.append(f"The environment sets {' or '.join(MODE_SETTINGS[mode])} and wins over .env: unset it.")
    found += foreign_models(mode, settings)
    for model in dict.fromkeys((settings.openai_model, settings.openai_news_model)):
        price = price_of(model)
        if price is not None and price.shutdown and mode != "free":
            found.append(f"{model} ends on {price.shutdown}: {price.replacement} takes its place.")
    return found


def foreign_models(mode: Mode, settings: Settings) -> list[str]:
    """Return what is odd about models that a server of one's own is asked for."""
    if mode == "free" or not (settings.openai_base_url and is_own_server(settings.openai_base_url)):
        return []
    asked = {"OPENAI_MODEL": settings.openai_model}
    if mode == "premium":
        asked["OPENAI_NEWS_MODEL"] = settings.openai_news_model
    return [
        f"{name}={model} is a model of OpenAI's, and OPENAI_BASE_URL is a server of your own: name one that it has."
        for name, model in asked.items()
        if price_of(model) is not None
    ]


def show_status(settings: Settings, ledger: SpendingRecord, content: bytes, console: Console) -> None:
    """Print the settings with their source, the month so far, and the month to expect."""
    mode = current_mode(settings)
    console.print(f"Mode: {mode or 'mixed (charts on this machine, news by the model)'}")
    table = Table("setting", "value", "from", box=None)
    for name in SHOWN:
        value = getattr(settings, name.lower())
        table.add_row(name, _text(value), source_of(name, value, content))
    console.print(table)
    console.print(f"This month so far: ${ledger.month_usd} of ${settings.openai_monthly_budget_usd}")
    for note in foreign_models(mode or "premium", settings):
        console.print(note, markup=False)
    for note in filter(None, (ledger.note, "" if mode == "free" or model_reachable(settings) else NO_KEY)):
        console.print(note, markup=False)
    if mode:
        show_month([month_of(mode, settings, ledger)], console)


def show_comparison(settings: Settings, ledger: SpendingRecord, console: Console) -> None:
    """Print all modes side by side, with what each saves against premium."""
    costs = [month_of(mode, settings, ledger) for mode in MODES]
    show_month(costs, console)
    full = costs[0].total_usd
    for cost in costs[1:]:
        if full and cost.total_usd is not None:
            saved = full - cost.total_usd
            console.print(f"{cost.mode} saves ${saved} a month ({saved / full:.0%}) against premium")
    pairs, minutes = len(settings.pairs), settings.chart_interval_minutes
    console.print(f"Assumed: {pairs} pair(s), a chart every {minutes} minutes, 100 headlines a day in batches of 25.")


def show_month(costs: list[ModeCost], console: Console) -> None:
    """Print a month's cost, a row for each component and a column for each mode, and how the figures are known."""
    table = Table("Component", *(cost.mode for cost in costs), title="US dollars a month", title_justify="left")
    for at, line in enumerate(costs[0].lines):
        table.add_row(line.component, *(_dollars(cost.lines[at].usd) for cost in costs))
    table.add_section()
    table.add_row("TOTAL (Monthly)", *(_dollars(cost.total_usd) for cost in costs))
    console.print(table)
    for line in costs[0].lines:
        if line.model:
            console.print(f"{line.component}: {line.model}, {line.basis}", markup=False)


def source_of(name: str, value: Any, content: bytes) -> str:
    """Return where a setting's value comes from: ``.env``, the environment, or the default."""
    written = value_in(content, name)
    if written is not None and written.strip().lower() == _text(value).lower():
        return ".env"
    return "default" if written is None and value == Settings.model_fields[name.lower()].default else "environment"


def as_json(settings: Settings, ledger: SpendingRecord) -> dict[str, Any]:
    """Return status and comparison for a program; dollars are text, as they are exact."""
    return {
        "mode": current_mode(settings),
        "settings": {name: _text(getattr(settings, name.lower())) for name in SHOWN},
        "month_to_date_usd": str(ledger.month_usd),
        "note": ledger.note,
        "modes": {mode: _cost_json(month_of(mode, settings, ledger)) for mode in MODES},
    }


def _cost_json(cost: ModeCost) -> dict[str, Any]:
    lines = [
        {
            "component": line.component,
            "model": line.model,
            "usd": None if line.usd is None else str(line.usd),
            "basis": line.basis,
        }
        for line in cost.lines
    ]
    return {"lines": lines, "total_usd": None if cost.total_usd is None else str(cost.total_usd)}


def _change_json(change: Change) -> dict[str, str | None]:
    return {"name": change.name, "old": change.old, "new": change.new}


def _dollars(value: Decimal | None) -> str:
    if value is None:
        return "unknown"
    return f"{value:.2f}" if value else "FREE"


def _quoted(value: str | None) -> str:
    return "(not set)" if value is None else value or "(empty)"


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


if __name__ == "__main__":
    sys.exit(main())

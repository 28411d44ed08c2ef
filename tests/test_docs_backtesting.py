"""docs/backtesting.md cannot go stale: its commands are understood, no option is missing, its sentences are said."""

import argparse
import re
import shlex
from pathlib import Path

import pytest

import retrain_rl_model
from src.backtest import __main__ as backtest
from src.backtest.search_space import parse_space
from src.backtest.variants import KINDS
from src.market_data import __main__ as market_data

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "backtesting.md").read_text(encoding="utf-8")
PARSERS = {
    "python3 -m src.market_data": market_data._parser,
    "python3 -m src.backtest": backtest._parser,
    "python3 retrain_rl_model.py": retrain_rl_model.parser,
}
COMMANDS = [
    line.partition("  #")[0].strip()
    for block in re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)
    for line in block.splitlines()
]


def options(parser: argparse.ArgumentParser) -> set[str]:
    """Return all long options of a parser and its commands, and the commands' names."""
    found = set()
    for action in parser._actions:
        found |= {each for each in action.option_strings if each.startswith("--")}
        if isinstance(action, argparse._SubParsersAction):
            for name, inner in action.choices.items():
                found |= {name} | options(inner)
    return found - {"--help"}


@pytest.mark.parametrize("command", [each for each in COMMANDS if not each.endswith("--help")])
def test_every_command_of_the_page_is_understood(command):
    program = next(name for name in PARSERS if command.startswith(name))
    PARSERS[program]().parse_args(shlex.split(command.removeprefix(program)))


@pytest.mark.parametrize("program", PARSERS)
def test_every_command_and_option_that_there_is_stands_on_the_page(program):
    words = set(re.findall(r"[\w-]+", PAGE))
    assert options(PARSERS[program]()) - words == set()


def test_each_grid_of_the_page_names_figures_that_can_be_varied():
    kinds = dict(KINDS) | dict.fromkeys(("entry_days", "exit_days"), int)
    for word in re.findall(r"--grid (\S+)", PAGE):
        if "=" in word:
            assert parse_space([word.rstrip("`")], kinds)


def test_what_the_page_says_is_said_is_said():
    table = PAGE.partition("### What it says")[2].partition("Exit codes")[0]
    paths = (*(ROOT / "src" / "market_data").glob("*.py"), *(ROOT / "src" / "domain").glob("candle_*.py"))
    sources = "".join(path.read_text(encoding="utf-8") for path in paths)
    quoted = [each for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE) for each in re.findall(r"`(.+?)`", row)]
    assert len(quoted) >= 15
    assert [each for each in quoted if each not in sources] == []


@pytest.mark.parametrize("module", [market_data, backtest, retrain_rl_model])
def test_the_exit_codes_are_those_of_the_command(module):
    said = retrain_rl_model.EXAMPLES if module is retrain_rl_model else module.__doc__
    codes = set(re.findall(r"\b(\d{1,3}) [a-z]", said.lower().partition("exit codes")[2].replace("\n", " ")))
    sections = [
        set(re.findall(r"\b(\d{1,3}) [a-z]", each.replace("\n", " ")))
        for each in re.findall(r"Exit codes: (.*?)\n\n", PAGE + "\n\n", re.DOTALL)
    ]
    assert codes in sections


def test_the_readme_leads_to_the_page():
    assert "(docs/backtesting.md)" in (ROOT / "README.md").read_text(encoding="utf-8")

"""The exchange's library is loaded as far as it is used, and stays whole for whoever wants the rest of it."""

import subprocess
import sys

from src.runtime.settings import PROJECT_ROOT


def run_apart(words: str) -> str:
    """Return what a fresh interpreter prints."""
    done = subprocess.run(
        [sys.executable, "-c", words], cwd=PROJECT_ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout.strip()


def test_asking_over_rest_loads_no_second_client_and_no_parser_of_dates():
    heavy = run_apart(
        "import sys, src.exchanges.binance.transport\n"
        "print([name for name in ('aiohttp', 'regex', 'tzlocal', 'Crypto.Math.Numbers') if name in sys.modules])"
    )
    assert heavy == "[]"


def test_the_rest_of_the_library_is_loaded_on_use():
    words = (
        "from src.exchanges.binance.sdk import Client\n"
        "import binance\n"
        "from binance import AsyncClient, BinanceSocketManager\n"
        "from binance.helpers import date_to_milliseconds\n"
        "assert binance.Client is Client\n"
        "print(issubclass(AsyncClient, binance.base_client.BaseClient), date_to_milliseconds('1 Jan 2020 UTC'))\n"
        "print(hasattr(binance, 'nonsense'))"
    )
    assert run_apart(words).split() == ["True", "1577836800000", "False"]


def test_a_library_that_is_loaded_already_is_taken_as_it_is():
    load = "from src.exchanges.binance.sdk import Client"
    words = f"import binance, sys; before = binance.Client; {load}; print(Client is before)"
    assert run_apart(words) == "True"

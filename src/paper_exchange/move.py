"""``python3 -m src.paper_exchange move BTCUSDT -3%`` moves a price, to see a stop work."""

import json
import re
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

EXIT_USAGE, EXIT_UNAVAILABLE, EXIT_CONFIG = 2, 69, 78
LARGEST_PERCENT = 50.0
USAGE = """usage: python3 -m src.paper_exchange move SYMBOL PERCENT

Moves all prices of a contract of the running paper exchange, from its next second on; never those of Binance.
Example: python3 -m src.paper_exchange move BTCUSDT -3%
"""
_PERCENT = re.compile(r"([+-]?[0-9]{1,3}(?:\.[0-9]{1,6})?) ?%?")
_TIMEOUT_S = 10.0


class _Refused(Exception):
    """The command cannot be carried out; the text is one sentence."""

    def __init__(self, code: int, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


def move_price(words: list[str], environment: Mapping[str, str]) -> int:
    """Carry out ``move SYMBOL PERCENT`` and return the exit code: 0, 2 usage, 69 not running, 78 no token."""
    if words in (["-h"], ["--help"]):
        sys.stdout.write(USAGE)
        return 0
    try:
        symbol, percent = read_words(words)
        sys.stdout.write(_move(symbol, percent, environment) + "\n")
    except _Refused as refusal:
        sys.stderr.write(f"{refusal}\n")
        return refusal.code
    return 0


def read_words(words: list[str]) -> tuple[str, float]:
    """Return symbol and percent of the command line; raises ``_Refused`` for anything else."""
    if len(words) != 2:
        raise _Refused(EXIT_USAGE, USAGE.rstrip())
    found = _PERCENT.fullmatch(words[1].strip())
    if found is None:
        raise _Refused(EXIT_USAGE, f"{words[1]} is no percentage: write it as -3% or 1.5%")
    percent = float(found[1])
    if not 0 < abs(percent) <= LARGEST_PERCENT:
        raise _Refused(EXIT_USAGE, f"{words[1]} is not between -{LARGEST_PERCENT:g}% and {LARGEST_PERCENT:g}%, or is 0")
    return words[0].upper(), percent


def _move(symbol: str, percent: float, environment: Mapping[str, str]) -> str:
    token = environment.get("PAPER_CONTROL_TOKEN", "")
    if not token:
        raise _Refused(
            EXIT_CONFIG,
            "PAPER_CONTROL_TOKEN is empty: write 16 letters or more into .env, then ./scripts/restart_all.sh",
        )
    host, port = environment.get("PAPER_HOST") or "127.0.0.1", environment.get("PAPER_PORT") or "3100"
    address = f"http://{host}:{port}"
    before = _ask(f"{address}/fapi/v1/ticker/price?symbol={symbol}")["price"]
    _ask(f"{address}/control/shock", {"symbol": symbol, "percent": percent}, token)
    return (
        f"{symbol} moves by {percent:+g}% with the next second: {before} -> about "
        f"{float(before) * (1 + percent / 100):.8g} (paper exchange at {address})"
    )


def _ask(address: str, body: dict[str, Any] | None = None, token: str = "") -> Any:
    """Return the JSON answer of the exchange on this machine; the address is its own and none else's."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(address, data, {"X-Control-Token": token} if token else {})  # noqa: S310
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=_TIMEOUT_S) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        raise _Refused(EXIT_CONFIG, _reason(error, address)) from error
    except (OSError, ValueError) as error:
        raise _Refused(
            EXIT_UNAVAILABLE,
            f"no paper exchange answers at {address.split('/', 3)[2]}: start it with "
            "./scripts/start_paper_exchange.sh start",
        ) from error


def _reason(error: urllib.error.HTTPError, address: str) -> str:
    if error.code in (403, 404) and "/control/" in address:
        return "the running paper exchange has another PAPER_CONTROL_TOKEN than .env: ./scripts/restart_all.sh"
    try:
        told = json.load(error)
    except ValueError:
        told = {}
    if told.get("code") == -1121:
        return f"the paper exchange does not list {address.rpartition('=')[2]}"
    return f"the paper exchange refused: {told.get('msg') or told.get('error') or f'HTTP {error.code}'}"

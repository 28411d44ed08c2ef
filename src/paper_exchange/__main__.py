"""The process. ``python3 -m src.paper_exchange`` serves until SIGTERM or SIGINT."""

import argparse
import asyncio
import contextlib
import errno
import logging
import os
import signal
import sys
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TypeVar

from aiohttp import web
from dotenv import dotenv_values

from src.domain.errors import DataRefused
from src.domain.version import VERSION_LINE
from src.paper_exchange.config import PaperConfig
from src.paper_exchange.contract_list import known_contracts
from src.paper_exchange.exchange import PaperExchange
from src.paper_exchange.markets import open_market
from src.paper_exchange.move import move_price
from src.paper_exchange.port_owner import port_owner
from src.paper_exchange.server import Server
from src.paper_exchange.signing import key_ring
from src.paper_exchange.store import StateCorrupt, StateStore, StateTaken

log = logging.getLogger("paper_exchange")

_Number = TypeVar("_Number", float, int, Decimal)
ROOT = Path(__file__).resolve().parents[2]
EXIT_TROUBLE, EXIT_STATE, EXIT_CONFIG = 1, 65, 78
_DEFAULTS = {
    "PAPER_MARKET": "synthetic",
    "PAPER_SPEED": "1",
    "PAPER_HOST": "127.0.0.1",
    "PAPER_PORT": "3100",
    "PAPER_BALANCE": "10000",
    "PAPER_START": "",
    "PAPER_SYMBOLS": "",
    "PAPER_STATE": "state/paper_exchange.json",
}
_HELP = {
    "PAPER_MARKET": "synthetic[:SEED], replay:FILE[,FILE] or mirror",
    "PAPER_SPEED": "market seconds in one wall second",
    "PAPER_HOST": "address to listen on; this machine only",
    "PAPER_PORT": "port to listen on; 0 takes a free one",
    "PAPER_BALANCE": "USDT of a new account",
    "PAPER_START": "UTC instant at which a replay begins",
    "PAPER_SYMBOLS": "contracts to list, as BTCUSDT,ADAUSDT; empty: all that the market has",
    "PAPER_STATE": "file that holds all accounts",
}
_EPILOG = "move SYMBOL PERCENT: moves a price of the running exchange, as in: move BTCUSDT -3%%"


class _SettingsRefused(Exception):
    """A setting cannot be used; the text is one sentence."""


def read_config(arguments: list[str], environment: Mapping[str, str]) -> PaperConfig:
    """Return the settings: arguments win over ``environment``.

    Secrets (PAPER_API_KEY, PAPER_API_SECRET, PAPER_CONTROL_TOKEN) come from the environment only: arguments can be
    read by everybody on the machine.
    """
    parser = argparse.ArgumentParser(
        prog="python3 -m src.paper_exchange", description="A stand-in for Binance.", epilog=_EPILOG
    )
    parser.add_argument("--version", action="version", version=VERSION_LINE)
    for name, default in _DEFAULTS.items():
        option = "--" + name.removeprefix("PAPER_").lower()
        parser.add_argument(option, default=environment.get(name) or default, help=f"{_HELP[name]} ({name})")
    chosen = parser.parse_args(arguments)
    try:
        state = Path(chosen.state).expanduser()
        return PaperConfig(
            market=chosen.market,
            speed=_number("PAPER_SPEED", chosen.speed, float),
            host=chosen.host,
            port=_number("PAPER_PORT", chosen.port, int),
            balance=_number("PAPER_BALANCE", chosen.balance, Decimal),
            start=chosen.start,
            state=state if state.is_absolute() else ROOT / state,
            keys=key_ring(environment.get("PAPER_API_KEY", ""), environment.get("PAPER_API_SECRET", "")),
            control_token=environment.get("PAPER_CONTROL_TOKEN", ""),
            symbols=tuple(each.strip().upper() for each in chosen.symbols.split(",") if each.strip()),
            contracts=known_contracts(ROOT / "data").contracts,
        )
    except (ValueError, DataRefused) as error:
        raise _SettingsRefused(str(error)) from error


def _number(name: str, text: str, kind: Callable[[str], _Number]) -> _Number:
    try:
        return kind(text)
    except (ValueError, InvalidOperation):
        raise _SettingsRefused(f"{name}={text} is no number") from None


def _environment() -> dict[str, str]:
    """The project's .env, and over it the environment."""
    found = {name.upper(): value for name, value in dotenv_values(ROOT / ".env").items() if value is not None}
    return {**found, **os.environ}


async def serve(exchange: PaperExchange) -> int:
    """Serve until a signal asks to end; return the process's exit code."""
    config, asked = exchange.config, asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, asked.set)
    server = Server(exchange)
    exchange.tick()
    if not exchange.save() and not config.state.exists():
        raise OSError(errno.ENOSPC, f"no space for the state file {config.state}")
    runner = web.AppRunner(server.application(), access_log=None, shutdown_timeout=0.5, handler_cancellation=False)
    await runner.setup()
    site = web.TCPSite(runner, config.host, config.port)
    try:
        await site.start()
    except OSError as error:
        await runner.cleanup()
        if error.errno != errno.EADDRINUSE:
            raise
        print(f"port {config.port} is taken by {port_owner(config.port)}: set PAPER_PORT to another", file=sys.stderr)
        return EXIT_TROUBLE
    host, port = runner.addresses[0][:2]
    with contextlib.suppress(OSError):  # standard output is a log file as a rule, and its disk may be full
        print(
            f"paper exchange ready: http://{host}:{port} market={config.market} speed={config.speed:g} "
            f"process={os.getpid()}",
            flush=True,
        )
    await _until_asked(server, asked)
    await server.end()
    await runner.cleanup()
    return 0


async def _until_asked(server: Server, asked: asyncio.Event) -> None:
    """Return when asked to end; a failed heartbeat or save is raised, so that the process ends, too."""
    work = [asyncio.create_task(server.beat()), asyncio.create_task(server.keep())]
    wait = asyncio.create_task(asked.wait())
    await asyncio.wait((*work, wait), return_when=asyncio.FIRST_COMPLETED)
    for task in (*work, wait):
        task.cancel()
    for ended in await asyncio.gather(*work, return_exceptions=True):
        if isinstance(ended, BaseException) and not isinstance(ended, asyncio.CancelledError):
            raise ended


def main(arguments: list[str]) -> int:
    """Run one paper exchange and return its exit code: 0, 1 trouble, 65 damaged state, 78 wrong settings.

    ``move SYMBOL PERCENT`` instead moves a price of the one that runs already.
    """
    if arguments[:1] == ["move"]:
        return move_price(arguments[1:], _environment())
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        config = read_config(arguments, _environment())
        market = open_market(config.market, config.symbols)
        with contextlib.closing(StateStore(config.state)) as store:
            exchange = PaperExchange(config, market, store)
            code = asyncio.run(serve(exchange))
            exchange.save()
            market.close()
            _note_stop(code)
            return code
    except (_SettingsRefused, DataRefused) as error:
        return _refuse(error, EXIT_CONFIG)
    except StateCorrupt as error:
        return _refuse(error, EXIT_STATE)
    except (StateTaken, OSError) as error:
        return _refuse(error, EXIT_TROUBLE)


def _note_stop(code: int) -> None:
    """Rename ``NAME.pid`` to ``NAME.stopped``: the start scripts and the watchdog then know that it was stopped."""
    pid_file = Path(os.environ.get("SERVICE_PID_FILE") or os.devnull)
    with contextlib.suppress(OSError):
        if code == 0 and pid_file.read_text(encoding="ascii").strip() == str(os.getpid()):
            pid_file.rename(pid_file.with_suffix(".stopped"))


def _refuse(error: Exception, code: int) -> int:
    print(f"paper exchange: {error}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

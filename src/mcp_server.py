"""Floor 5, process: the REST and MCP server: programs and agents ask it what the bots saw, decided and traded.

Beside its answers it tells people of bots that fell silent while no watcher does, and of guesses at its keys.
``--stdio`` speaks the Model Context Protocol over standard input and output instead (``--control`` lets that one
caller trip the circuit breaker); ``--openapi`` prints the contract.
"""

import json
import logging
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

from src.api.bridge import McpBridge, serve_stdio
from src.api.door import Door
from src.api.guesses import GuessReporter
from src.api.keys import KEYS_FILE, KeyStore
from src.api.metrics import Metrics
from src.api.rest import build_app
from src.api.serving import WebServer, pass_over_what_is_loaded
from src.api.source import Caller, Source
from src.core.clock import SystemClock
from src.core.errors import SettingsError
from src.database import TradingDatabase
from src.records import Owner
from src.service import notify_manager, run_process, run_rounds
from src.settings import Settings
from src.silence import LOOK_EVERY_S, SilenceReporter

log = logging.getLogger("mcp_server")

_LAST_LOOK_S = 2.0  # a messenger that does not answer holds up no end

_USAGE = "Usage: python3 src/mcp_server.py [--stdio [--control] | --openapi]"


def main(stop: threading.Event) -> None:
    """Serve until ``stop`` is set."""
    settings = Settings.load()
    clock = SystemClock()
    door = Door(settings.mcp_host, settings.cors_origins, KeyStore(settings.state_dir / KEYS_FILE), clock)
    door.refuse_open_bind()
    owner = owner_of(settings)
    with closing(TradingDatabase(settings.database_url, owner)) as writer:
        writer.migrate()
    with closing(TradingDatabase(settings.database_url, owner, read_only=True)) as database:
        source = Source(database, clock, lambda: TradingDatabase(settings.database_url, owner))
        mcp = McpBridge(source)
        silence = SilenceReporter.from_settings(settings, database, clock)
        guesses = GuessReporter(door, silence.notifier, clock)
        server = WebServer(build_app(source, door, mcp, Metrics(source).text), settings.mcp_host, settings.mcp_port)
        log.info("server listens: host=%s port=%s world=%r", settings.mcp_host, server.port, source.label())
        eyes = _open_eyes([silence.look, guesses.look], stop)
        pass_over_what_is_loaded()
        notify_manager("READY=1")
        server.serve(stop)
        mcp.close()
        eyes.join(_LAST_LOOK_S)


def _open_eyes(looks: Sequence[Callable[[], object]], stop: threading.Event) -> threading.Thread:
    """Look every few seconds, in a thread whose failure ends the process, until ``stop`` is set."""

    def work() -> None:
        for look in looks:
            look()

    eyes = threading.Thread(target=run_rounds, args=(work, LOOK_EVERY_S, stop), name="eyes", daemon=True)
    eyes.start()
    return eyes


def speak(control: bool) -> int:
    """Speak the protocol with the one program that started us; return the exit code."""
    try:
        settings = Settings.load()
    except SettingsError as error:
        print("\n".join(error.problems), file=sys.stderr)
        return 78
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING)  # standard output belongs to the protocol
    owner = owner_of(settings)
    scopes = frozenset({"read", "control"} if control else {"read"})
    with closing(TradingDatabase(settings.database_url, owner, read_only=True)) as database:
        source = Source(database, SystemClock(), lambda: TradingDatabase(settings.database_url, owner))
        serve_stdio(source, Caller("stdio", scopes))
    return 0


def contract() -> str:
    """Return the OpenAPI document as ``docs/openapi.json`` keeps it; needs neither settings nor a database."""
    clock = SystemClock()
    source = Source(TradingDatabase("sqlite://"), clock, lambda: TradingDatabase("sqlite://"))
    app = build_app(source, Door("127.0.0.1", (), KeyStore(Path(KEYS_FILE)), clock))
    return json.dumps(app.spec, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def owner_of(settings: Settings) -> Owner:
    """Return whose rows the settings speak of."""
    return Owner(settings.bot_id, settings.mode, settings.world)


def run(arguments: list[str]) -> int:
    """Do what the command line asks; return the exit code."""
    match arguments:
        case []:
            return run_process("mcp_server", main)
        case ["--stdio"] | ["--stdio", "--control"]:
            return speak("--control" in arguments)
        case ["--openapi"]:
            sys.stdout.write(contract())
            return 0
    print(_USAGE, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))

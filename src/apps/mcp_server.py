"""The REST and MCP server: programs and agents read what the bots observed, decided and traded.

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

from src.api.attack_monitor import AttackMonitor
from src.api.auth import Authenticator
from src.api.context import ApiContext, Caller
from src.api.keys import KEYS_FILE, KeyStore
from src.api.mcp_wsgi import McpBridge, serve_stdio
from src.api.metrics import Metrics
from src.api.rest import build_app
from src.api.server import ApiServer, pass_over_what_is_loaded
from src.domain.clock import SystemClock
from src.domain.errors import SettingsError
from src.domain.version import VERSION_LINE
from src.monitoring.fallback_alerts import LOOK_EVERY_S, FallbackAlerter
from src.runtime.process import notify_manager, run_process, run_rounds
from src.runtime.public_hosts import public_paths
from src.runtime.settings import Settings
from src.storage.database import TradingDatabase
from src.storage.rows import Owner

log = logging.getLogger("mcp_server")

_LAST_LOOK_S = 2.0  # a messenger that does not answer holds up no end

_USAGE = "Usage: python3 src/mcp_server.py [--stdio [--control] | --openapi | --version]"


def main(stop: threading.Event) -> None:
    """Serve until ``stop`` is set."""
    settings = Settings.load()
    clock = SystemClock()
    keys = KeyStore(settings.state_dir / KEYS_FILE)
    authenticator = Authenticator(
        host=settings.mcp_host,
        origins=settings.cors_origins,
        keys=keys,
        clock=clock,
        public=public_paths(settings.public_hosts),
    )
    authenticator.refuse_open_bind()
    owner = owner_of(settings)
    with closing(TradingDatabase(settings.database_url, owner)) as writer:
        writer.migrate()
    with closing(TradingDatabase(settings.database_url, owner, read_only=True)) as database:
        source = ApiContext(database, clock, lambda: TradingDatabase(settings.database_url, owner))
        mcp = McpBridge(source)
        silence = FallbackAlerter.from_settings(settings, database, clock)
        guesses = AttackMonitor(authenticator, silence.notifier, clock)
        server = ApiServer(
            build_app(source, authenticator, mcp, Metrics(source).text), settings.mcp_host, settings.mcp_port
        )
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
        source = ApiContext(database, SystemClock(), lambda: TradingDatabase(settings.database_url, owner))
        serve_stdio(source, Caller("stdio", scopes))
    return 0


def contract() -> str:
    """Return the OpenAPI document as ``docs/openapi.json`` keeps it; needs neither settings nor a database."""
    clock = SystemClock()
    source = ApiContext(TradingDatabase("sqlite://"), clock, lambda: TradingDatabase("sqlite://"))
    app = build_app(source, Authenticator(host="127.0.0.1", origins=(), keys=KeyStore(Path(KEYS_FILE)), clock=clock))
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
        case ["--version"]:
            print(VERSION_LINE)
            return 0
        case ["--help"] | ["-h"]:
            print(_USAGE)
            return 0
        case ["--openapi"]:
            sys.stdout.write(contract())
            return 0
    print(_USAGE, file=sys.stderr)
    return 2

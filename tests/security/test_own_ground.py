"""Security tests 20, 21, 23, 30 and 31 of the checklist: modes of files, arguments, outbound hosts, keys, pins."""

import os
import re
import socket
import stat
import threading
import tomllib
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit

import pytest

from src.dashboard.app import create_app
from src.domain.errors import CredentialsRefused
from src.exchanges.binance.client import key_cautions
from src.exchanges.binance.queries import KeyPermissions
from src.storage.bot_snapshots import BotSnapshotWriter
from tests.dashboard.scene import scene
from tests.paper_exchange.running import API_KEY, API_SECRET
from tests.suite.running import BUSY, suite

ROOT = Path(__file__).resolve().parents[2]
SOURCES = [*sorted((ROOT / "src").rglob("*.py")), *sorted(ROOT.glob("*.py"))]
CANARY = "canary-2b6f0c-of-the-security-tests-0123456789"
SECRETS = {
    "BOT_CONTROL_PIN": f"{CANARY}-pin",
    "FLASK_SECRET_KEY": f"{CANARY}-flask",
    "NEWSAPI_KEY": f"{CANARY}-news",
    "COINGECKO_API_KEY": f"{CANARY}-gecko",
    "ALERT_URLS": f"json://localhost/{CANARY}",
}
KNOWN_HOSTS = re.compile(  # whoever the suite may talk to without a setting that names another
    r"(f?api|fstream|dapi|demo-f?api|testnet|data)\.binance(future)?\.(com|vision)|fstream\.binancefuture\.com|"
    r"testnet\.binancefuture\.com|api\.alternative\.me|(pro-)?api\.(coinmarketcap|coingecko)\.com|pro-api\.coingecko\.com|"
    r"newsapi\.org|api\.openai\.com|api\.telegram\.org"
)
NAMES_ONLY = {"www.w3.org", "example.org", "example.com", "localhost", "127.0.0.1", "host", "spdx.org"}


class Eavesdropper:
    """Reads, many times a second, the arguments and the peers of some processes."""

    def __init__(self, *numbers: int) -> None:
        self._numbers = numbers
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self.arguments: set[str] = set()
        self.peers: set[str] = set()

    def __enter__(self) -> "Eavesdropper":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(5)

    def _listen(self) -> None:
        while not self._stop.wait(0.05):
            for number in self._numbers:
                try:
                    self.arguments.add(Path(f"/proc/{number}/cmdline").read_text())
                    self.peers |= self._peers_of(number)
                except OSError:
                    continue

    @staticmethod
    def _peers_of(number: int) -> set[str]:
        inodes = set()
        for descriptor in Path(f"/proc/{number}/fd").iterdir():
            try:
                inodes.add(os.readlink(descriptor))
            except OSError:
                continue
        peers = set()
        for family, file in ((socket.AF_INET, "tcp"), (socket.AF_INET6, "tcp6")):
            for line in Path(f"/proc/{number}/net/{file}").read_text().splitlines()[1:]:
                fields = line.split()
                if f"socket:[{fields[9]}]" in inodes and fields[3] != "0A":
                    words = bytes.fromhex(fields[2].partition(":")[0])
                    raw = b"".join(words[at : at + 4][::-1] for at in range(0, len(words), 4))
                    peers.add(socket.inet_ntop(family, raw))
        return peers


@pytest.mark.long
@pytest.mark.timeout(180)
def test_a_running_bot_shows_its_secrets_nowhere_and_talks_to_the_exchange_alone(tmp_path):
    place = tmp_path / "bot"
    place.mkdir(mode=0o700)
    with suite(place, speed=60.0, **BUSY, **SECRETS) as (exchange, bot):
        bot.start()
        with Eavesdropper(bot.process.pid, exchange.process.pid) as ear:
            bot.wait_for_cycles(6)
        assert bot.stop() == 0
        requests = str(exchange.control("GET", "requests"))
    assert ear.arguments
    assert ear.peers
    assert ear.peers <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}

    written = [path for path in place.rglob("*") if path.name != "bot.log"]  # that one is the test's own
    open_to_others = [path.name for path in written if stat.S_IMODE(path.stat().st_mode) & 0o077]
    assert open_to_others == []
    assert {"trading.db", "model.pkl"} <= {path.name for path in written}

    secrets = [API_SECRET, *SECRETS.values()]
    seen = {"arguments": "".join(ear.arguments), "log": bot.log, "requests": requests}
    for path in written:
        if path.is_file() and not path.name.startswith("exchange.json"):  # the exchange must know its own keys
            seen[path.name] = path.read_bytes().decode(errors="replace")
    for name, text in seen.items():
        assert not [secret for secret in secrets if secret in text], name
    assert API_KEY not in bot.log


def test_no_address_is_built_in_that_the_list_does_not_know():
    strange = {}
    for file in SOURCES:
        for address in re.findall(r"(?:https?|wss?)://[A-Za-z0-9.-]+", file.read_text(encoding="utf-8")):
            host = urlsplit(address).hostname or ""
            if host.rstrip(".") not in NAMES_ONLY and not KNOWN_HOSTS.fullmatch(host):
                strange[address] = file.name
    assert strange == {}


def test_the_feeds_are_encrypted_and_public():
    feeds = tomllib.loads((ROOT / "config/news_sources.toml").read_text())
    addresses = re.findall(r"['\"]([a-z]+://[^'\"]+)", str(feeds))
    assert addresses
    for address in addresses:
        assert address.startswith("https://"), address
        assert not re.fullmatch(r"[\d.:\[\]]+|localhost|.*\.(local|internal)", urlsplit(address).hostname), address


def test_certificates_are_always_checked():
    for file in SOURCES:
        text = file.read_text(encoding="utf-8")
        assert not re.search(
            r"verify\s*=\s*False|CERT_NONE|_create_unverified_context|check_hostname\s*=\s*False", text
        ), file


def refusal(**rights):
    allowed = KeyPermissions(**{"withdraw": False, "transfer": False, "futures": True, "address_bound": True} | rights)
    client = SimpleNamespace(api_restrictions=lambda: allowed)
    try:
        return key_cautions("live", client)
    except CredentialsRefused as refused:
        return str(refused)


def test_live_refuses_a_key_that_may_move_money_away_and_says_what_to_do():
    assert refusal() == ()
    for right in ("withdraw", "transfer"):
        assert "make one that can trade futures and nothing else" in refusal(**{right: True})


def test_a_key_that_works_from_anywhere_is_a_caution_for_as_long_as_the_bot_runs():
    (caution,) = refusal(address_bound=False)
    assert "works from any address" in caution
    snapshot_writer = BotSnapshotWriter(
        database=None, feed=None, instruments=(), interval="1m", interval_ms=60_000, cautions=(caution,)
    )
    assert snapshot_writer.details()["cautions"] == [caution]


def test_the_page_shows_what_the_bot_cautions_against(tmp_path):
    with scene(tmp_path) as made:
        made.beat(details={"cautions": ["<b>a key</b> that works from any address"]})
        page = create_app(made.dashboard_context).test_client().get("/").get_data(as_text=True)
    assert "&lt;b&gt;a key&lt;/b&gt; that works from any address" in page


def test_paper_and_testnet_ask_nobody_about_the_key():
    def never():
        raise AssertionError("asked")

    for mode in ("paper", "testnet"):
        assert key_cautions(mode, SimpleNamespace(api_restrictions=never)) == ()


def test_the_scripts_install_nothing_without_its_hash():
    installer = ROOT / "scripts/install_packages.py"
    assert '"install", "--no-deps", "--require-hashes"' in installer.read_text()
    texts = {file: file.read_text() for file in [*(ROOT / "scripts").rglob("*.sh"), ROOT / "deploy/Dockerfile"]}
    for file, text in texts.items():
        for line in re.findall(r"pip install[^\n]*(?:\\\n[^\n]*)*", text):
            assert "--require-hashes" in line, f"{file.name}: {line}"
    assert sum(installer.name in text for text in texts.values()) >= 2


def test_every_child_process_is_started_from_a_list_of_words():
    for file in SOURCES:
        text = file.read_text(encoding="utf-8")
        assert not re.search(r"os\.system|os\.popen|shell\s*=\s*True|subprocess\.getoutput", text), file


def test_time_is_bounded_wherever_a_stranger_is_asked():
    """Every direct call of requests names its patience."""
    for file in SOURCES:
        for call in re.finditer(r"\brequests\.(get|post|request)\((?:[^()]|\([^()]*\))*\)", file.read_text("utf-8")):
            assert "timeout=" in call[0], f"{file.name}: {call[0][:80]}"

"""Security tests 1, 2, 15 and 32 at the real processes of a default start: who can reach them, and what they give."""

import contextlib
import ipaddress
import os
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

from tests.dashboard.browsing import FLAGS, chromium, until
from tests.project_copy import ProjectCopy, clean_environment, project_copy
from tests.suite.running import free_port

pytestmark = pytest.mark.long

SERVICES = ("paper_exchange", "rl_bot", "chart_bot", "mcp_server", "web_dashboard")
DOORS = {"DASHBOARD_PORT": "web_dashboard", "MCP_PORT": "mcp_server", "PAPER_PORT": "paper_exchange"}
_LISTENS = "0A"


@dataclass(frozen=True)
class Started:
    """A suite that was started with nothing set but its ports."""

    project: ProjectCopy
    ports: dict[str, int]
    took_s: float


@pytest.fixture(scope="module")
def started(tmp_path_factory) -> Iterator[Started]:
    ports = {name: free_port() for name in DOORS}
    settings = {name: str(port) for name, port in ports.items()} | {"TRAINING_CANDLES": "1000"}
    with project_copy(tmp_path_factory.mktemp("suite") / "default", **settings) as project:
        began_s = time.monotonic()
        done = project.run("restart_all.sh")
        took_s = time.monotonic() - began_s
        assert done.returncode == 0, done.stdout + done.stderr
        yield Started(project, ports, took_s)


def group_of(project: ProjectCopy, service: str) -> list[int]:
    """Return the processes of a service: its own and its children."""
    leader = int((project.folder / "logs" / f"{service}.pid").read_text().split()[0])
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if os.getpgid(int(folder.name)) == leader:
                found.append(int(folder.name))
        except OSError:
            continue  # it ended between two lines
    return found


def listeners(number: int) -> set[tuple[str, int]]:
    """Return the addresses and ports on which a process waits for connections, by what the system itself says."""
    own, tables = set(), []
    try:
        for descriptor in Path(f"/proc/{number}/fd").iterdir():
            with contextlib.suppress(OSError):
                own.add(os.readlink(descriptor))
        for family, file in ((socket.AF_INET, "tcp"), (socket.AF_INET6, "tcp6")):
            tables.append((family, Path(f"/proc/{number}/net/{file}").read_text().splitlines()[1:]))
    except FileNotFoundError:
        return set()  # a short-lived child ended meanwhile
    found = set()
    for family, rows in tables:
        for line in rows:
            fields = line.split()
            if fields[3] == _LISTENS and f"socket:[{fields[9]}]" in own:
                address, _, port = fields[1].partition(":")
                words = bytes.fromhex(address)
                raw = b"".join(words[at : at + 4][::-1] for at in range(0, len(words), 4))
                found.add((socket.inet_ntop(family, raw), int(port, 16)))
    return found


def test_a_default_start_listens_on_loopback_and_nowhere_else(started):
    print(f"restart_all.sh until all is healthy: {started.took_s:.1f} s")
    expected = {service: started.ports[name] for name, service in DOORS.items()}
    for service in SERVICES:
        found = set().union(*(listeners(number) for number in group_of(started.project, service)))
        assert all(ipaddress.ip_address(address).is_loopback for address, _ in found), (service, found)
        assert {port for _, port in found} == ({expected[service]} if service in expected else set()), service


def test_the_secrets_of_a_first_start_are_its_own_and_its_owners(started):
    text = (started.project.folder / ".env").read_text()
    found = dict(re.findall(r"^(BOT_CONTROL_PIN|FLASK_SECRET_KEY|PAPER_API_SECRET)=(\S+)$", text, re.MULTILINE))
    assert len(found) == 3 and len(found["BOT_CONTROL_PIN"]) >= 6 and len(found["FLASK_SECRET_KEY"]) >= 32
    assert found["BOT_CONTROL_PIN"] not in ("123456", "000000")
    assert (started.project.folder / ".env").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("program", "changes", "named"),
    [
        ("web_dashboard", {"DASHBOARD_HOST": "0.0.0.0", "BOT_CONTROL_PIN": "123456"}, "BOT_CONTROL_PIN"),
        ("web_dashboard", {"DASHBOARD_HOST": "0.0.0.0", "FLASK_SECRET_KEY": "short"}, "FLASK_SECRET_KEY"),
        ("mcp_server", {"MCP_HOST": "0.0.0.0"}, "key"),
    ],
)
def test_an_open_door_without_strong_secrets_ends_the_start_with_78_and_a_sentence(started, program, changes, named):
    given = clean_environment() | {"BOT_ID": "another", "DASHBOARD_PORT": "0", "MCP_PORT": str(free_port())} | changes
    done = subprocess.run(
        [".venv/bin/python", f"src/{program}.py"],
        cwd=started.project.folder, env=given, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 78, done.stderr
    assert named in done.stdout + done.stderr and "Traceback" not in done.stdout + done.stderr


def test_the_page_needs_nobody_but_its_own_server(started):
    """The browser can resolve no name: what the page shows, it has from the server it came from."""
    home = f"http://127.0.0.1:{started.ports['DASHBOARD_PORT']}"
    asked: list[str] = []
    said: list[str] = []
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium(), args=FLAGS)
        page = browser.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.add_init_script(
            "window.refused = []; addEventListener('securitypolicyviolation', e => refused.push(e.blockedURI));"
        )
        page.goto(home.rstrip("/") + "/everything")
        page.evaluate("document.querySelector('#card-chart').scrollIntoView()")
        until(page, "document.querySelector('#chart canvas') !== null", 30.0)
        until(page, "document.querySelector('#card-status').dataset.state === 'fresh'", 30.0)
        assert page.evaluate("refused") == [] and said == []
        assert page.evaluate("document.cookie") == "" and "token" not in page.evaluate("JSON.stringify(localStorage)")
        browser.close()
    assert len(asked) > 5 and all(url.startswith((home, "data:")) for url in asked), asked


PATHS = (
    "/static/../.env", "/static/..%2f.env", "/static/%2e%2e/%2e%2e/.env", "/static//etc/passwd", "//etc/passwd",
    "/static/js/../../.env", "/static/..\\.env", "/static/vendor", "/static/", "/.env", "/trading_bot.db",
    "/api/chart-picture/..%2f..%2f.env", "/api/chart-picture/%2e%2e", "/api/report/../../.env",
    "/logs/web_dashboard.log", "/static/js/states.js%00.env", "/static/js/states.js/..",
)  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
def test_no_path_leads_to_a_file_that_is_not_listed(started, path):
    """Sent as it stands, for a client that is polite would tidy the path up."""
    with socket.create_connection(("127.0.0.1", started.ports["DASHBOARD_PORT"]), timeout=20) as client:
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: client.recv(65_536), b""))
    assert answer.split()[1] in (b"400", b"404", b"308"), answer[:200]
    assert b"BOT_CONTROL_PIN" not in answer and b"root:" not in answer and b"SQLite format" not in answer

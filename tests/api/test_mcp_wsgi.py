"""The protocol inside the server: each thread answers for itself, with what the operations say."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from src.api.context import ApiContext
from src.api.mcp_wsgi import McpBridge
from src.api.rest import build_app
from tests.api.made import Made, make

HEADERS = {"Accept": "application/json, text/event-stream"}


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    folder: Path = tmp_path_factory.mktemp("bridge")
    made = make(folder)
    yield made
    made.close()


@pytest.fixture
def bridge(api: Made) -> Iterator[McpBridge]:
    bridge = McpBridge(api.source)
    yield bridge
    bridge.close()


def client(api: Made, bridge: Any) -> FlaskClient:
    return build_app(api.source, api.authenticator, bridge).test_client()


def call(asked: FlaskClient, name: str, **arguments: Any) -> Any:
    """Call a tool and return its structured answer."""
    called = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": name, "arguments": arguments}}
    answer = asked.post("/mcp", json=called, headers=HEADERS)
    assert answer.status_code == 200, answer.get_data(as_text=True)
    assert answer.content_type == "application/json"
    return answer.get_json()["result"]["structuredContent"]


def test_tools_answer_what_the_addresses_answer(api: Made, bridge: McpBridge) -> None:
    asked = client(api, bridge)
    for name, path in (("get_signals", "/signals"), ("get_trades", "/trades"), ("get_summary", "/analytics/summary")):
        limited = {} if name == "get_summary" else {"limit": 7}
        query = "?limit=7" if limited else ""
        assert call(asked, name, **limited)["data"] == api.data(path + query)


def test_threads_answer_at_once_each_in_a_loop_of_its_own(api: Made, bridge: McpBridge) -> None:
    found: list[list[int]] = []

    def work(rows: int) -> None:
        asked = client(api, bridge)
        found.append([len(call(asked, "get_signals", limit=rows)["data"]) for _ in range(5)])

    threads = [threading.Thread(target=work, args=(rows,)) for rows in range(1, 7)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(60)
    assert sorted(found) == [[rows] * 5 for rows in range(1, 7)]


def test_a_fault_in_one_call_leaves_the_next_alone(
    api: Made, bridge: McpBridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = client(api, bridge)
    with monkeypatch.context() as broken:

        def fails(*_: object) -> None:
            raise RuntimeError("broken")

        broken.setattr(ApiContext, "scope", fails)
        called = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "get_signals", "arguments": {}}}
        assert "result" not in asked.post("/mcp", json=called, headers=HEADERS).get_json()
    assert call(asked, "get_signals", limit=1)["data"]


def test_it_begins_again_after_an_end(api: Made, bridge: McpBridge) -> None:
    asked = client(api, bridge)
    call(asked, "get_info")
    bridge.close()
    assert call(asked, "get_info")["data"]["version"]

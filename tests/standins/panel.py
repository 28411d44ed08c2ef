"""A stand-in of a model server for panels: a behaviour for each role, told by the instruction it gets."""

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

ROLES = {
    "read trends": "trend",
    "look for exaggeration": "mean_reversion",
    "its sceptic": "sceptic",
    "moderate": "moderator",
}
Behaviour = Callable[[dict[str, Any], str], Any]


def answer(facts: dict[str, Any], recommendation: str = "HOLD", confidence: str = "medium", **changes: Any) -> dict:
    """Return an honest answer about the chart in ``facts``, with what a test changes in it."""
    chance = {"BUY": 0.62, "SELL": 0.38, "HOLD": 0.5}[recommendation]
    return {
        "symbol": facts.get("symbol", ""), "last_close": facts.get("last_close", 0.0),
        "recommendation": recommendation, "confidence": confidence, "probability_up": chance, "support_levels": [],
        "resistance_levels": [], "reason": f"seen as {recommendation}", "counter_argument": f"against {recommendation}",
    } | changes  # fmt: skip


class PanelStandIn:
    """Answers each role as its behaviour says: a dictionary, a text as it is, or ``hang``."""

    def __init__(self, behaviours: dict[str, Behaviour] | None = None) -> None:
        self.behaviours = behaviours or {}
        self.requests: list[dict[str, Any]] = []
        self.released = threading.Event()
        self.tokens = (900, 120)
        stand_in = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers["Content-Length"]))
                body = stand_in.reply(json.loads(raw))
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_port}/v1"
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()

    def reply(self, asked: dict[str, Any]) -> bytes:
        """Return the body of the answer to a request."""
        self.requests.append(asked)
        instruction = asked["messages"][0]["content"]
        role = next((name for word, name in ROLES.items() if word in instruction), "chart")
        text = text_of(asked)
        said = self.behaviours.get(role, lambda facts, _text: answer(facts))(facts_in(text), text)
        if said == "hang":
            self.released.wait(30)
        content = said if isinstance(said, str) else json.dumps(said)
        spent, made = self.tokens
        return json.dumps(
            {
                "id": "1", "object": "chat.completion", "created": 1, "model": asked["model"],
                "choices": [{"index": 0, "message": {"role": "assistant", "content": content},
                             "finish_reason": "stop"}],
                "usage": {"prompt_tokens": spent, "completion_tokens": made, "total_tokens": spent + made},
            }
        ).encode()  # fmt: skip

    def close(self) -> None:
        """Let hanging requests go and stop."""
        self.released.set()
        self._http.shutdown()
        self._http.server_close()


def text_of(asked: dict[str, Any]) -> str:
    """Return the text of a request's question."""
    content = asked["messages"][1]["content"]
    return content if isinstance(content, str) else content[0]["text"]


def facts_in(text: str) -> dict[str, Any]:
    """Return the JSON object in a question's text, {} where there is none."""
    found = re.findall(r"^\{.*\}$", text, re.MULTILINE)
    return json.loads(found[-1]) if found else {}


@contextmanager
def panel_stand_in(**behaviours: Behaviour) -> Iterator[PanelStandIn]:
    """Run the server for a test."""
    stand_in = PanelStandIn(behaviours)
    try:
        yield stand_in
    finally:
        stand_in.close()

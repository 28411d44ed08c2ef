"""Stand-ins of the servers that people run models on: what each refuses, in its own words and shapes.

``ollama``: thoughts before the answer, 500 to a picture that the model cannot see. ``lm_studio``: errors as plain
texts, a slow first token while it loads. ``vllm``: errors at the top level with numbers as codes. ``llama_cpp``: no
schema, no pictures, no usage figures, and any model's name will do.
"""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KINDS = ("ollama", "lm_studio", "vllm", "llama_cpp")
MODELS = {"ollama": "qwen3:8b", "lm_studio": "gemma-3-4b", "vllm": "gpt-4o-mini", "llama_cpp": "local"}
_NO_PICTURE = {
    "ollama": (500, {"error": {"message": "this model is missing data required for image input", "type": "api_error",
                               "param": None, "code": None}}),
    "lm_studio": (400, {"error": "Model does not support images. Please use a model that does."}),
    "vllm": (400, {"object": "error", "message": "gpt-4o-mini is not a multimodal model", "type": "BadRequestError",
                   "param": None, "code": 400}),
    "llama_cpp": (500, {"error": {"code": 500, "type": "server_error", "message": "image input is not supported - "
                                  "hint: if this is unexpected, you may need to provide the mmproj"}}),
}  # fmt: skip
_NO_MODEL = {
    "ollama": (404, {"error": {"message": "model 'x' not found", "type": "api_error", "param": None, "code": None}}),
    "lm_studio": (404, {"error": "Model not found"}),
    "vllm": (404, {"object": "error", "message": "The model `x` does not exist.", "type": "NotFoundError",
                   "param": None, "code": 404}),
}  # fmt: skip
_NO_SCHEMA = (400, {"error": {"code": 400, "type": "invalid_request_error", "message": "Failed to parse grammar"}})
_THOUGHTS = '<think>The pair is {"pair": "ETHUSDT"}? No.</think>\n\n'


class LocalStandIn:
    """One server. ``sees`` says whether its model takes pictures; ``first_token_s`` how long it loads."""

    def __init__(self, kind: str, sees: bool = False, first_token_s: float = 0.0) -> None:
        self.kind, self.sees, self.first_token_s = kind, sees, first_token_s
        self.content = json.dumps({"pair": "BTCUSDT", "last_close": 30_000, "picture": sees})
        self.requests: list[dict[str, Any]] = []
        self.released = threading.Event()
        stand_in = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                rows = [{"id": MODELS[stand_in.kind], "object": "model"}]
                self._send(*((200, {"object": "list", "data": rows}) if self.path == "/v1/models" else (404, {})))

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                known = self.path == "/v1/chat/completions"
                self._send(*(stand_in.reply(body) if known else (404, {"error": "404 page not found"})))

            def _send(self, status: int, answer: dict[str, Any]) -> None:
                raw = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.root = f"http://127.0.0.1:{self._http.server_port}"
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def url(self) -> str:
        """The base address with its path."""
        return f"{self.root}/v1"

    def reply(self, asked: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Return status and body of the answer to a question."""
        self.requests.append(asked)
        if asked["model"] != MODELS[self.kind] and self.kind in _NO_MODEL:
            return _NO_MODEL[self.kind]
        if isinstance(asked["messages"][1]["content"], list) and not self.sees:
            return _NO_PICTURE[self.kind]
        if self.kind == "llama_cpp" and "response_format" in asked:
            return _NO_SCHEMA
        self.released.wait(self.first_token_s)
        content = f"{_THOUGHTS if self.kind == 'ollama' else ''}{self.content}"
        choice = {"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": "stop"}
        answer = {"id": "1", "object": "chat.completion", "created": 1, "model": asked["model"], "choices": [choice]}
        if self.kind != "llama_cpp":
            answer["usage"] = {"prompt_tokens": 700, "completion_tokens": 40, "total_tokens": 740}
        return 200, answer

    def close(self) -> None:
        """Stop."""
        self.released.set()
        self._http.shutdown()
        self._http.server_close()


@contextmanager
def local_stand_in(kind: str, **how: Any) -> Iterator[LocalStandIn]:
    """Run a server for a test."""
    stand_in = LocalStandIn(kind, **how)
    try:
        yield stand_in
    finally:
        stand_in.close()

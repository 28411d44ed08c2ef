"""A stand-in for OpenAI's chat completions: it checks what it is asked per model, bills tokens, and fails as told.

``server`` says whose rules hold: ``openai``, or ``ollama`` (knows ``max_tokens`` alone, tells three numbers of usage).
"""

import base64
import json
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY = "sk-test-0123456789abcdef0123456789abcdef"
NEWEST = ("gpt-5", "gpt-6", "o1", "o3", "o4")
KNOWN = ("gpt-4o", "gpt-4o-mini", "gpt-4.1-mini", "gpt-5.4-mini", "gpt-5.6-luna", "gpt-6-luna", "gpt-6.1-terra")
GONE = ("gpt-4.1-nano", "o4-mini", "gpt-4-turbo", "gpt-3.5-turbo")
EFFORTS = ("none", "low", "medium", "high", "xhigh", "max")
HTML = b"<!DOCTYPE html><html><head><title>Just a moment...</title></head><body>checking your browser</body></html>"

FULL_ANSWER: dict[str, Any] = {
    "trend": "bullish",
    "recommendation": "BUY",
    "confidence": "medium",
    "support_levels": [],
    "resistance_levels": [],
    "technical_signals": {"ema_alignment": "bullish", "rsi_condition": "neutral", "macd_signal": "bullish"},
    "overall_score": 7.5,
    "reason": "Higher lows above a rising EMA 50.",
}
ADVICE_ANSWER: dict[str, Any] = {"recommendation": "HOLD", "confidence": "low", "reason": "No clear direction."}


@dataclass
class Refused(Exception):
    """What a request is refused with."""

    status: int
    message: str
    kind: str = "invalid_request_error"
    param: str | None = None
    code: str | None = None

    def body(self) -> dict[str, Any]:
        return {"error": {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}}


@dataclass
class OpenAiStandIn:
    """The server; ``scenarios`` are used up one request at a time, then all is well.

    ``answers`` holds the reply for each schema's name. ``billed_usd`` is what OpenAI would charge for all answers,
    worked out here from its own price list, not from ours.
    """

    server: str = "openai"
    scenarios: list[str] = field(default_factory=list)
    always: str = "ok"
    output_tokens: int = 250
    reasoning_tokens: int = 0
    cached_tokens: int = 0
    answers: dict[str, Any] = field(
        default_factory=lambda: {"ChartFormat": dict(FULL_ANSWER), "AdviceFormat": dict(ADVICE_ANSWER)}
    )
    requests: list[dict[str, Any]] = field(default_factory=list)
    billed_usd: float = 0.0
    _released: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        """The base address, as OPENAI_BASE_URL."""
        return f"http://127.0.0.1:{self._http.server_address[1]}/v1"

    def start(self) -> None:
        """Listen."""
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._http.daemon_threads = True
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        """Let hanging requests go and stop."""
        self._released.set()
        self._http.shutdown()
        self._http.server_close()

    def answer_to(self, path: str, headers: dict[str, str], raw: bytes) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers and body."""
        scenario = self.scenarios.pop(0) if self.scenarios else self.always
        try:
            body = json.loads(raw)
            self.requests.append(body)
            self._check(path, headers, body)
            self._fail(scenario)
            return self._reply(scenario, body)
        except Refused as refusal:
            extra = {"retry-after-ms": "20"} if refusal.status in (429, 500, 503) else {}
            return refusal.status, extra, json.dumps(refusal.body()).encode()

    def _check(self, path: str, headers: dict[str, str], body: dict[str, Any]) -> None:
        if path != "/v1/chat/completions":
            raise Refused(404, f"Invalid URL (POST {path})")
        if self.server == "ollama":
            check_ollama(body)
            return
        if headers.get("authorization") != f"Bearer {KEY}":
            shown = headers.get("authorization", "")[-4:]
            raise Refused(401, f"Incorrect API key provided: ***{shown}.", code="invalid_api_key")
        model = body["model"]
        if model in GONE or model not in KNOWN:
            raise Refused(404, f"The model `{model}` does not exist.", code="model_not_found")
        check_parameters(model, body)
        check_schema(body["response_format"])
        check_messages(body["messages"])

    def _fail(self, scenario: str) -> None:
        if scenario == "hang":
            self._released.wait(30)
        if scenario == "429 quota":
            message = "You exceeded your current quota, please check your plan and billing details."
            raise Refused(429, message, "insufficient_quota", None, "insufficient_quota")
        if scenario == "429 rate":
            raise Refused(429, "Rate limit reached for requests", "requests", None, "rate_limit_exceeded")
        if scenario == "500":
            raise Refused(500, "The server had an error", "server_error", None, "server_error")

    def _reply(self, scenario: str, body: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
        plain = {"Content-Type": "application/json", "x-request-id": "req_1"}
        if scenario == "502 html":
            return 502, {"Content-Type": "text/html"}, b"<html><center><h1>502 Bad Gateway</h1></center></html>"
        if scenario == "html with 200":
            return 200, {"Content-Type": "text/html"}, HTML
        if scenario == "truncated":
            return 200, plain, json.dumps(self._completion(scenario, body)).encode()[:90]
        return 200, plain, json.dumps(self._completion(scenario, body)).encode()

    def _completion(self, scenario: str, body: dict[str, Any]) -> dict[str, Any]:
        name = body["response_format"]["json_schema"].get("name") or "ChartFormat"
        content: str | None = json.dumps(self.answers[name])
        finish, refusal = "stop", None
        output = self.output_tokens
        if body.get("reasoning_effort", "medium") != "none":
            output += self.reasoning_tokens
        if scenario == "refusal":
            content, refusal = None, "I cannot give financial advice."
        elif scenario == "cut off":
            content, finish = str(content)[:40], "length"
            output = body.get("max_completion_tokens") or body["max_tokens"]
        elif scenario == "content filter":
            content, finish = "", "content_filter"
        elif scenario == "bad json":
            content = "Sure! Here is my analysis: bullish"
        elif scenario == "foreign schema":
            content = json.dumps({"direction": "up"})
        message = {"role": "assistant", "content": content, "refusal": refusal, "annotations": []}
        usage = self._usage(body, output)
        return {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1_795_326_600,
            "model": body["model"],
            "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": finish}],
            "usage": usage,
            "service_tier": "default",
            "system_fingerprint": "fp_x",
        }

    def _usage(self, body: dict[str, Any], output: int) -> dict[str, Any]:
        prompt = text_tokens(body) + sum(image_tokens(body["model"], *each) for each in pictures(body["messages"]))
        cached = min(self.cached_tokens, prompt)
        self.billed_usd += charge(body["model"], prompt, cached, output)
        usage: dict[str, Any] = {
            "prompt_tokens": prompt,
            "completion_tokens": output,
            "total_tokens": prompt + output,
        }
        if self.server == "openai":
            usage["prompt_tokens_details"] = {"cached_tokens": cached, "audio_tokens": 0}
            usage["completion_tokens_details"] = {"reasoning_tokens": 0, "audio_tokens": 0}
        return usage

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        stand_in = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                try:
                    status, extra, content = stand_in.answer_to(self.path, headers, raw)
                    self.close_connection = True
                    self.send_response(status)
                    for name, value in {"Content-Type": "application/json", **extra}.items():
                        self.send_header(name, value)
                    self.send_header("Connection", "close")
                    self.send_header("Content-Length", str(len(content)))
                    self.end_headers()
                    self.wfile.write(content)
                except (BrokenPipeError, ConnectionResetError):
                    return

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        return Handler


def check_parameters(model: str, body: dict[str, Any]) -> None:
    """Refuse what the model does not take, in OpenAI's words."""
    modern = model.startswith(NEWEST)
    if modern and "max_tokens" in body:
        raise Refused(
            400,
            "Unsupported parameter: 'max_tokens' is not supported with this model.",
            param="max_tokens",
            code="unsupported_parameter",
        )
    if modern and body.get("temperature", 1) != 1:
        message = "Unsupported value: 'temperature' does not support 0 with this model."
        raise Refused(400, message, param="temperature", code="unsupported_value")
    if not modern and "reasoning_effort" in body:
        message = "Unrecognized request argument supplied: reasoning_effort"
        raise Refused(400, message, param="reasoning_effort", code="unsupported_parameter")
    if modern and body.get("reasoning_effort", "medium") not in EFFORTS:
        raise Refused(400, "Invalid value", param="reasoning_effort", code="unsupported_value")


def check_schema(form: dict[str, Any]) -> None:
    """Refuse what strict mode refuses: open objects, properties that may be missing, defaults."""
    if form.get("type") != "json_schema" or form["json_schema"].get("strict") is not True:
        raise Refused(400, "Invalid response_format", param="response_format", code="invalid_type")

    def walk(node: Any) -> None:
        if isinstance(node, list):
            for each in node:
                walk(each)
        if not isinstance(node, dict):
            return
        if node.get("type") == "object":
            if node.get("additionalProperties") is not False:
                raise Refused(400, "'additionalProperties' is required to be supplied and to be false", param="schema")
            if sorted(node.get("required", [])) != sorted(node.get("properties", {})):
                raise Refused(400, "'required' is required to include every key in properties", param="schema")
        if "default" in node:
            raise Refused(400, "'default' is not permitted", param="schema")
        for each in node.values():
            walk(each)

    walk(form["json_schema"]["schema"])


def check_messages(messages: list[dict[str, Any]]) -> None:
    """Refuse pictures that are no data URL of a real PNG, and detail words that do not exist."""
    for message in messages:
        for part in message["content"] if isinstance(message["content"], list) else []:
            if part["type"] == "image_url":
                image = part["image_url"]
                if not isinstance(image, dict) or not image["url"].startswith("data:image/png;base64,"):
                    raise Refused(400, "Invalid image data", param="messages", code="invalid_image_url")
                if image.get("detail", "auto") not in ("auto", "low", "high", "original"):
                    raise Refused(400, "Invalid detail", param="messages", code="invalid_value")


def check_ollama(body: dict[str, Any]) -> None:
    """A local server: names of its own, no strictness, and it fails on what it cannot load."""
    if ":" not in body["model"]:
        raise Refused(404, f"model '{body['model']}' not found", "not_found_error")
    assert "max_tokens" in body and "max_completion_tokens" not in body, "the limit would silently be ignored"
    assert "reasoning_effort" not in body


def pictures(messages: list[dict[str, Any]]) -> Iterator[tuple[int, int, str]]:
    """Return width, height and detail of each picture."""
    for message in messages:
        for part in message["content"] if isinstance(message["content"], list) else []:
            if part["type"] == "image_url":
                png = base64.b64decode(part["image_url"]["url"].partition(",")[2], validate=True)
                assert png.startswith(b"\x89PNG\r\n\x1a\n")
                width, height = struct.unpack(">II", png[16:24])
                yield width, height, part["image_url"].get("detail", "auto")


def text_tokens(body: dict[str, Any]) -> int:
    """About a token for 3.5 characters, schema included."""
    texts = [json.dumps(body["response_format"])]
    for message in body["messages"]:
        content = message["content"]
        texts += [content] if isinstance(content, str) else [p["text"] for p in content if p["type"] == "text"]
    return round(sum(map(len, texts)) / 3.5)


def image_tokens(model: str, width: int, height: int, detail: str) -> int:
    """OpenAI's rules as published."""
    if model.startswith("gpt-4o"):
        base, tile = (2833, 5667) if "mini" in model else (85, 170)
        if detail == "low":
            return base
        scale = min(1.0, 2048 / max(width, height))
        width, height = round(width * scale), round(height * scale)
        scale = min(1.0, 768 / min(width, height))
        width, height = round(width * scale), round(height * scale)
        return base + tile * (-(-width // 512)) * (-(-height // 512))
    patches = -(-width // 32) * -(-height // 32)
    if "mini" in model:
        return -(-min(patches, 1536) * 162 // 100)
    return -(-patches * 12 // 10)


def charge(model: str, prompt: int, cached: int, output: int) -> float:
    """Dollars by OpenAI's list of November 2026."""
    price = {
        "gpt-4o": (2.5, 1.25, 10.0),
        "gpt-4o-mini": (0.15, 0.075, 0.6),
        "gpt-4.1-mini": (0.4, 0.1, 1.6),
        "gpt-5.4-mini": (0.75, 0.075, 4.5),
        "gpt-6-luna": (0.1, 0.01, 0.5),
        "gpt-5.6-luna": (0.2, 0.02, 1.2),
        "gpt-6.1-terra": (1.0, 0.05, 5.0),
    }.get(model, (0.0, 0.0, 0.0))
    return ((prompt - cached) * price[0] + cached * price[1] + output * price[2]) / 1e6


@contextmanager
def openai_stand_in(**options: Any) -> Iterator[OpenAiStandIn]:
    """Run a stand-in for the time of the block."""
    stand_in = OpenAiStandIn(**options)
    stand_in.start()
    try:
        yield stand_in
    finally:
        stand_in.close()

"""Asks a server of one's own which models it has, and checks one with a single question, which is free."""

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final
from urllib.parse import urlsplit, urlunsplit

from pydantic import BaseModel

from src.domain.clock import monotonic_s
from src.domain.errors import SourceUnavailable
from src.llm.budgeted_model import BudgetedModel, CallCost
from src.llm.client import ModelFailed, OpenAIClient, TokenUsage
from src.runtime.http_fetch import SourceRefused, WebFetcher

_QUESTION: Final = "Repeat the pair and its last close, and say whether you were shown a picture."
_TEXT: Final = "BTCUSDT, last close 30000."
_SIDE: Final = 64
_LOADING_S: Final = 180.0  # a model that is not in memory yet is loaded first


class CheckFormat(BaseModel):
    """The answer to the one question."""

    pair: str
    last_close: float
    picture: bool


@dataclass(frozen=True, slots=True)
class ServerCheck:
    """How a model answered: whether it takes pictures and schemas, tells its tokens, and after how many seconds."""

    model: str
    vision: bool
    schema: bool
    usage: bool
    seconds: float


class _NoLedger:
    """Books nothing and refuses nothing."""

    def reserve(self, model: str, operation: str, most_usd: Decimal, symbol: str = "") -> int:
        """Return a number that nothing stands behind."""
        return 0

    def book(
        self, number: int, usage: TokenUsage, cost_usd: Decimal, latency_ms: float, outcome: str = "ok", error: str = ""
    ) -> None:
        """Keep nothing."""


def api_address(base_url: str) -> str:
    """Return a server's address as the protocol wants it: with ``/v1`` where no path is given.

    Raises:
        ValueError: it is no http(s) address.
    """
    parts = urlsplit(base_url if "://" in base_url else f"http://{base_url}")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{base_url!r} is no http(s) address; write http://localhost:11434/v1")
    path = parts.path.rstrip("/") or "/v1"
    return urlunsplit((parts.scheme, parts.netloc, path, "", ""))


def models_at(address: str, api_key: str = "") -> list[str]:
    """Return the names of the models that a server has.

    Raises:
        SourceUnavailable: it does not answer, or not as such a server does.
    """
    headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
    answer = WebFetcher(deadline_s=10.0, follow_redirects=False).get(f"{address}/models", headers=headers).json()
    rows = answer.get("data") if isinstance(answer, dict) else None
    if not isinstance(rows, list):
        raise SourceRefused(f"{address}/models sent another shape than such a server does")
    return [str(row["id"]) for row in rows if isinstance(row, dict) and "id" in row]


def chosen_model(models: Sequence[str], wanted: str) -> str:
    """Return the model to take: the one wanted, else the only one.

    Raises:
        SourceUnavailable: it is not there, or there are none or several and none was named.
    """
    listed = ", ".join(models) or "none"
    if wanted:
        if models and wanted not in models:
            raise SourceUnavailable(f"the server has no model {wanted!r}; it has {listed}")
        return wanted
    if len(models) != 1:
        raise SourceUnavailable(f"the server has {listed}: name one with --model")
    return models[0]


def check_server(address: str, model: str, api_key: str = "", timeout_s: float = _LOADING_S) -> ServerCheck:
    """Ask one question with a small picture and return how the model takes it.

    Raises:
        SourceUnavailable: there was no usable answer; the sentence says why.
    """
    asked = BudgetedModel(OpenAIClient(api_key, address, timeout_s, timeout_s), _NoLedger(), model, True, free=True)
    question = asked.question(_QUESTION, _TEXT, CheckFormat, 300, _grey_picture())
    bill: CallCost[CheckFormat] = CallCost()
    began_s = monotonic_s()
    try:
        said = asked.ask(question, "check", "*", bill, (_SIDE, _SIDE)).content
    except ModelFailed as failure:
        raise SourceUnavailable(_in_words(failure, address, model, timeout_s)) from failure
    if said is None or said.pair.strip().upper() != "BTCUSDT" or said.last_close != 30_000:
        raise SourceUnavailable(f"{model} answered, but not what it was asked: take a larger model")
    able = asked.capabilities
    return ServerCheck(
        model, able.vision, able.response_format, bill.input_tokens > 0, round(monotonic_s() - began_s, 1)
    )


def _in_words(failure: ModelFailed, address: str, model: str, timeout_s: float) -> str:
    reasons = {
        "timeout": f"{model} gave no answer within {timeout_s:g} s: is the machine large enough for it?",
        "connection": f"{address} cannot be reached: is the server running there?",
        "model_not_found": f"{address} has no model {model!r}",
        "http_404": f"{address} knows no chat completions: give the address with its path, such as /v1",
        "bad_answer": f"{model} answers, but never in the shape that is asked for: take another model",
        "length": f"{model} thought so long that no room for an answer was left: take another model",
    }
    return reasons.get(failure.code, f"{model} at {address}: {failure}")


def _grey_picture() -> bytes:
    """Return a small grey picture (PNG)."""
    rows = zlib.compress((b"\x00" + b"\x80" * _SIDE) * _SIDE)
    head = struct.pack(">IIBBBBB", _SIDE, _SIDE, 8, 0, 0, 0, 0)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")

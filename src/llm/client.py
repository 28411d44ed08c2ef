"""One request to a model over OpenAI's chat protocol; the only module that uses the library.

What can go wrong comes out as ``ModelFailed`` with a code to branch on; no text of the server's is passed on, for it
may quote a key.
"""

import base64
import json
import logging
import math
import re
import threading
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeVar

from pydantic import BaseModel, ValidationError

from src.domain.errors import SourceUnavailable
from src.llm.answer_parsing import answer_in
from src.llm.capabilities import Capabilities

if TYPE_CHECKING:
    from openai import APIError

log = logging.getLogger(__name__)
Schema = TypeVar("Schema", bound=BaseModel)

OPENAI_URL: Final = "https://api.openai.com/v1"
_PAUSE_S: Final = 1.0
_REFUSED_REQUEST: Final = (400, 422)
_REFUSED_PICTURE: Final = (400, 415, 422, 500)  # llama.cpp answers 500 to a picture that it cannot see
_SPEAKS_OF_PICTURES: Final = re.compile(r"\b(?:images?|image_url|vision|multi-?modal|mmproj)\b", re.IGNORECASE)
_SPEAKS_OF_FORMAT: Final = re.compile(
    r"response_format|json_schema|json schema|grammar|structured|guided", re.IGNORECASE
)
_NO_KEY: Final = "none"  # a local server wants no key, the library insists on one


@dataclass(frozen=True, slots=True)
class TokenUsage:
    """Tokens of one call as billed: ``cached`` and ``written`` (provider's cache) are parts of ``input``."""

    input: int = 0
    output: int = 0
    cached: int = 0
    written: int = 0


NOTHING: Final = TokenUsage()


class ModelFailed(SourceUnavailable):
    """No usable answer.

    ``outcome`` is error, refused or timeout; ``code`` OpenAI's (insufficient_quota, model_not_found...) or ours
    (timeout, connection, length, bad_answer, refusal, content_filter); ``parameter`` the one that was not taken;
    ``usage`` what is billed all the same, None where nobody can say; ``retry_after_s`` when to try again, None where
    that cannot help.
    """

    def __init__(
        self,
        code: str,
        outcome: str = "error",
        *,
        status: int = 0,
        parameter: str = "",
        usage: TokenUsage | None = NOTHING,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(f"the model gave no answer ({code}{f', HTTP {status}' if status else ''})")
        self.code = code
        self.outcome = outcome
        self.parameter = parameter
        self.usage = usage
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, slots=True)
class ModelRequest(Generic[Schema]):
    """What is asked: a fixed instruction, the text it speaks of, perhaps a picture (PNG), the shape of the answer."""

    model: str
    instruction: str
    text: str
    schema: type[Schema]
    most_tokens: int
    capabilities: Capabilities
    picture: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class ModelAnswer(Generic[Schema]):
    """The parsed answer and what it cost in tokens."""

    content: Schema
    usage: TokenUsage


class ModelClient(Protocol):
    """Sends a request to a model."""

    def ask(self, question: ModelRequest[Schema]) -> ModelAnswer[Schema]:
        """Return the answer; ``ModelFailed`` when there is none."""


class OpenAIClient:
    """The way to OpenAI, or to any server that speaks its protocol; may be used from several threads.

    Args:
        api_key: empty for a server that wants none.
        base_url: empty for OpenAI itself.
        timeout_s: how long the server may be silent.
        deadline_s: how long one question may take, however slowly bytes drip in.
    """

    def __init__(self, api_key: str, base_url: str = "", timeout_s: float = 30.0, deadline_s: float = 45.0) -> None:
        self._key = api_key or _NO_KEY
        self._base_url = base_url or OPENAI_URL
        self._timeout_s = timeout_s
        self._deadline_s = deadline_s
        self._client: Any = None

    def ask(self, question: ModelRequest[Schema]) -> ModelAnswer[Schema]:
        """Return the answer.

        Raises:
            ModelFailed: always this one, whatever went wrong.
        """
        future: Future[ModelAnswer[Schema]] = Future()

        def work() -> None:
            try:
                future.set_result(self._asked(question))
            except ModelFailed as error:
                future.set_exception(error)
            finally:
                if not future.done():  # a fault of our own, which the thread reports with its trace
                    future.set_exception(ModelFailed("fault"))

        threading.Thread(target=work, name="model", daemon=True).start()
        try:
            return future.result(self._deadline_s)
        except TimeoutError:
            raise ModelFailed("timeout", "timeout", usage=None) from None

    def _asked(self, question: ModelRequest[Schema]) -> ModelAnswer[Schema]:
        import openai  # a second and 50 MB, only where a model is asked

        try:
            reply = self._connected().with_raw_response.parse(**request_of(question))
        except openai.APITimeoutError as error:
            raise ModelFailed("timeout", "timeout", usage=None) from error
        except openai.APIConnectionError as error:
            raise ModelFailed("connection", retry_after_s=_PAUSE_S) from error
        except openai.APIError as error:
            raise _failure(error) from error
        usage = usage_in(reply.text)
        try:
            return ModelAnswer(_content(reply.parse(), question.schema, usage), usage or NOTHING)
        except openai.LengthFinishReasonError as error:
            raise ModelFailed("length", usage=usage) from error
        except openai.ContentFilterFinishReasonError as error:
            raise ModelFailed("content_filter", "refused", usage=usage) from error
        except (ValidationError, openai.APIError, ValueError, AttributeError, TypeError, LookupError) as error:
            # a page of HTML, cut JSON, other shapes: the library stumbles over each in another way
            found = answer_in(reply.text, question.schema)
            if found is not None:
                return ModelAnswer(found, usage or NOTHING)
            log.warning("model's answer cannot be read: model=%s reason=%s", question.model, type(error).__name__)
            raise ModelFailed("bad_answer", usage=usage) from error

    def _connected(self) -> Any:
        if self._client is None:
            from openai import OpenAI

            # No retries inside: each attempt is reserved and booked by itself.
            self._client = OpenAI(api_key=self._key, base_url=self._base_url, timeout=self._timeout_s, max_retries=0)
        return self._client.chat.completions


def request_of(question: ModelRequest[Any]) -> dict[str, Any]:
    """Return the arguments of ``chat.completions.parse``, with only what the model is known to take."""
    able = question.capabilities
    user: str | list[dict[str, Any]] = question.text
    if question.picture is not None and able.vision:
        image = {"url": "data:image/png;base64," + base64.b64encode(question.picture).decode()}
        if able.detail:
            image["detail"] = able.detail
        user = [{"type": "text", "text": question.text}, {"type": "image_url", "image_url": image}]
    request: dict[str, Any] = {
        "model": question.model,
        "messages": [{"role": "system", "content": _instruction(question)}, {"role": "user", "content": user}],
        able.limit_name: question.most_tokens,
    }
    if able.response_format:
        request["response_format"] = question.schema
    if able.temperature:
        request["temperature"] = 0
    if able.reasoning_effort:
        request["reasoning_effort"] = able.reasoning_effort
    return request


def _instruction(question: ModelRequest[Any]) -> str:
    """Return the instruction; where the server takes no schema, it stands in the instruction's own words."""
    if question.capabilities.response_format:
        return question.instruction
    schema = json.dumps(question.schema.model_json_schema())
    return f"{question.instruction}\nAnswer with one JSON object that fits this JSON schema, and nothing else: {schema}"


def usage_in(body: str) -> TokenUsage | None:
    """Return the tokens that an answer says it took (details it leaves out are 0), None where it does not say."""
    try:
        said = json.loads(body)["usage"]
        details = said.get("prompt_tokens_details") or {}
        spent = _count(said.get("prompt_tokens"))
        cached = min(_count(details.get("cached_tokens")), spent)
        written = min(_count(details.get("cache_write_tokens")), spent - cached)
        return TokenUsage(spent, _count(said.get("completion_tokens")), cached, written)
    except (ValueError, TypeError, LookupError, AttributeError):
        return None


def _count(value: Any) -> int:
    return int(value) if isinstance(value, int | float) and math.isfinite(value) and value > 0 else 0


def _content(completion: Any, schema: type[Schema], usage: TokenUsage | None) -> Schema:
    message = completion.choices[0].message
    if message.parsed is None and message.refusal:
        raise ModelFailed("refusal", "refused", usage=usage)
    if not isinstance(message.parsed, schema):
        raise ValueError("no parsed answer")
    return message.parsed


def _failure(error: "APIError") -> ModelFailed:
    status = int(getattr(error, "status_code", 0) or 0)
    told = str(error.code or "")[:40]
    code = told if told and not told.isdigit() else f"http_{status}" if status else "bad_answer"
    parameter, said = str(error.param or "").rpartition(".")[2], _said_in(error)
    if status in _REFUSED_PICTURE and not parameter and _SPEAKS_OF_PICTURES.search(said):
        code, parameter = "unsupported_parameter", "picture"
    elif status in _REFUSED_REQUEST and not parameter and _SPEAKS_OF_FORMAT.search(said):
        code, parameter = "unsupported_parameter", "response_format"
    elif status == 404 and re.search(r"\bmodel\b", said, re.IGNORECASE):
        code = "model_not_found"
    outcome = "refused" if status in (401, 403) else "error"
    passes = parameter != "picture" and (code == "rate_limit_exceeded" or status >= 500 or status == 408)
    wait_s = _asked_to_wait(error) if passes else None
    return ModelFailed(code, outcome, status=status, parameter=parameter, retry_after_s=wait_s)


def _said_in(error: "APIError") -> str:
    """Return the server's sentence; some send it as a plain text in place of an object."""
    return f"{error.message} {error.body if isinstance(error.body, str) else ''}"


def _asked_to_wait(error: "APIError") -> float:
    """Return the seconds after which the server wants to be asked again."""
    headers = getattr(getattr(error, "response", None), "headers", {})
    for name, unit_s in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            wait_s = max(float(headers[name]) * unit_s, 0.0)
        except (KeyError, ValueError):
            continue
        if math.isfinite(wait_s):
            return wait_s
    return _PAUSE_S

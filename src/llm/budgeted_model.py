"""A language model within a budget: checks the budget, asks, records tokens and cost.

Put right once each: a parameter that the model refuses (from then on left out), an answer that does not fit the
schema, a trouble that passes. A timeout is not: the request may have been received and billed.
"""

import json
import logging
import math
import threading
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Final, Generic, Protocol

from src.domain.clock import monotonic_s
from src.domain.errors import SourceUnavailable
from src.llm.capabilities import Capabilities, capabilities_of
from src.llm.client import (
    NOTHING,
    ModelAnswer,
    ModelClient,
    ModelFailed,
    ModelRequest,
    OpenAIClient,
    Schema,
    TokenUsage,
)
from src.llm.pricing import cost_usd, is_own_server, picture_tokens, price_of
from src.llm.usage_ledger import UsageLedger
from src.runtime.settings import Settings
from src.storage.tables import EVERY

log = logging.getLogger(__name__)

_BYTES_PER_TOKEN: Final = 2  # of English and figures it is nearer 3 or 4: an estimate that is not passed
_LONGEST_WAIT_S: Final = 20.0
_DEADLINE_SHARE: Final = 1.5  # of the timeout: how long a whole answer may take
_FRAME_TOKENS: Final = 100  # roles, separators, the schema's name
_REPAIRABLE: Final = frozenset({"bad_answer"})
_REFUSED_PARAMETER: Final = frozenset({"unsupported_parameter", "unsupported_value", "unknown_parameter"})
_REFUSED_WITHOUT_REASON: Final = frozenset({"http_400", "http_422", "invalid_request_error"})
_REPAIR: Final = "\nAnswer with one JSON object that fits the schema exactly, and nothing else."


@dataclass(slots=True)
class CallCost(Generic[Schema]):
    """What one question came to, over all its attempts."""

    content: Schema | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: Decimal = Decimal(0)
    latency_ms: float = 0.0

    def add(self, usage: TokenUsage, cost: Decimal, latency_ms: float) -> None:
        """Add one attempt."""
        self.input_tokens += usage.input
        self.output_tokens += usage.output
        self.cost_usd += cost
        self.latency_ms += latency_ms

    def add_all(self, other: "CallCost[Any]") -> None:
        """Add another question's attempts."""
        self.add(TokenUsage(other.input_tokens, other.output_tokens), other.cost_usd, other.latency_ms)


class CallLedger(Protocol):
    """Who keeps the books of calls, and the budget; see ``UsageLedger``."""

    def reserve(self, model: str, operation: str, most_usd: Decimal, symbol: str = ...) -> int:
        """Write a call down before it is made; return the number by which to ``book`` it."""

    def book(
        self,
        number: int,
        usage: TokenUsage,
        cost_usd: Decimal,
        latency_ms: float,
        outcome: str = ...,
        error: str = ...,
    ) -> None:
        """Put the true figures in place of the reserved ones."""


class BudgetedModel:
    """One model, its price, its budget.

    Args:
        client: sends requests to the model.
        ledger: keeps the books and the budget.
        model: its name.
        local_server: whether it runs at another server than OpenAI's, where a model without a known price is free.
        free: whether nobody sends a bill, whatever the model is called: a server of one's own.
    """

    def __init__(
        self, client: ModelClient, ledger: CallLedger, model: str, local_server: bool = False, *, free: bool = False
    ) -> None:
        self._client = client
        self._ledger = ledger
        self.model = model
        self._local = local_server
        self._free = free
        self.capabilities: Capabilities = capabilities_of(model, local_server)

    @property
    def sees_pictures(self) -> bool:
        """Whether it takes pictures, as far as is known."""
        return self.capabilities.vision

    def ask_text(self, instruction: str, text: str, schema: type[Schema]) -> Schema:
        """Return the answer to a question without a picture; raises as ``ask`` does."""
        content = self.ask(self.question(instruction, text, schema), "text", EVERY, CallCost()).content
        if content is None:
            raise ModelFailed("bad_answer")
        return content

    def question(
        self, instruction: str, text: str, schema: type[Schema], most_tokens: int = 2_000, picture: bytes | None = None
    ) -> ModelRequest[Schema]:
        """Return a question in the form this model takes."""
        return ModelRequest(self.model, instruction, text, schema, most_tokens, self.capabilities, picture)

    def ask(
        self,
        question: ModelRequest[Schema],
        operation: str,
        symbol: str,
        bill: CallCost[Schema],
        picture_size: tuple[int, int] = (0, 0),
    ) -> CallCost[Schema]:
        """Ask and return the bill with the answer in it.

        Args:
            question: from ``question``.
            operation: what it is for, as in ``api_usage``.
            symbol: of which it speaks.
            bill: attempts are added to it, also when this raises.
            picture_size: width and height of the question's picture in pixels.

        Raises:
            BudgetSpent: it was not asked, there is not enough left.
            ModelFailed: it was asked and gave no usable answer.
            SourceUnavailable: it was not asked, for another reason.
        """
        repaired = waited = False
        for _ in range(6):  # at most four parameters, one repair and one passing trouble can be put right
            question = replace(question, capabilities=self.capabilities)
            try:
                bill.content = self._attempt(question, operation, symbol, bill, picture_size).content
            except ModelFailed as failure:
                if failure.code in _REFUSED_PARAMETER and self._give_up(failure.parameter):
                    continue
                if self._local and failure.code in _REFUSED_WITHOUT_REASON and self._give_up("response_format"):
                    continue
                if failure.code in _REPAIRABLE and not repaired:
                    repaired = True
                    question = replace(question, instruction=question.instruction + _REPAIR)
                    continue
                if failure.retry_after_s is not None and failure.retry_after_s <= _LONGEST_WAIT_S and not waited:
                    waited = True
                    threading.Event().wait(failure.retry_after_s)
                    continue
                raise
            return bill
        raise ModelFailed("unsupported_parameter")

    def most_usd(self, question: ModelRequest[Schema], picture_size: tuple[int, int] = (0, 0)) -> Decimal:
        """Return the most that one attempt can cost.

        Raises:
            SourceUnavailable: the price is not known, so no budget could be kept.
        """
        if self._free:
            return Decimal(0)
        most = cost_usd(
            self.model, tokens := self._input_tokens(question, picture_size), question.most_tokens, 0, tokens
        )
        if most is not None:
            return most
        if self._local:
            return Decimal(0)
        raise SourceUnavailable(f"the price of {self.model} is not known, so it is not asked: choose another model")

    def _attempt(
        self,
        question: ModelRequest[Schema],
        operation: str,
        symbol: str,
        bill: CallCost[Schema],
        picture_size: tuple[int, int],
    ) -> ModelAnswer[Schema]:
        most = self.most_usd(question, picture_size)
        number = self._ledger.reserve(self.model, operation, most, symbol)
        began_s = monotonic_s()
        try:
            answer = self._client.ask(question)
        except ModelFailed as failure:
            cost = most if failure.usage is None else self._cost(failure.usage)  # unknown: the most it can be
            self._book(number, failure.usage or NOTHING, cost, began_s, bill, failure.outcome, failure.code)
            raise
        self._book(number, answer.usage, self._cost(answer.usage), began_s, bill)
        expected = self._input_tokens(question, picture_size)
        if answer.usage.input > 2 * expected:
            log.warning(
                "model counts more tokens than expected: model=%s tokens=%d at_most=%d",
                self.model,
                answer.usage.input,
                expected,
            )
        return answer

    def _cost(self, usage: TokenUsage) -> Decimal:
        if self._free:
            return Decimal(0)
        return cost_usd(self.model, usage.input, usage.output, usage.cached, usage.written) or Decimal(0)

    def _book(
        self,
        number: int,
        usage: TokenUsage,
        cost: Decimal,
        began_s: float,
        bill: CallCost[Schema],
        outcome: str = "ok",
        error: str = "",
    ) -> None:
        latency_ms = (monotonic_s() - began_s) * 1000.0
        self._ledger.book(number, usage, cost, round(latency_ms, 1), outcome, error)
        bill.add(usage, cost, latency_ms)

    def _input_tokens(self, question: ModelRequest[Schema], picture_size: tuple[int, int]) -> int:
        schema = json.dumps(question.schema.model_json_schema())
        text = len((question.instruction + question.text + schema).encode())
        pixels = 0
        if question.picture is not None and question.capabilities.vision:
            detail = question.capabilities.detail or "high"
            pixels = picture_tokens(self.model, *picture_size, detail) or 0
        return math.ceil(text / _BYTES_PER_TOKEN) + pixels + _FRAME_TOKENS

    def _give_up(self, parameter: str) -> bool:
        """Do without a parameter from now on; return False where that is not possible."""
        reduced = self.capabilities.without(parameter)
        if reduced is None:
            return False
        log.info("model does not take a parameter: model=%s parameter=%s", self.model, parameter)
        self.capabilities = reduced
        return True


def paid_model(settings: Settings, ledger: UsageLedger, name: str) -> BudgetedModel:
    """Return the way to a model of the settings' server; warns where its last day is known."""
    price = price_of(name)
    if price is not None and price.shutdown:
        log.warning("model ends soon: model=%s on=%s instead=%s", name, price.shutdown, price.replacement)
    timeout_s = settings.openai_timeout_s
    client = OpenAIClient(
        settings.openai_api_key.get_secret_value(), settings.openai_base_url, timeout_s, _DEADLINE_SHARE * timeout_s
    )
    elsewhere = bool(settings.openai_base_url) and "api.openai.com" not in settings.openai_base_url
    free = is_own_server(settings.openai_base_url)
    return BudgetedModel(client, ledger, name, elsewhere, free=free)

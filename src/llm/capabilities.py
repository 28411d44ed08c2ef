"""What each model accepts: parameters and picture input. Pure.

Prices stand in ``model_prices.py``. A model that is in no list is taken for one of a local server, unless its name
says that it is OpenAI's: then for one of the newest kind.
"""

import re
from dataclasses import dataclass, replace
from typing import Final, Literal

from src.llm.pricing import Detail

LimitName = Literal["max_completion_tokens", "max_tokens"]


@dataclass(frozen=True, slots=True)
class Capabilities:
    """How to ask one model.

    Args:
        limit_name: what the limit of the answer is called.
        temperature: whether one other than 1 is taken.
        reasoning_effort: what to send so that it does not think at our cost; empty: the parameter is refused.
        picture: the largest picture worth sending, in pixels.
        small_picture: one for a quick question.
        detail: how closely it is asked to look, empty where the server does not know the word.
        response_format: whether it takes the schema of the answer; else the schema goes into the instruction.
        vision: whether it takes pictures; else it is asked by figures alone.
    """

    limit_name: LimitName = "max_completion_tokens"
    temperature: bool = False
    reasoning_effort: str = "none"
    picture: tuple[int, int] = (1200, 900)
    small_picture: tuple[int, int] = (768, 576)
    detail: Detail | Literal[""] = "high"
    response_format: bool = True
    vision: bool = True

    def without(self, parameter: str) -> "Capabilities | None":
        """Return how to ask after the server refused a parameter; None where it is one we cannot do without."""
        if parameter == "temperature" and self.temperature:
            return replace(self, temperature=False)
        if parameter == "reasoning_effort" and self.reasoning_effort:
            return replace(self, reasoning_effort="")
        if parameter == "response_format" and self.response_format:
            return replace(self, response_format=False)
        if parameter == "picture" and self.vision:
            return replace(self, vision=False)
        if parameter == "max_tokens" and self.limit_name == "max_tokens":
            return replace(self, limit_name="max_completion_tokens")
        if parameter == "max_completion_tokens" and self.limit_name == "max_completion_tokens":
            return replace(self, limit_name="max_tokens")
        return None


_CLASSIC: Final = Capabilities(temperature=True, reasoning_effort="")
_REASONING: Final = Capabilities()
_FIRST_GPT_5: Final = Capabilities(reasoning_effort="minimal")
_O_SERIES: Final = Capabilities(reasoning_effort="low")
LOCAL: Final = Capabilities(
    limit_name="max_tokens",
    temperature=True,
    reasoning_effort="",
    picture=(1024, 768),
    detail="",
)

# The first pattern that fits a name counts. A tile model bills 1024 x 768 as it does 1200 x 900; gpt-4o-mini bills a
# close look at 33 times the tokens of gpt-4o, so it is sent a small picture to glance at.
_FAMILIES: Final = (
    (r"gpt-4o-mini", replace(_CLASSIC, picture=(768, 576), small_picture=(512, 384), detail="low")),
    (r"gpt-4o|chatgpt-4o", replace(_CLASSIC, picture=(1024, 768), small_picture=(512, 384))),
    (r"gpt-4|gpt-3\.5", _CLASSIC),
    (r"gpt-5(-mini|-nano|-chat)?(-20\d\d.*)?$", _FIRST_GPT_5),
    (r"gpt-\d", _REASONING),
    (r"o\d", _O_SERIES),
)


def capabilities_of(model: str, local_server: bool = False) -> Capabilities:
    """Return how to ask a model.

    Args:
        model: its name, also a dated one.
        local_server: whether it is asked at another server than OpenAI's; names OpenAI uses keep their rules there.
    """
    for pattern, capabilities in _FAMILIES:
        if re.match(pattern, model):
            return capabilities
    return LOCAL if local_server else _REASONING

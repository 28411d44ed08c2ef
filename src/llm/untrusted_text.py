"""Recognises text from the web that speaks to its reader, a model or a program, instead of reporting something.

Models are told to follow nothing that quoted text says. What asks to be followed is not even shown to them.
"""

import re
from typing import Final

_ADDRESSES_READER: Final = re.compile(
    r"\b(?:ignore|disregard|forget|override|bypass)\b.{0,40}\b(?:instruction|prompt|rule|polic|previous|prior|above|all)|"
    r"\b(?:system|assistant|developer|user)\s*(?:prompt|message|role)?\s*[:>\]]|"
    r"<\s*/?\s*(?:system|assistant|tool|im_start)|"
    r"\byou (?:are|must|should|will|have to) (?:now )?(?:an? |the )?(?:ai|assistant|model|bot|analyst|recommend|answer|"
    r"say|output|respond|reply|return|call|buy|sell|set|trade)|"
    r"\b(?:answer|respond|reply|output|return|say|recommend)\b.{0,20}\b(?:BUY|SELL|HOLD|bullish|bearish|json)\b|"
    r"[\"']?\b(?:recommendation|confidence|sentiment|probability_up|overall_score)\b[\"']?\s*[:=]|"
    r"\b(?:call|invoke|execute|run|use)\b.{0,20}\b(?:tools?|functions?|\w+_\w+)\b|\b[A-Z]+(?:_[A-Z]+)+\s*=|"
    r"\{\s*[\"']|```|\b(?:buy|sell) now\b",
    re.IGNORECASE,
)
_NAME: Final = re.compile(r"[A-Z0-9]{2,20}")


def addresses_reader(text: str) -> bool:
    """Return whether a text gives instructions or imitates an answer, rather than reporting something."""
    return _ADDRESSES_READER.search(text) is not None


def safe_name(symbol: str) -> str:
    """Return a contract's name for a prompt: capitals and digits alone; a text that is no name becomes ``UNNAMED``."""
    return symbol if _NAME.fullmatch(symbol) else "UNNAMED"

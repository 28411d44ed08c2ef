"""Sentiment of headlines by a language model: the prompt, and validation of its answer.

Headlines are untrusted text: they go in as data behind a fixed instruction, no tool is offered, and the answer is
checked item by item against a schema and against what was asked.
"""

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from pydantic import BaseModel

from src.domain.errors import SourceUnavailable, StoreUnavailable
from src.llm.prompts import read_prompt
from src.llm.untrusted_text import addresses_reader

log = logging.getLogger(__name__)

BATCH: Final = 25
_LONGEST_DESCRIPTION: Final = 300
_LONGEST_REASON: Final = 200
PROMPT: Final = "news"


class HeadlineJudgement(BaseModel):
    """The model's view of one headline; no defaults, as strict schemas want it."""

    number: int
    sentiment: Literal["bullish", "bearish", "neutral"]
    confidence: int
    reason: str


class HeadlineJudgements(BaseModel):
    """The model's answer to one batch."""

    items: list[HeadlineJudgement]


Ask = Callable[[str, str, type[HeadlineJudgements]], HeadlineJudgements]
"""``ask(instruction, text, schema)`` returns the parsed answer or raises ``SourceUnavailable`` (``StoreUnavailable``
where the ledger cannot be written); it keeps the ledger and refuses when the month's budget is spent."""


@dataclass(frozen=True, slots=True)
class SentimentVerdict:
    """A believed answer: label, confidence in 0..100, the model's reason on one line, and the prompt's version."""

    label: str
    confidence: int
    reason: str
    prompt: str = ""


def ask_model(ask: Ask, articles: Sequence[tuple[str, str]]) -> list[SentimentVerdict | None]:
    """Return the model's verdict for each ``(title, description)``, None where it gave none that can be believed.

    One call for up to 25 articles. After a call that failed no other is made; what was paid for before is kept. A text
    that speaks to its reader is not shown to the model.
    """
    prompt = read_prompt(PROMPT)
    verdicts: list[SentimentVerdict | None] = [None] * len(articles)
    plain = [place for place, article in enumerate(articles) if not addresses_reader(" ".join(article))]
    for start in range(0, len(plain), BATCH):
        places = plain[start : start + BATCH]
        batch = [articles[place] for place in places]
        try:
            found = believed(ask(prompt.text, batch_text(batch), HeadlineJudgements), len(batch), prompt.identity)
        except (SourceUnavailable, StoreUnavailable) as error:
            log.warning("model away: articles=%d reason=%s", len(plain) - start, error)
            break
        for place, verdict in zip(places, found, strict=True):
            verdicts[place] = verdict
    return verdicts


def batch_text(batch: Sequence[tuple[str, str]]) -> str:
    """Return a batch as the JSON list the instruction speaks of."""
    items = [
        {"number": number, "title": title, "description": description[:_LONGEST_DESCRIPTION]}
        for number, (title, description) in enumerate(batch, 1)
    ]
    return json.dumps(items, ensure_ascii=False)


def believed(reads: HeadlineJudgements, count: int, prompt: str = "") -> list[SentimentVerdict | None]:
    """Return a verdict for each of the numbers 1 to ``count``; None for those left out, doubled or out of range."""
    by_number: dict[int, list[HeadlineJudgement]] = {}
    for read in reads.items:
        by_number.setdefault(read.number, []).append(read)
    verdicts: list[SentimentVerdict | None] = []
    for number in range(1, count + 1):
        found = by_number.get(number, [])
        good = len(found) == 1 and 0 <= found[0].confidence <= 100
        verdicts.append(_verdict(found[0], prompt) if good else None)
    return verdicts


def _verdict(read: HeadlineJudgement, prompt: str) -> SentimentVerdict:
    reason = " ".join(read.reason.split())[:_LONGEST_REASON]
    return SentimentVerdict(read.sentiment, read.confidence, reason, prompt)

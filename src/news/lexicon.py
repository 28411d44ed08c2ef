"""Lexicon-based sentiment of headlines. Pure, free and fast.

A headline becomes stems; the longest lexicon terms that fit are taken; each adds its weights (log odds) for bullish,
bearish and neutral. Negation swaps bullish and bearish, intensifiers and reducers scale. Softmax makes probabilities
of the sums, which a temperature fitted on headlines left out of the fit keeps honest.
"""

import math
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final, NamedTuple

BULLISH: Final = "bullish"
BEARISH: Final = "bearish"
NEUTRAL: Final = "neutral"
CLASSES: Final = (BULLISH, BEARISH, NEUTRAL)
LONGEST_TERM: Final = 3

_TOKEN: Final = re.compile(
    r"(?P<mark><[a-z]+>)"
    r"|(?P<money>(?:us|a|c|hk)?[$£€¥]\s?\d[\d,.]*\s?(?:trillion|billion|million|thousand|bn|mn|[kmbt])?\b)"
    r"|(?P<percent>[+-]?\d[\d,.]*\s?(?:%|percent\b))"
    r"|(?P<number>\d[\d,.]*(?:st|nd|rd|th|[kmbx])?\b)"
    r"|(?P<question>\?)"
    r"|(?P<word>[a-z][a-z0-9'&]*)"
)
_VOWEL: Final = re.compile(r"[aeiouy]")
_APOSTROPHES: Final = str.maketrans({"’": "'", "‘": "'", "`": "'", "ʼ": "'"})
_NEGATION_REACH: Final = 3
_SCALE_REACH: Final = 2
_NEGATED_SHARE: Final = 0.8
_DESCRIPTION_SHARE: Final = 0.5
_DESCRIPTION_CHARACTERS: Final = 400
_LARGEST_EXPONENT: Final = 500.0

Term = tuple[str, ...]
Weights = tuple[float, float, float]


class Match(NamedTuple):
    """A lexicon term found in a text, with the factor by which it counts and whether it is negated."""

    term: Term
    factor: float
    negated: bool


@dataclass(frozen=True, slots=True)
class Lexicon:
    """Terms with their weights for the three classes, what modifies them, and what a text without terms is worth.

    ``terms`` are stems; ``bias`` is the log odds before any term; ``temperature`` divides the sums;
    ``silent_confidence`` is the share of headlines without any term that were neutral.
    """

    terms: Mapping[Term, Weights]
    negations: frozenset[Term] = frozenset()
    scales: Mapping[Term, float] = field(default_factory=dict)
    bias: Weights = (0.0, 0.0, 0.0)
    temperature: float = 1.0
    silent_confidence: float = 0.5

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise ValueError("temperature must be above 0")
        if not 0 <= self.silent_confidence <= 1:
            raise ValueError("silent_confidence must lie in 0..1")
        if any(not 0 < len(term) <= LONGEST_TERM for term in self.terms):
            raise ValueError(f"a term has one to {LONGEST_TERM} words")


@dataclass(frozen=True, slots=True)
class Sentiment:
    """One judgement: ``probability`` of ``label`` as calibrated, ``score`` bullish minus bearish in -1..1.

    ``matched`` are the terms that spoke, the weightiest first; empty when the lexicon knows no word of the text.
    """

    label: str
    probability: float
    score: float
    matched: tuple[str, ...] = ()

    @property
    def confidence(self) -> int:
        """The probability in whole percent."""
        return round(self.probability * 100)

    @property
    def reason(self) -> str:
        """One sentence: which words decided."""
        if not self.matched:
            return "no word of the lexicon occurs"
        return f"{self.label} by: {', '.join(self.matched[:5])}"


class LocalSentimentAnalyzer:
    """Judges headlines by a lexicon; keeps nothing between two of them."""

    def __init__(self, lexicon: Lexicon) -> None:
        self._lexicon = lexicon

    def analyze(self, title: str, description: str = "") -> Sentiment:
        """Return the sentiment of a title; the first 400 characters of a description count half."""
        found = [(match, 1.0) for match in matches(title, self._lexicon)]
        if description:
            opening = description[:_DESCRIPTION_CHARACTERS]
            found += [(match, _DESCRIPTION_SHARE) for match in matches(opening, self._lexicon)]
        if not found:
            return Sentiment(NEUTRAL, self._lexicon.silent_confidence, 0.0)
        parts = [(match.term, _contribution(match, self._lexicon, share)) for match, share in found]
        shares = probabilities((part for _, part in parts), self._lexicon)
        best = max(range(len(CLASSES)), key=shares.__getitem__)
        weighty = sorted(parts, key=lambda part: -part[1][best])
        words = dict.fromkeys(" ".join(term) for term, part in weighty if part[best] > 0)
        return Sentiment(CLASSES[best], shares[best], shares[0] - shares[1], tuple(words))

    def batch_analyze(self, articles: Iterable[tuple[str, str]]) -> list[Sentiment]:
        """Return the sentiments of ``(title, description)`` pairs, in their order."""
        return [self.analyze(title, description) for title, description in articles]


def probabilities(contributions: Iterable[Weights], lexicon: Lexicon) -> Weights:
    """Return the probabilities of bullish, bearish and neutral (sum 1) for the summed log odds."""
    sums = list(lexicon.bias)
    for part in contributions:
        for at, weight in enumerate(part):
            sums[at] += weight
    highest = max(sums)
    powers = [math.exp(max((each - highest) / lexicon.temperature, -_LARGEST_EXPONENT)) for each in sums]
    total = sum(powers)
    return powers[0] / total, powers[1] / total, powers[2] / total


def matches(text: str, lexicon: Lexicon) -> list[Match]:
    """Return the terms found in ``text``, longest first from the left, no word counted twice."""
    words = stems(text)
    found = []
    at = 0
    while at < len(words):
        length = _longest(words, at, lexicon.terms)
        if length:
            term = tuple(words[at : at + length])
            found.append(Match(term, _scale_before(words, at, lexicon), _negated(words, at, lexicon)))
        at += length or 1
    return found


def stems(text: str) -> list[str]:
    """Return the words of ``text`` as stems; amounts, shares and numbers become marks such as ``<money>``."""
    return [word if word[0] == "<" else stem(word) for word in words_of(text)]


def words_of(text: str) -> list[str]:
    """Return the words of ``text`` in lower case; amounts, shares and numbers become marks such as ``<money>``."""
    found = _TOKEN.finditer(text.translate(_APOSTROPHES).lower())
    return [match[0] if match.lastgroup in {"mark", "word"} else f"<{match.lastgroup}>" for match in found]


@lru_cache(maxsize=50_000)
def stem(word: str) -> str:
    """Return a word without its commonest English endings: ``surges surged surging`` all give ``surg``."""
    root = word.removesuffix("'s").strip("'&")
    if len(root) <= 3:
        return root
    if root.endswith(("ies", "ied")) and len(root) > 4:
        return root[:-3] + "y"
    for ending in ("ing", "ed", "es", "s"):
        left = root[: -len(ending)]
        if root.endswith(ending) and len(left) >= 3 and _VOWEL.search(left) and not root.endswith("ss"):
            return _without_e(_undoubled(left))
    return _without_e(root)


def parse_lexicon(text: str) -> Lexicon:
    """Return the lexicon of a TOML text; ``ValueError`` says what is wrong with it."""
    return lexicon_from(tomllib.loads(text))


def lexicon_from(document: Mapping[str, Any]) -> Lexicon:
    """Return the lexicon of a parsed TOML document.

    Args:
        document: tables ``bullish``, ``bearish`` and ``neutral`` (term to weight), ``modifiers`` (``negations``, and
            the tables ``intensifiers`` and ``reducers``), optionally ``model`` (``bias``, ``temperature``,
            ``silent_confidence``). A term may stand in two of the first three.

    Raises:
        ValueError: a weight is no number above 0, or a term has no word or too many.
    """
    terms: dict[Term, list[float]] = {}
    for at, name in enumerate(CLASSES):
        for written, weight in document.get(name, {}).items():
            if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 < weight < 100:
                raise ValueError(f"the weight of {written!r} in [{name}] must be a number above 0")
            terms.setdefault(tuple(stems(written)), [0.0, 0.0, 0.0])[at] = float(weight)
    modifiers = document.get("modifiers", {})
    scales = {**modifiers.get("intensifiers", {}), **modifiers.get("reducers", {})}
    model = document.get("model", {})
    bullish, bearish, neutral = model.get("bias", (0.0, 0.0, 0.0))
    return Lexicon(
        terms={term: (weights[0], weights[1], weights[2]) for term, weights in terms.items()},
        negations=frozenset(tuple(stems(written)) for written in modifiers.get("negations", ())),
        scales={tuple(stems(written)): float(scale) for written, scale in scales.items()},
        bias=(float(bullish), float(bearish), float(neutral)),
        temperature=float(model.get("temperature", 1.0)),
        silent_confidence=float(model.get("silent_confidence", 0.5)),
    )


def _contribution(match: Match, lexicon: Lexicon, share: float) -> Weights:
    bullish, bearish, neutral = lexicon.terms[match.term]
    factor = match.factor * share
    if match.negated:
        return bearish * factor * _NEGATED_SHARE, bullish * factor * _NEGATED_SHARE, neutral * factor
    return bullish * factor, bearish * factor, neutral * factor


def _longest(words: Sequence[str], at: int, known: Mapping[Term, Any] | frozenset[Term]) -> int:
    for length in range(min(LONGEST_TERM, len(words) - at), 0, -1):
        if tuple(words[at : at + length]) in known:
            return length
    return 0


def _negated(words: Sequence[str], at: int, lexicon: Lexicon) -> bool:
    nearby = range(max(at - _NEGATION_REACH, 0), at)
    # a negation must end before the term begins: "fails" in "fails to" is not "fail" negating itself
    return any(0 < _longest(words, start, lexicon.negations) <= at - start for start in nearby)


def _scale_before(words: Sequence[str], at: int, lexicon: Lexicon) -> float:
    nearby = range(max(at - _SCALE_REACH, 0), at)
    return math.prod(lexicon.scales.get((words[start],), 1.0) for start in nearby)


def _undoubled(root: str) -> str:
    doubled = len(root) > 3 and root[-1] == root[-2] and root[-1] not in "lsz"
    return root[:-1] if doubled else root


def _without_e(root: str) -> str:
    return root[:-1] if root.endswith("e") and len(root) > 3 else root

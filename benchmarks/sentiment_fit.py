"""Fits the weights of the sentiment lexicon to labelled headlines: words written by hand as prior, plus words learned.

Everything that looks at a label (choice of words, weights, strength of the prior, temperature) happens inside
``fit``, on the headlines handed to it; whoever keeps a fold back therefore tests on unseen headlines.

``python3 -m benchmarks.sentiment_fit HEADLINES.csv`` fits on all and writes ``config/sentiment_lexicon.toml``.
"""

import csv
import json
import sys
import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from src.news.lexicon import CLASSES, Lexicon, Term, Weights, lexicon_from, matches, stems, words_of

ROOT = Path(__file__).resolve().parent.parent
SEED_FILE = ROOT / "benchmarks" / "sentiment_seed.toml"
LEXICON_FILE = ROOT / "config" / "sentiment_lexicon.toml"
_LABELS = {"1": 0, "-1": 1, "0": 2}
_NEGATED_SHARE = 0.8
_STEPS = 250
_LEAST_WRITTEN = 0.1
_PREAMBLE = """\
# Words and phrases of crypto news with their weights (log odds) for each class; a term may stand in two classes.
# Words match in all their forms (surge, surges, surged, surging); <money>, <percent>, <number> and <question> stand
# for any amount, share, number and question mark. Edit freely: what is written here is all that the analyzer knows.
#
# Made by `python3 -m benchmarks.sentiment_fit HEADLINES.csv` from `benchmarks/sentiment_seed.toml` and labelled
# headlines; `python3 -m benchmarks.sentiment` says how well such lexicons do on headlines they have not seen.
"""


@dataclass(frozen=True)
class Headlines:
    """Labelled headlines; ``labels`` are places in ``CLASSES``."""

    texts: list[str]
    labels: np.ndarray

    def at(self, places: np.ndarray) -> "Headlines":
        """Return the headlines at these places."""
        return Headlines([self.texts[place] for place in places], self.labels[places])


@dataclass(frozen=True)
class Recipe:
    """How to fit.

    ``least_count`` is how often a word must occur to be learned, ``prior_strength`` how firmly weights cling to the
    prior, ``balance`` how far rare classes are weighted up (0 not at all, 1 fully), ``least_weight`` what a term must
    weigh to stay.
    """

    least_count: int = 3
    prior_strength: float = 10.0
    balance: float = 0.6
    least_weight: float = 0.3


RECIPES = tuple(Recipe(prior_strength=strength) for strength in (6.0, 10.0, 20.0))


def read_headlines(path: Path) -> Headlines:
    """Return the headlines of a CSV with columns ``headline`` and ``label`` (1, 0, -1), in the file's order."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return Headlines([row["headline"] for row in rows], np.array([_LABELS[row["label"]] for row in rows]))


def seed_document() -> dict[str, Any]:
    """Return the lexicon as written by hand."""
    return tomllib.loads(SEED_FILE.read_text(encoding="utf-8"))


def folds(labels: np.ndarray, count: int, seed: int) -> list[np.ndarray]:
    """Return ``count`` disjoint sets of places, each with the classes in the proportion of all."""
    chance = np.random.default_rng(seed)
    parts: list[list[int]] = [[] for _ in range(count)]
    for label in range(len(CLASSES)):
        for turn, place in enumerate(chance.permutation(np.flatnonzero(labels == label))):
            parts[turn % count].append(int(place))
    return [np.array(sorted(part)) for part in parts]


def fit(headlines: Headlines, recipe: Recipe) -> Lexicon:
    """Return a lexicon fitted to these headlines, with a temperature and a silent confidence from folds of its own."""
    lexicon = _fit_weights(headlines, recipe)
    sums, labels, silent = [], [], []
    for held in folds(headlines.labels, 5, seed=1):
        rest = headlines.at(np.setdiff1d(np.arange(len(headlines.labels)), held))
        inner, unseen = _fit_weights(rest, recipe), headlines.at(held)
        found = [matches(text, inner) for text in unseen.texts]
        spoken = np.array([bool(each) for each in found])
        sums.append(log_odds(unseen.texts, inner)[spoken])
        labels.append(unseen.labels[spoken])
        silent.append(unseen.labels[~spoken])
    quiet = np.concatenate(silent)
    return replace(
        lexicon,
        temperature=_temperature(np.concatenate(sums), np.concatenate(labels)),
        silent_confidence=float((np.sum(quiet == 2) + 1) / (len(quiet) + 3)),
    )


def best_recipe(headlines: Headlines, recipes: Sequence[Recipe] = RECIPES) -> Recipe:
    """Return the recipe with the best mean macro F1 over three folds of these very headlines."""
    parts = folds(headlines.labels, 3, seed=2)
    scores = [np.mean([_held_out_f1(headlines, held, recipe) for held in parts]) for recipe in recipes]
    return recipes[int(np.argmax(scores))]


def log_odds(texts: Sequence[str], lexicon: Lexicon) -> np.ndarray:
    """Return the summed log odds of each text for the three classes, before the temperature."""
    rows = []
    for text in texts:
        total = np.array(lexicon.bias)
        for match in matches(text, lexicon):
            weights = np.array(lexicon.terms[match.term]) * match.factor
            total = total + (weights[[1, 0, 2]] * [_NEGATED_SHARE, _NEGATED_SHARE, 1] if match.negated else weights)
        rows.append(total)
    return np.array(rows)


def predict(texts: Sequence[str], lexicon: Lexicon) -> np.ndarray:
    """Return the class of each text; a text without terms is neutral."""
    answers = log_odds(texts, lexicon).argmax(axis=1)
    answers[[not matches(text, lexicon) for text in texts]] = 2
    return answers


def f1_scores(labels: np.ndarray, answers: np.ndarray) -> np.ndarray:
    """Return the F1 score of each class."""
    scores = []
    for label in range(len(CLASSES)):
        right = np.sum((labels == label) & (answers == label))
        scores.append(2 * right / max(np.sum(labels == label) + np.sum(answers == label), 1))
    return np.array(scores)


def _held_out_f1(headlines: Headlines, held: np.ndarray, recipe: Recipe) -> float:
    rest = headlines.at(np.setdiff1d(np.arange(len(headlines.labels)), held))
    unseen = headlines.at(held)
    return float(f1_scores(unseen.labels, predict(unseen.texts, _fit_weights(rest, recipe))).mean())


def _fit_weights(headlines: Headlines, recipe: Recipe) -> Lexicon:
    prior = lexicon_from(seed_document())
    terms = {**dict.fromkeys(_learnable(headlines.texts, recipe), (0.0, 0.0, 0.0)), **prior.terms}
    draft = replace(prior, terms=terms)
    plain, mirrored = _features(headlines.texts, draft)
    start = np.array(list(terms.values()))
    targets = np.eye(3)[headlines.labels]
    frequency = np.bincount(headlines.labels, minlength=3) / len(headlines.labels)
    weight = (1 / frequency) ** recipe.balance
    weight = weight[headlines.labels] / weight[headlines.labels].mean()
    bias, weights = _descend(plain, mirrored, targets, weight, start, recipe.prior_strength)
    lowest = weights.min(axis=1, keepdims=True)  # softmax does not see what is added to all three
    weights = np.round(weights - lowest, 3)
    weights[weights < _LEAST_WRITTEN] = 0.0
    kept = {term: _triple(row) for term, row in zip(terms, weights, strict=True) if row.max() >= recipe.least_weight}
    return replace(prior, terms=kept, bias=_triple(np.round(bias - bias.mean(), 3)))


def _learnable(texts: Sequence[str], recipe: Recipe) -> list[Term]:
    """Return the words frequent enough to learn from, without the names of the trade."""
    names = {name for written in seed_document()["learning"]["names"] for name in stems(written)}
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(set(stems(text)))
    return sorted((word,) for word, count in counts.items() if count >= recipe.least_count and word not in names)


@dataclass(frozen=True)
class Entries:
    """A matrix of which nearly all is zero: the places and values of what is not, and its shape."""

    rows: np.ndarray
    columns: np.ndarray
    values: np.ndarray
    shape: tuple[int, int]

    def times(self, right: np.ndarray) -> np.ndarray:
        """Return the product with a matrix of few columns."""
        return _gathered(self.rows, self.values[:, None] * right[self.columns], self.shape[0])

    def turned_times(self, right: np.ndarray) -> np.ndarray:
        """Return the transposed matrix's product with a matrix of few columns."""
        return _gathered(self.columns, self.values[:, None] * right[self.rows], self.shape[1])


def _gathered(places: np.ndarray, parts: np.ndarray, count: int) -> np.ndarray:
    return np.stack([np.bincount(places, part, count) for part in parts.T], axis=1)


def _features(texts: Sequence[str], lexicon: Lexicon) -> tuple[Entries, Entries]:
    place = {term: at for at, term in enumerate(lexicon.terms)}
    found: dict[bool, list[tuple[int, int, float]]] = {False: [], True: []}
    for row, text in enumerate(texts):
        for match in matches(text, lexicon):
            found[match.negated].append((row, place[match.term], match.factor))
    shape = len(texts), len(place)
    plain, mirrored = (np.array(found[negated], dtype=float).reshape(-1, 3) for negated in (False, True))
    return _entries_of(plain, shape), _entries_of(mirrored, shape)


def _entries_of(triples: np.ndarray, shape: tuple[int, int]) -> Entries:
    return Entries(triples[:, 0].astype(int), triples[:, 1].astype(int), triples[:, 2], shape)


def _descend(plain, mirrored, targets, weight, start, strength):
    """Minimise the weighted cross-entropy plus the squared distance to the prior, by accelerated gradient steps."""
    swap = np.array([1, 0, 2])
    share = np.array([_NEGATED_SHARE, _NEGATED_SHARE, 1.0])
    weights, bias = start.copy(), np.zeros(3)
    ahead_w, ahead_b = weights.copy(), bias.copy()
    rate = 1.0 / (_spectral(plain, mirrored) * weight.max() * 0.5 + strength + 0.5 * weight.sum())
    for step in range(_STEPS):
        sums = plain.times(ahead_w) + mirrored.times(ahead_w)[:, swap] * share + ahead_b
        shares = np.exp(sums - sums.max(axis=1, keepdims=True))
        shares /= shares.sum(axis=1, keepdims=True)
        error = (shares - targets) * weight[:, None]
        slope_w = plain.turned_times(error) + mirrored.turned_times((error * share)[:, swap])
        new_w = ahead_w - rate * (slope_w + strength * (ahead_w - start))
        new_b = ahead_b - rate * error.sum(axis=0)
        push = step / (step + 3)
        ahead_w, ahead_b = new_w + push * (new_w - weights), new_b + push * (new_b - bias)
        weights, bias = new_w, new_b
    return bias, weights


def _spectral(plain: Entries, mirrored: Entries) -> float:
    vector = np.ones((plain.shape[1], 1))
    for _ in range(20):
        along = plain.times(vector) + mirrored.times(vector)
        vector = plain.turned_times(along) + mirrored.turned_times(along)
        vector /= np.linalg.norm(vector)
    return float(np.linalg.norm(plain.times(vector) + mirrored.times(vector)) ** 2)


def _temperature(sums: np.ndarray, labels: np.ndarray) -> float:
    def loss(temperature: float) -> float:
        scaled = sums / temperature
        scaled = scaled - scaled.max(axis=1, keepdims=True)
        shares = scaled[np.arange(len(labels)), labels] - np.log(np.exp(scaled).sum(axis=1))
        return -float(shares.mean())

    return round(float(min(np.arange(0.5, 3.01, 0.05), key=loss)), 2)


def _triple(row: np.ndarray) -> Weights:
    return float(row[0]), float(row[1]), float(row[2])


def written(lexicon: Lexicon, headlines: Headlines) -> str:
    """Return the lexicon as TOML: every stem by its commonest form, the weightiest first."""
    forms = _forms(headlines.texts)
    document = seed_document()
    lines = [_PREAMBLE, "[model]"]
    lines += [f"bias = {[round(value, 3) for value in lexicon.bias]}", f"temperature = {lexicon.temperature}"]
    lines += [f"silent_confidence = {lexicon.silent_confidence:.3f}"]
    for at, name in enumerate(CLASSES):
        weights = {forms[term]: row[at] for term, row in lexicon.terms.items() if row[at] >= _LEAST_WRITTEN}
        lines += ["", f"[{name}]", *_entries(weights)]
    modifiers = document["modifiers"]
    lines += ["", "[modifiers]", "negations = [", *(f"    {json.dumps(word)}," for word in modifiers["negations"]), "]"]
    for name in ("intensifiers", "reducers"):
        lines += ["", f"[modifiers.{name}]", *_entries(modifiers[name])]
    return "\n".join(lines) + "\n"


def _entries(weights: Mapping[str, float]) -> list[str]:
    ordered = sorted(weights.items(), key=lambda item: (-item[1], item[0]))
    return [f"{word if word.isalpha() else json.dumps(word)} = {weight:g}" for word, weight in ordered]


def _forms(texts: Sequence[str]) -> dict[Term, str]:
    """Return a readable spelling of every term: as written by hand, else the commonest word with that stem."""
    counts = Counter(word for text in texts for word in words_of(text))
    forms: dict[Term, str] = {}
    for word, _ in counts.most_common():
        forms.setdefault(tuple(stems(word)), word)
    for name in CLASSES:
        forms |= {tuple(stems(term)): term for term in seed_document()[name]}
    return forms


def main(path: Path) -> int:
    """Fit on all headlines of ``path`` and write the lexicon."""
    headlines = read_headlines(path)
    recipe = best_recipe(headlines)
    lexicon = fit(headlines, recipe)
    LEXICON_FILE.write_text(written(lexicon, headlines), encoding="utf-8")
    print(f"{recipe}\n{len(lexicon.terms)} terms, temperature {lexicon.temperature} -> {LEXICON_FILE.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))

"""How well the local sentiment judges headlines it has not seen: cross-validated, beside simpler answers.

``python3 -m benchmarks.sentiment [HEADLINES.csv]`` (default: ``../shared/data`` beside the project). Words, weights,
the strength of the prior and the temperature are fitted inside each training part only; the lexicon that ships is
fitted the same way on all headlines, so its own figure on them would mean nothing and is not shown.
"""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

from benchmarks.sentiment_fit import (
    LEXICON_FILE,
    ROOT,
    Headlines,
    best_recipe,
    f1_scores,
    fit,
    folds,
    read_headlines,
    seed_document,
)
from src.domain.clock import monotonic_s
from src.news.lexicon import CLASSES, LocalSentimentAnalyzer, lexicon_from, parse_lexicon

HEADLINES = ROOT.parent / "shared" / "data" / "headlines_cryptolin_train.csv"
NEUTRAL = CLASSES.index("neutral")
BINS = ((0.0, 0.4), (0.4, 0.5), (0.5, 0.6), (0.6, 0.7), (0.7, 0.8), (0.8, 0.9), (0.9, 1.01))


def main(path: Path) -> int:
    """Print accuracy, macro F1, coverage, calibration and speed; 66 when there are no headlines."""
    if not path.is_file():
        print(f"{path.name} is missing: hand in a CSV with columns headline and label (1, 0, -1)", file=sys.stderr)
        return 66
    headlines = read_headlines(path)
    console = Console(width=110)
    answers, confidence = cross_validated(headlines)
    forward = fitted_on_the_past(headlines)
    seed = LocalSentimentAnalyzer(lexicon_from(seed_document()))
    table = Table("method", "accuracy", "macro F1", "F1 bull", "F1 bear", "F1 neutral", "answered", "of these right")
    add(table, "always positive", headlines.labels, np.zeros_like(headlines.labels))
    add(table, "VADER, 0.05", headlines.labels, vader(headlines.texts))
    add(table, "ours as written by hand, never fitted", headlines.labels, judged(seed, headlines.texts)[0])
    add(table, "ours, 5 folds, each unseen", headlines.labels, answers)
    add(table, "ours, first 70 % fitted, last 30 % unseen", *forward)
    console.print(table)
    console.print("answered: share of good and bad news not called neutral; of these right: their accuracy")
    console.print(calibration(headlines.labels == answers, confidence))
    console.print(f"one headline: {microseconds(headlines.texts):.0f} µs")
    return 0


def cross_validated(headlines: Headlines) -> tuple[np.ndarray, np.ndarray]:
    """Return the answers and their probabilities, each given by a lexicon that never saw the headline."""
    answers = np.zeros(len(headlines.labels), dtype=int)
    confidence = np.zeros(len(headlines.labels))
    for held in folds(headlines.labels, 5, seed=7):
        rest = headlines.at(np.setdiff1d(np.arange(len(headlines.labels)), held))
        analyzer = LocalSentimentAnalyzer(fit(rest, best_recipe(rest)))
        answers[held], confidence[held] = judged(analyzer, headlines.at(held).texts)
    return answers, confidence


def fitted_on_the_past(headlines: Headlines) -> tuple[np.ndarray, np.ndarray]:
    """Return labels and answers of the last 30 percent in time, by a lexicon fitted on what came before."""
    cut = int(0.7 * len(headlines.labels))
    past, future = headlines.at(np.arange(cut)), headlines.at(np.arange(cut, len(headlines.labels)))
    return future.labels, judged(LocalSentimentAnalyzer(fit(past, best_recipe(past))), future.texts)[0]


def judged(analyzer: LocalSentimentAnalyzer, texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return classes and probabilities as the product itself gives them."""
    found = [analyzer.analyze(text) for text in texts]
    return np.array([CLASSES.index(each.label) for each in found]), np.array([each.probability for each in found])


def vader(texts: list[str]) -> np.ndarray:
    """Return what VADER's compound score says, neutral within 0.05 of zero."""
    score: Callable[[str], dict[str, float]] = SentimentIntensityAnalyzer().polarity_scores
    compound = np.array([score(text)["compound"] for text in texts])
    return np.where(compound >= 0.05, 0, np.where(compound <= -0.05, 1, NEUTRAL))


def add(table: Table, name: str, labels: np.ndarray, answers: np.ndarray) -> None:
    """Add one method's figures."""
    scores = f1_scores(labels, answers)
    spoke = (labels != NEUTRAL) & (answers != NEUTRAL)
    coverage = spoke.sum() / np.sum(labels != NEUTRAL)
    figures = [(labels == answers).mean(), scores.mean(), *scores, coverage, (labels == answers)[spoke].mean()]
    table.add_row(name, *(f"{figure:.3f}" for figure in figures))


def calibration(right: np.ndarray, confidence: np.ndarray) -> Table:
    """Return how often answers of each confidence were right, and the mean gap."""
    table = Table(
        "confidence", "headlines", "mean confidence", "right", title="confidence against truth, unseen headlines"
    )
    gap = 0.0
    for low, high in BINS:
        inside = (confidence >= low) & (confidence < high)
        if inside.any():
            said, true = confidence[inside].mean(), right[inside].mean()
            gap += inside.mean() * abs(said - true)
            table.add_row(f"{low:.0%} to {min(high, 1):.0%}", str(inside.sum()), f"{said:.1%}", f"{true:.1%}")
    table.caption = f"mean gap (expected calibration error) {gap:.1%}"
    return table


def microseconds(texts: list[str]) -> float:
    """Return the median time of one headline with the lexicon that ships."""
    analyzer = LocalSentimentAnalyzer(parse_lexicon(LEXICON_FILE.read_text(encoding="utf-8")))
    times = []
    for text in texts:
        start_s = monotonic_s()
        analyzer.analyze(text)
        times.append(monotonic_s() - start_s)
    return float(np.median(times)) * 1e6


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else HEADLINES))

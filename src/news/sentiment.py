"""News sentiment, by the local lexicon (free) or a model (paid), and the overall sentiment.

USE_LOCAL_SENTIMENT chooses. Whatever the model does wrong, the local judgement stands in and says so.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2s
from pathlib import Path
from typing import Any, Final

from src.domain.clock import Clock, SystemClock, instant_of
from src.domain.errors import SettingsError
from src.news.lexicon import BEARISH, BULLISH, CLASSES, NEUTRAL, LocalSentimentAnalyzer, parse_lexicon
from src.news.llm_sentiment import Ask, SentimentVerdict, ask_model
from src.runtime.cache import SentimentCache
from src.runtime.settings import Settings

LEXICON_FILE: Final = "config/sentiment_lexicon.toml"
LOCAL_MODE: Final = "LOCAL (Cost-Saving)"
FALLBACK_MODE: Final = "LOCAL (Fallback)"
MODEL_MODE: Final = "OPENAI (Premium)"
_FEWEST: Final = 3
_LEAN: Final = 0.15
_HALF_LIFE_MS: Final = 12 * 3_600_000
_SIGNS: Final = {BULLISH: 1, BEARISH: -1, NEUTRAL: 0}


class NewsSentimentAnalyzer:
    """Judges articles one by one or in batches; remembers verdicts for a day (local) or an hour (model).

    ``NewsSentimentAnalyzer()`` takes everything from the project's settings.

    Args:
        settings: mode and folders; read from the project when None.
        ask: how a model is asked in premium mode; from the settings when None. Without a key the lexicon judges.
        clock: what tells the age of verdicts and news; the machine's when None.
    """

    def __init__(self, settings: Settings | None = None, ask: Ask | None = None, clock: Clock | None = None) -> None:
        settings = settings or Settings.load()
        self._clock = clock or SystemClock()
        self._ask = None if settings.use_local_sentiment else ask or _configured_ask(settings)
        path = settings.project_root / LEXICON_FILE
        self._local, self._version = _read_lexicon(path)
        self._model = settings.openai_news_model
        self._cache = SentimentCache(settings.cache_dir, self._ask is None, settings.cache_max_mb / 4, self._clock)
        wanted = LOCAL_MODE if settings.use_local_sentiment else FALLBACK_MODE
        self.mode = wanted if self._ask is None else MODEL_MODE

    def analyze_article(self, title: str, description: str | None = "") -> dict[str, Any]:
        """Return ``sentiment confidence reason mode score`` of one article.

        ``confidence`` is 0 to 100: for the lexicon the share of such verdicts that were right on unseen headlines,
        for a model what it says of itself. ``score`` is -1 (bearish) to 1 (bullish).
        """
        return self.batch_analyze([{"title": title, "description": description}])[0]

    def batch_analyze(self, articles: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Return the sentiment of each article (``title``, ``description``), in their order, with what names it.

        Known ones come from the cache; the model is asked for the rest in batches of 25.
        """
        given = list(articles)
        texts = [(str(each.get("title") or ""), str(each.get("description") or "")) for each in given]
        keys = [self._key(title, description) for title, description in texts]
        results: dict[int, dict[str, Any]] = {}
        for at, key in enumerate(keys):
            known = self._cache.get(key)
            if isinstance(known, dict):
                results[at] = known
        fresh = [at for at in range(len(given)) if at not in results]
        judged = self._judge([texts[at] for at in fresh])
        for at, result in zip(fresh, judged, strict=True):
            if result["mode"] == self.mode:  # what a fallback said is asked again next time
                self._cache.set(keys[at], result)
            results[at] = result
        return [_named(each, results[at]) for at, each in enumerate(given)]

    def get_overall_sentiment(self, results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Return what the news say together: see ``overall_sentiment``."""
        return overall_sentiment(results, self._clock.now_ms())

    def get_cache_stats(self) -> dict[str, Any]:
        """Return hits, misses and the like of the cache of verdicts."""
        return self._cache.get_stats()

    def _key(self, title: str, description: str) -> str:
        judge = self._version if self._ask is None else self._model
        text = blake2s(f"{title}\n{description}".encode(), digest_size=16).hexdigest()
        return f"{'local' if self._ask is None else 'model'}:{judge}:{text}"

    def _judge(self, texts: Sequence[tuple[str, str]]) -> list[dict[str, Any]]:
        if self._ask is None or not texts:
            return [self._locally(title, description, self.mode) for title, description in texts]
        return [
            self._locally(*text, FALLBACK_MODE) if verdict is None else _from_model(verdict)
            for text, verdict in zip(texts, ask_model(self._ask, texts), strict=True)
        ]

    def _locally(self, title: str, description: str, mode: str) -> dict[str, Any]:
        found = self._local.analyze(title, description)
        return {
            "sentiment": found.label,
            "confidence": found.confidence,
            "reason": found.reason,
            "mode": mode,
            "score": round(found.score, 4),
        }


def overall_sentiment(results: Sequence[Mapping[str, Any]], now_ms: int) -> dict[str, Any]:
    """Return what many verdicts say together.

    Each counts by its confidence, halved for every 12 hours of its age where ``published_at`` is known. A source with
    many articles counts with the root of their number: nine say as much as three from three sources. Fewer than three
    verdicts are neutral.

    Returns:
        ``overall_sentiment``, ``confidence`` (0 to 100: the share of the weight that says so), ``score`` (-1 to 1),
        ``bullish_count bearish_count neutral_count total``.
    """
    counts = {label: sum(each.get("sentiment") == label for each in results) for label in CLASSES}
    weights = _weights(results, now_ms)
    total = sum(weights)
    shares = dict.fromkeys(CLASSES, 0.0)
    for each, weight in zip(results, weights, strict=True):
        shares[str(each["sentiment"])] += weight / total if total else 0.0
    score = shares[BULLISH] - shares[BEARISH]
    label = NEUTRAL
    if len(results) >= _FEWEST and abs(score) >= _LEAN:
        label = BULLISH if score > 0 else BEARISH
    return {
        "overall_sentiment": label,
        "confidence": round(shares[label] * 100),
        "score": round(score, 4),
        **{f"{name}_count": counts[name] for name in CLASSES},
        "total": len(results),
    }


def _weights(results: Sequence[Mapping[str, Any]], now_ms: int) -> list[float]:
    sources = [str(each.get("source") or at) for at, each in enumerate(results)]
    counts = Counter(sources)
    return [
        float(each.get("confidence") or 0) / 100 * _freshness(each, now_ms) / math.sqrt(counts[source])
        for each, source in zip(results, sources, strict=True)
    ]


def _freshness(result: Mapping[str, Any], now_ms: int) -> float:
    published = result.get("published_at")
    if not published:
        return 1.0
    try:
        age_ms = max(now_ms - instant_of(str(published)), 0)
    except ValueError:
        return 1.0
    return math.pow(0.5, age_ms / _HALF_LIFE_MS)


def _configured_ask(settings: Settings) -> Ask | None:
    from src.news.llm_factory import headline_ask  # the database and the model's client are not needed in local mode

    return headline_ask(settings)


def _from_model(verdict: SentimentVerdict) -> dict[str, Any]:
    return {
        "sentiment": verdict.label,
        "confidence": verdict.confidence,
        "reason": verdict.reason,
        "mode": MODEL_MODE,
        "prompt": verdict.prompt,
        "score": round(_SIGNS[verdict.label] * verdict.confidence / 100, 4),
    }


def _named(article: Mapping[str, Any], result: Mapping[str, Any]) -> dict[str, Any]:
    """Return a verdict with the fields by which its article is known and weighed."""
    kept = {name: article[name] for name in ("title", "source", "published_at", "identity") if name in article}
    return {**result, **kept}


def _read_lexicon(path: Path) -> tuple[LocalSentimentAnalyzer, str]:
    try:
        text = path.read_text(encoding="utf-8")
        lexicon = parse_lexicon(text)
    except (OSError, ValueError) as error:
        raise SettingsError((f"{path.name} cannot be used: {error}.",)) from error
    return LocalSentimentAnalyzer(lexicon), blake2s(text.encode(), digest_size=4).hexdigest()

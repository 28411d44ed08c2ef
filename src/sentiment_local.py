"""The lexicon sentiment under the name users import."""

from src.news.lexicon import (
    Lexicon,
    LocalSentimentAnalyzer,
    Match,
    Sentiment,
    lexicon_from,
    matches,
    parse_lexicon,
    probabilities,
    stem,
    stems,
    words_of,
)

__all__ = [
    "Lexicon",
    "LocalSentimentAnalyzer",
    "Match",
    "Sentiment",
    "lexicon_from",
    "matches",
    "parse_lexicon",
    "probabilities",
    "stem",
    "stems",
    "words_of",
]

"""Normalises headlines, detects duplicates, and extracts the coins they mention."""

import html
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Final
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

_TAG: Final = re.compile(r"<[/!?a-zA-Z][^<>]{0,2000}>")
_SPACE: Final = re.compile(r"[\s\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202f\u2060-\u206f\ufeff]+")
_WORD: Final = re.compile(r"[a-z0-9$]+")
_TRACKING: Final = re.compile(r"^(utm_.*|fbclid|gclid|mc_[ce]id|ref|source|cmpid)$", re.IGNORECASE)
_LONGEST_TITLE: Final = 300
_LONGEST_SUMMARY: Final = 1_000
_FEWEST_WORDS_OF_A_TITLE: Final = 4


@dataclass(frozen=True, slots=True)
class Article:
    """One piece of news, cleaned. ``published_ms`` is None where the source gave no instant that can be true."""

    title: str
    url: str
    source: str
    fetched_ms: int
    published_ms: int | None = None
    summary: str = ""
    coins: tuple[str, ...] = ()

    @property
    def instant_ms(self) -> int:
        """When it appeared, as far as known: published, else fetched."""
        return self.fetched_ms if self.published_ms is None else self.published_ms

    @property
    def identity(self) -> str:
        """64 hexadecimal digits, the same for every copy: by the title's words, by the address for short titles."""
        words = title_words(self.title)
        what = " ".join(words) if len(words) >= _FEWEST_WORDS_OF_A_TITLE else self.url
        return sha256(what.encode()).hexdigest()


def plain_text(written: str, longest: int) -> str:
    """Return text without entities, tags and control characters, on one line, at most ``longest`` characters."""
    text = _SPACE.sub(" ", _TAG.sub(" ", html.unescape(html.unescape(written)))).strip()
    return text if len(text) <= longest else f"{text[: longest - 1].rstrip()}…"


def clean_url(written: str) -> str:
    """Return an http(s) address without tracking parameters and fragment; empty where it is none."""
    try:
        parts = urlsplit(written.strip())
    except ValueError:
        return ""
    if parts.scheme not in {"http", "https"} or not parts.hostname or len(written) > 2_000:
        return ""
    kept = [(name, value) for name, value in parse_qsl(parts.query) if not _TRACKING.match(name)]
    path = parts.path.rstrip("/") or "/"
    return urlunsplit((parts.scheme, parts.netloc.lower(), path, urlencode(kept), ""))


def made_article(
    *,
    title: str,
    url: str,
    source: str,
    fetched_ms: int,
    published_ms: int | None,
    summary: str,
    coins: Mapping[str, Sequence[str]],
) -> Article | None:
    """Return an article from untrusted text, or None where it has no title or address, or was removed."""
    clean_title = _without_source(plain_text(title, _LONGEST_TITLE), source)
    address = clean_url(url)
    removed = clean_title == "[Removed]" or urlsplit(address).hostname == "removed.com"
    if not clean_title or not address or removed:
        return None
    description = plain_text(summary, _LONGEST_SUMMARY)
    if published_ms is not None and not 0 < published_ms <= fetched_ms + 3_600_000:
        published_ms = None  # 1970 or tomorrow: the source does not know
    return Article(
        title=clean_title,
        url=address,
        source=plain_text(source, 64),
        fetched_ms=fetched_ms,
        published_ms=published_ms,
        summary=description,
        coins=coins_in(f"{clean_title} {description}", coins),
    )


def coins_in(text: str, words: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """Return the coins whose words occur in ``text`` as whole words, in the order of ``words``."""
    padded = f" {' '.join(_WORD.findall(text.lower()))} "
    return tuple(coin for coin, names in words.items() if any(f" {name.lower()} " in padded for name in names))


def title_words(title: str) -> list[str]:
    """Return a title's words in lower case without punctuation."""
    return _WORD.findall(title.lower().replace("'", "").replace("’", ""))


def without_copies(articles: Iterable[Article]) -> list[Article]:
    """Return one article of each story (same address or same title), the earliest, newest story first.

    The coins of the copies are put together.
    """
    kept: dict[str, Article] = {}
    places: dict[str, str] = {}
    for article in sorted(articles, key=lambda each: (each.instant_ms, each.url)):
        known = places.get(article.identity) or places.get(article.url)
        place = known or article.identity
        places[article.identity] = places[article.url] = place
        if known:
            coins = tuple(dict.fromkeys((*kept[place].coins, *article.coins)))
            kept[place] = replace(kept[place], coins=coins)
        else:
            kept[place] = article
    return sorted(kept.values(), key=lambda each: (-each.instant_ms, each.url))


def _without_source(title: str, source: str) -> str:
    """Return the title without the " - CoinDesk" that collectors put behind it."""
    for dash in (" - ", " | ", " – ", " — "):
        title = title.removesuffix(f"{dash}{source}")
    return title

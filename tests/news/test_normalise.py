"""Strangers' text: cleaned, joined, tagged."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.news.normalise import Article, clean_url, coins_in, made_article, plain_text, without_copies

COINS = {"BTC": ["bitcoin", "btc"], "SOL": ["solana", "$sol"], "BNB": ["binance coin"]}
NOW_MS = 1_795_330_800_000


def article(title="Bitcoin rallies past a record", url="https://a.example/1", minutes=0, **more):
    return Article(title, url, "A", NOW_MS, NOW_MS - minutes * 60_000, **more)


def made(**changes):
    raw = {"title": "Title", "url": "https://a.example/1", "source": "A", "fetched_ms": NOW_MS, "published_ms": NOW_MS}
    return made_article(**{**raw, "summary": "", "coins": COINS, **changes})


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("Bitcoin&#8217;s <b>rally</b>", "Bitcoin’s rally"),
        ("&amp;lt;script&amp;gt;x", "x"),
        ("a\n\tb\x00c\u202ed", "a b c d"),
        ("5 < 6 and 7 > 2", "5 < 6 and 7 > 2"),
        ("", ""),
    ],
)
def test_text_loses_tags_entities_and_tricks(written, text):
    assert plain_text(written, 100) == text


@given(st.text(), st.integers(1, 50))
def test_text_never_exceeds_its_length_or_holds_control_characters(written, longest):
    text = plain_text(written, longest)
    assert len(text) <= longest
    assert not any(ord(character) < 32 for character in text)


@pytest.mark.parametrize(
    ("written", "url"),
    [
        ("https://A.example/x/?utm_source=rss&id=7#top", "https://a.example/x?id=7"),
        ("http://a.example", "http://a.example/"),
        ("javascript:alert(1)", ""),
        ("file:///etc/passwd", ""),
        ("https://", ""),
        ("https://[broken", ""),
    ],
)
def test_addresses_lose_trackers_and_only_the_web_is_let_in(written, url):
    assert clean_url(written) == url


def test_what_has_no_title_no_address_or_was_removed_is_no_article():
    assert made(title=" <br> ") is None
    assert made(url="ftp://a.example/1") is None
    assert made(title="[Removed]") is None
    assert made(url="https://removed.com") is None


@pytest.mark.parametrize("published_ms", [0, -5, NOW_MS + 7_200_000])
def test_an_instant_that_cannot_be_true_is_unknown(published_ms):
    found = made(published_ms=published_ms)
    assert found is not None
    assert found.published_ms is None
    assert found.instant_ms == NOW_MS


def test_the_collectors_signature_is_cut_off():
    found = made(title="Bitcoin rallies - A")
    assert found is not None
    assert found.title == "Bitcoin rallies"


def test_coins_are_whole_words():
    assert coins_in("Bitcoin and Solana's NFT", COINS) == ("BTC", "SOL")
    assert coins_in("bitcoiner sold", COINS) == ()
    assert coins_in("Pay in $SOL or Binance Coin", COINS) == ("SOL", "BNB")


def test_copies_are_one_story_by_address_or_title_and_the_earliest_stands():
    first = article(minutes=30, coins=("BTC",))
    same_title = article(url="https://b.example/9", minutes=10, coins=("SOL",))
    same_address = article(title="Bitcoin rallies past its record (updated)", minutes=5)
    other = article(title="Ether burns more than it mints", url="https://c.example/2", minutes=1)
    kept = without_copies([other, same_address, same_title, first])
    assert [each.url for each in kept] == ["https://c.example/2", "https://a.example/1"]
    assert kept[1].coins == ("BTC", "SOL")
    assert kept[1].instant_ms == first.instant_ms


def test_short_titles_are_told_apart_by_their_address():
    one, two = article(title="Price analysis"), article(title="Price analysis", url="https://a.example/2")
    assert one.identity != two.identity
    assert len(without_copies([one, two])) == 2


@given(st.permutations([0, 1, 2, 3]))
def test_the_order_of_arrival_does_not_matter(order):
    stories = [
        article(title=f"Story number {at // 2} of the day", url=f"https://a.example/{at}", minutes=at)
        for at in range(4)
    ]
    assert without_copies([stories[at] for at in order]) == without_copies(stories)

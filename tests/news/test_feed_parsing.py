"""Feeds are read as their makers meant them: charset, links, ampersands, zones."""

import pytest

from src.domain.clock import utc_text
from src.news.feed_parsing import entry_ms, parse_feed
from src.news.normalise import made_article

URL = "https://news.example/feed/rss.xml"
ITEM = "<item><title>{title}</title><link>{link}</link><pubDate>{date}</pubDate></item>"
USUAL = {"title": "Bitcoin rises", "link": "https://news.example/a", "date": "Fri, 27 Nov 2026 10:00:00 GMT"}


def entry(headers=None, url=URL, encoding="utf-8", **item):
    items = ITEM.format(**{**USUAL, **item})
    text = f'<?xml version="1.0"?><rss version="2.0"><channel>{items}</channel></rss>'
    return parse_feed(text.encode(encoding), headers or {}, url).entries[0]


@pytest.mark.parametrize("amp", ["S&P 500", "S&amp;P 500", "<![CDATA[S&P 500]]>", "S&#38;P 500"])
def test_an_ampersand_stays_one_however_it_is_written(amp):
    found = entry(title=amp)
    article = made_article(
        title=found.title, url=found.link, source="x", fetched_ms=2 * 10**12, published_ms=None, summary="", coins={}
    )
    assert article.title == "S&P 500"


def test_a_link_keeps_its_parameters_within_cdata_and_without():
    for link in (
        "https://a.example/x?b=1&c=2",
        "<![CDATA[https://a.example/x?b=1&c=2]]>",
        "https://a.example/x?b=1&amp;c=2",
    ):
        assert entry(link=link).link == "https://a.example/x?b=1&c=2"


@pytest.mark.parametrize(
    ("headers", "link", "whole"),
    [
        ({}, "/a/b", "https://news.example/a/b"),
        ({}, "b.html", "https://news.example/feed/b.html"),
        ({"content-location": "https://other.example/news/"}, "b.html", "https://other.example/news/b.html"),
        ({"content-location": "/deep/er/"}, "b.html", "https://news.example/deep/er/b.html"),
        ({}, "https://a.example/x", "https://a.example/x"),
    ],
)
def test_relative_links_begin_at_the_address_that_the_answer_has(headers, link, whole):
    assert entry(headers, link=link).link == whole


@pytest.mark.parametrize("encoding", ["iso-8859-1", "windows-1252", "utf-8"])
def test_the_charset_of_the_header_counts(encoding):
    found = entry(
        {"content-type": f"application/rss+xml; charset={encoding}"}, encoding=encoding, title="Grüße aus Zürich"
    )
    assert found.title == "Grüße aus Zürich"


@pytest.mark.parametrize(
    ("zone", "instant"),
    [
        ("GMT", "10:00"), ("EST", "15:00"), ("PDT", "17:00"), ("+0200", "08:00"), ("CET", "09:00"), ("CEST", "08:00"),
        ("JST", "01:00"), ("IST", "04:30"), ("MSK", "07:00"), ("Europe/Berlin", "09:00"), ("Asia/Tokyo", "01:00"),
        ("Atlantis/Nowhere", "10:00"), ("XYZ", "10:00"),
    ],
)  # fmt: skip
def test_zones_are_known_by_name(zone, instant):
    assert utc_text(entry_ms(entry(date=f"Fri, 27 Nov 2026 10:00:00 {zone}")))[11:16] == instant


def test_a_day_without_an_instant_is_unknown():
    assert entry_ms(entry(date="yesterday")) is None

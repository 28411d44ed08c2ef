"""News over the API: filters, pages, sentiment over time found again by pandas, and the warning about their text."""

import math

import pandas as pd
import pytest

from src.api.operation import WARNING
from tests.api.made import Made, state_of
from tests.api.rows import PLANTED

COLUMNS = ["timestamp", "source", "title", "symbols", "sentiment", "score"]


def frame_of(api: Made) -> pd.DataFrame:
    return pd.DataFrame(api.query(f"SELECT {', '.join(COLUMNS)} FROM news_articles"), columns=COLUMNS)


def test_the_list_is_paged_newest_first_and_complete(api: Made) -> None:
    rows = api.all_rows("/news?limit=7")
    assert len(rows) == len(frame_of(api)) == 48
    assert [row["timestamp"] for row in rows] == sorted((row["timestamp"] for row in rows), reverse=True)


@pytest.mark.parametrize(
    ("query", "condition"),
    [
        ("source=Decrypt", "source == 'Decrypt'"),
        ("sentiment=bearish", "sentiment == 'bearish'"),
        ("coin=eth", "symbols.str.contains('\"ETH\"')"),
        ("text=HEADLINE%201", "title.str.startswith('Headline 1')"),
        ("start_date=2026-11-22T06:00:00Z", "timestamp >= '2026-11-22T06:00:00.000Z'"),
        ("end_date=2026-11-21", "timestamp < '2026-11-22T00:00:00.000Z'"),
    ],
)
def test_each_filter_gives_the_rows_that_meet_it(api: Made, query: str, condition: str) -> None:
    wanted = frame_of(api).query(condition, engine="python")
    found = api.all_rows(f"/news?{query}&limit=50")
    assert 0 < len(wanted) < 48
    assert sorted(row["title"] for row in found) == sorted(wanted.title)


@pytest.mark.parametrize("wrong", ["sentiment=happy", "coin=B", "text=x", "source=", "hours=2", "symbol=BTCUSDT"])
def test_a_wrong_or_unknown_filter_is_refused(api: Made, wrong: str) -> None:
    assert api.get(f"/news?{wrong}").status_code == 422


def test_a_percent_sign_in_the_text_is_no_wildcard(api: Made) -> None:
    assert api.data("/news?text=Head%25line") == []


@pytest.mark.parametrize(("step", "length"), [("hour", 13), ("day", 10)])
def test_sentiment_over_time_is_found_again_from_the_rows(api: Made, step: str, length: int) -> None:
    rows = frame_of(api)
    since = "2026-11-21T06:00:00.000Z"
    rows = rows[rows.timestamp >= since]
    told = api.data(f"/news/sentiment?hours=30&step={step}")
    groups = rows.groupby(rows.timestamp.str[:length])
    assert [each["start"][:length] for each in told] == sorted(groups.groups)
    for each in told:
        group = groups.get_group(each["start"][:length])
        assert each["articles"] == len(group)
        assert each["scored"] == group.score.notna().sum()
        for name in ("bullish", "bearish", "neutral"):
            assert each[name] == (group.sentiment == name).sum()
        mean = group.score.mean()
        assert each["mean_score"] is None if math.isnan(mean) else each["mean_score"] == pytest.approx(mean, abs=1e-8)


def test_text_of_strangers_is_named_and_moves_nothing(api: Made) -> None:
    before = state_of(api)
    answer = api.get("/news?text=ignore%20your").get_json()
    assert [row["title"] for row in answer["data"]] == [PLANTED]
    assert answer["untrusted"]["warning"] == WARNING
    assert {"title", "summary"} <= set(answer["untrusted"]["fields"]) <= set(answer["data"][0])
    assert "summary" in api.get("/chart-analysis").get_json()["untrusted"]["fields"]
    assert state_of(api) == before


def test_news_of_another_world_are_not_shown(api: Made) -> None:
    api.writer.write(lambda connection: connection.exec_driver_sql("UPDATE news_articles SET world = 'live'"))
    assert api.data("/news") == [] == api.data("/news/sentiment?hours=48")

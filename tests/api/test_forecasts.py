"""The scoreboard over the API: its figures found again by pandas, its filters, and verdicts beside opinions."""

import numpy as np
import pandas as pd
import pytest

from src.domain.forecast_scores import FEWEST, TOO_FEW
from src.reporting.pages import Scope
from tests.api.made import Made

EXACT = 1e-9
Z = 1.959963984540054


def frame_of(api: Made) -> pd.DataFrame:
    names = "forecaster model horizon_s status probability direction return_share net_share source symbol timestamp"
    rows = api.query(f"SELECT {', '.join(names.split())} FROM forecasts")
    return pd.DataFrame(rows, columns=names.split())


def test_each_figure_of_the_scoreboard_is_found_again_from_the_rows(api: Made) -> None:
    rows = frame_of(api)
    scores = api.data("/forecasts/scores")
    assert {each["name"] for each in scores} == {"vote:rsi", "chart:local", "fear_greed"}
    assert max(each["settled"] for each in scores) > FEWEST
    for line in scores:
        mine = rows[(rows.forecaster == line["forecaster"]) & (rows.model == line["model"])]
        done = mine[mine.status == "settled"]
        assert [line["settled"], line["open"], line["missed"]] == [
            len(done), (mine.status == "open").sum(), (mine.status == "missed").sum(),
        ]  # fmt: skip
        assert (line["verdict"] == TOO_FEW) == (len(done) < FEWEST)
        if done.empty:
            assert line["hit_rate"] is line["skill"] is line["cost_per_settled"] is None
            continue
        risen, n = (done.return_share > 0).astype(float), len(done)
        hit = (done.direction * done.return_share > 0).mean()
        brier = ((done.probability - risen) ** 2).mean()
        base = risen.mean() * (1 - risen.mean())
        half = Z * np.sqrt(hit * (1 - hit) / n + Z**2 / (4 * n**2)) / (1 + Z**2 / n)
        middle = (hit + Z**2 / (2 * n)) / (1 + Z**2 / n)
        assert line["hit_rate"] == pytest.approx(hit, abs=EXACT)
        assert line["hit_interval"] == pytest.approx([middle - half, middle + half], abs=EXACT)
        assert line["brier"] == pytest.approx(brier, abs=EXACT)
        assert line["net_mean"] == pytest.approx(done.net_share.mean(), abs=EXACT)
        if base:
            assert line["skill"] == pytest.approx(1 - brier / base, abs=EXACT)
            rank = done.probability.rank().corr(done.return_share.rank())
            assert line["information_coefficient"] == pytest.approx(rank, abs=EXACT)
        assert sum(each["count"] for each in line["calibration"]) == n


def test_the_list_is_filtered_and_paged(api: Made) -> None:
    rows = api.all_rows("/forecasts?forecaster=vote:rsi&status=settled&limit=50")
    assert len(rows) == len(frame_of(api).query("forecaster == 'vote:rsi' and status == 'settled'"))
    assert [row["timestamp"] for row in rows] == sorted((row["timestamp"] for row in rows), reverse=True)
    assert {row["forecaster"] for row in rows} == {"vote:rsi"}
    assert api.data("/forecasts?source=past") == [] and api.data("/forecasts/scores?source=past") == []
    assert api.data("/forecasts?symbol=ETHUSDT") == []
    for wrong in ("source=elsewhere", "status=done", "forecaster=DROP TABLE"):
        assert api.get(f"/forecasts?{wrong}").status_code == 422


def test_a_look_back_counts_only_what_was_said_since(api: Made) -> None:
    whole = {each["name"]: each["settled"] for each in api.data("/forecasts/scores")}
    recent = {each["name"]: each["settled"] for each in api.data("/forecasts/scores?hours=3")}
    assert 0 < recent["vote:rsi"] <= 12 < whole["vote:rsi"]


def test_an_opinion_bears_the_verdict_of_its_forecaster(api: Made) -> None:
    told = {each["name"]: each["verdict"] for each in api.data("/forecasts/scores")}
    assert api.data("/chart-analysis")["forecast_verdict"] == told["chart:local"]
    assert api.data("/market-context")["fear_greed_verdict"] == told["fear_greed"]


def test_who_has_made_no_forecast_has_no_verdict(api: Made) -> None:
    assert api.source.reports.forecast_verdict(Scope(), "nobody") is None

"""The picture that the analyst saw: shown by its own name from one folder, and nothing else is."""

import os

import pytest

from src.dashboard.app import create_app
from src.dashboard.chart_files import picture_address, picture_file
from tests.dashboard.scene import scene

NAME = "BTCUSDT_15m_20261122T120000000Z.png"
PNG = b"\x89PNG\r\n\x1a\n" + b"0" * 64


@pytest.fixture
def made(tmp_path):
    folder = tmp_path / "charts"
    folder.mkdir()
    (folder / NAME).write_bytes(PNG)
    (tmp_path / "secret.png").write_bytes(PNG)
    with scene(tmp_path, chart_dir=folder) as each:
        yield each


def test_the_card_names_the_picture_of_the_last_good_look(made):
    made.beat(process="chart_analysis_bot")
    made.analysis(ago_s=120, chart_file=NAME)
    made.analysis(ago_s=60, status="error", error="no answer")
    card, _ = made.dashboard_context.snapshots.card("analysis", "main")
    assert card.picture == f"api/chart-picture/{NAME}"
    answer = create_app(made.dashboard_context).test_client().get(card.picture)
    assert (answer.status_code, answer.data, answer.content_type) == (200, PNG, "image/png")
    assert "immutable" in answer.headers["Cache-Control"]


def test_a_pruned_picture_is_not_offered(made):
    made.beat(process="chart_analysis_bot")
    made.analysis(chart_file="BTCUSDT_15m_20261122T110000000Z.png")
    assert made.dashboard_context.snapshots.card("analysis", "main")[0].picture == ""
    assert picture_address(None, NAME) == ""


@pytest.mark.parametrize(
    "name",
    ["../secret.png", "..%2Fsecret.png", "%2e%2e/secret.png", "secret.png", "", ".", NAME + "%00", NAME.lower(),
     NAME.replace(".png", ".svg"), "BTCUSDT_15m_20261122T130000000Z.png", "/etc/passwd"],
)  # fmt: skip
def test_no_other_file_can_be_had(made, name):
    answer = create_app(made.dashboard_context).test_client().get(f"/api/chart-picture/{name}")
    assert answer.status_code in (308, 404) and PNG not in answer.data


def test_a_link_a_large_file_and_what_is_no_picture_are_refused(made, tmp_path):
    folder = tmp_path / "charts"
    client = create_app(made.dashboard_context).test_client()
    link, large, text = (NAME.replace("12000", f"1200{number}") for number in (1, 2, 3))
    os.symlink(tmp_path / "secret.png", folder / link)
    (folder / large).write_bytes(PNG)
    os.truncate(folder / large, 5 * 1024 * 1024)
    (folder / text).write_bytes(b"BOT_CONTROL_PIN=1")
    assert picture_file(folder, link) is None and picture_file(folder, large) is None
    assert [client.get(f"/api/chart-picture/{name}").status_code for name in (link, large, text)] == [404] * 3


def test_where_looking_needs_the_pin_pictures_need_it_too(made, tmp_path):
    with scene(tmp_path / "charts", chart_dir=tmp_path / "charts", dashboard_host="0.0.0.0") as locked:
        answer = create_app(locked.dashboard_context).test_client().get(f"/api/chart-picture/{NAME}")
        assert answer.status_code == 401

"""What tests of the dashboard share: a database in which much has happened, made once for each module and copied."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.dashboard.browsing import FLAGS, Watched, chromium
from tests.dashboard.scene import Scene, scene, served


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the file of a database in which everything has happened."""
    folder = tmp_path_factory.mktemp("lived")
    with scene(folder) as made:
        made.full()
    return folder / "scene.db"


@pytest.fixture
def full(tmp_path: Path, lived: Path) -> Iterator[Scene]:
    """Lend a served dashboard on a copy of that database, the bots having spoken just now."""
    shutil.copy(lived, tmp_path / "scene.db")
    with served(tmp_path) as made:
        made.beat()
        made.beat(process="chart_analysis_bot")
        yield made


@pytest.fixture
def several(full: Scene) -> Scene:
    """Lend the same with three more bots in the database, each in another state."""
    full.others()
    return full


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for the tests of a module."""
    with sync_playwright() as play:
        started = play.chromium.launch(executable_path=chromium(), args=FLAGS)
        yield started
        started.close()


@pytest.fixture
def look(browser: Browser) -> Iterator[Callable[..., Watched]]:
    """Opens watched pages and closes them."""
    opened: list[Watched] = []

    def make(width: int = 1440, **choices: str) -> Watched:
        opened.append(Watched(browser, width, **choices))
        return opened[-1]

    yield make
    for each in opened:
        each.close()

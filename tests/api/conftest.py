"""The API on a filled database, for every test of this folder."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api.made import Made, Maker, make


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Made]:
    """The API as a newcomer has it: on loopback, without a key."""
    made = make(tmp_path)
    yield made
    made.close()


@pytest.fixture
def maker(tmp_path: Path) -> Iterator[Maker]:
    """Make the API otherwise: another host, origins, limits."""
    all_made: list[Made] = []

    def build(**options: object) -> Made:
        folder = tmp_path / str(len(all_made))
        folder.mkdir()
        all_made.append(make(folder, **options))  # type: ignore[arg-type]
        return all_made[-1]

    yield build
    for each in all_made:
        each.close()

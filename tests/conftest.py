"""What all tests share: none is judged by the clock of a busy machine, none reads or writes what is this folder's own.

``Settings.load`` finds no ``.env``, and locks and notes of all processes lie in a folder that ends with the tests.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("suite", deadline=None)
settings.load_profile("suite")


@pytest.fixture(autouse=True, scope="session")
def no_settings_of_this_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Let ``Settings.load`` find no file where a user's own choices would otherwise decide what a test sees."""
    nowhere = tmp_path_factory.mktemp("settings") / ".env"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("src.runtime.settings.ENV_FILE", nowhere)
        patch.setenv("STATE_DIR", str(tmp_path_factory.mktemp("state")))
        yield nowhere

"""Keys are shown once, kept as hashes, closed at once, and never in anybody's way to be guessed."""

import hmac
import json
import re
from pathlib import Path

import pytest

from src.api.keys import KeyStore, main
from src.domain.clock import ManualClock
from src.domain.errors import SettingsError


@pytest.fixture
def store(tmp_path: Path) -> KeyStore:
    return KeyStore(tmp_path / "state" / "api_keys.json", ManualClock(1_795_348_800_000))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "state" / "api_keys.json"


def test_a_key_opens_what_it_was_made_for(store: KeyStore) -> None:
    token = store.create("my agent", ("read",))
    assert re.fullmatch(r"key_[0-9a-f]{8}_[A-Za-z0-9_-]{43}", token)
    for _ in range(2):  # by scrypt, then from memory
        found = store.verify(token)
        assert found is not None
        assert (found.name, found.scopes) == ("my agent", ("read",))


@pytest.mark.parametrize("wrong", ["", "key_", "key_00000000_" + "a" * 43, "x" * 10_000, "schlüssel", "key_\x00"])
def test_nothing_else_opens(store: KeyStore, wrong: str) -> None:
    store.create("one", ("read",))
    assert store.verify(wrong) is None


def test_a_changed_character_or_a_foreign_secret_opens_nothing(store: KeyStore) -> None:
    first, second = store.create("one", ("read",)), store.create("two", ("read",))
    assert store.verify(first[:-1] + ("A" if first[-1] != "A" else "B")) is None
    assert store.verify(first[:13] + second[13:]) is None


def test_the_secret_is_kept_nowhere(store: KeyStore, file: Path) -> None:
    token = store.create("one", ("read", "control"))
    store.verify(token)
    secret = token[13:]
    for each in file.parent.iterdir():
        assert secret not in each.read_text()
        assert each.stat().st_mode & 0o077 == 0
    assert file.parent.stat().st_mode & 0o077 == 0
    assert secret not in repr(vars(store))
    row = json.loads(file.read_text())["keys"][0]
    assert set(row) == {"id", "name", "scopes", "created_at", "salt", "digest"}


def test_secrets_are_compared_in_constant_time(store: KeyStore, monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[bool] = []
    real = hmac.compare_digest
    monkeypatch.setattr(hmac, "compare_digest", lambda one, two: compared.append(True) or real(one, two))
    token = store.create("one", ("read",))
    store.verify(token)
    store.verify("key_00000000_" + "a" * 43)  # an id that does not exist takes the same way
    assert len(compared) == 2


def test_a_revoked_key_closes_at_once_also_for_a_server_that_knew_it(store: KeyStore, file: Path) -> None:
    token = store.create("one", ("read",))
    other = KeyStore(file, ManualClock(1_795_348_800_000))
    assert other.verify(token) is not None
    assert store.revoke(token[4:12])
    assert other.verify(token) is None
    assert not store.revoke(token[4:12])


def test_the_last_use_is_remembered_to_the_minute(store: KeyStore) -> None:
    token = store.create("one", ("read",))
    assert store.last_used(token[4:12]) == ""
    store.verify(token)
    assert store.last_used(token[4:12]) == "2026-11-22T12:00:00.000Z"


def test_a_file_that_others_read_or_that_is_damaged_is_refused(store: KeyStore, file: Path) -> None:
    store.create("one", ("read",))
    file.chmod(0o644)
    with pytest.raises(SettingsError, match="chmod 600"):
        KeyStore(file).all()
    file.chmod(0o600)
    file.write_text("{")
    with pytest.raises(SettingsError, match="damaged"):
        KeyStore(file).all()


def test_the_command_makes_lists_and_revokes(store: KeyStore, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["create", "my agent", "--control"], store) == 0
    token = capsys.readouterr().out.strip()
    key = store.verify(token)
    assert key is not None
    assert key.scopes == ("read", "control")
    assert main(["list"], store) == 0
    listed = capsys.readouterr().out
    assert "my agent" in listed
    assert token not in listed
    assert token[13:] not in listed
    assert main(["revoke", token[4:12]], store) == 0
    assert store.verify(token) is None
    assert main(["revoke", token[4:12]], store) == 1
    for wrong in ([], ["create"], ["create", "a", "--all"], ["create", "line\nbreak"], ["list", "x"]):
        assert main(wrong, store) == 2

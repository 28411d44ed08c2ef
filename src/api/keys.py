"""API keys: created once, shown once, stored as scrypt hashes in a local file.

They stand in a file and not in the database: they belong to this machine, must be checked while the database
is away, are not to travel with its copies, and so the server's way to the database stays read-only.

``python3 -m src.api.keys create NAME [--control | --signal] | list | revoke ID``; ``scripts/api_key.sh`` calls it.
"""

import fcntl
import hmac
import json
import os
import re
import secrets
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from hashlib import scrypt, sha256
from pathlib import Path
from typing import Any, Final

from src.domain.clock import Clock, SystemClock, utc_text
from src.domain.errors import SettingsError
from src.domain.version import VERSION_LINE
from src.runtime.settings import Settings

KEYS_FILE: Final = "api_keys.json"  # in STATE_DIR
_TOKEN = re.compile(r"key_([0-9a-f]{8})_([A-Za-z0-9_-]{43})")
SIGNAL: Final = "signal"
_SOURCE = re.compile(r"[a-z0-9_-]{1,24}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,39}")
_SCRYPT: Final = {"n": 2**14, "r": 8, "p": 1}  # 16 MB and some 40 ms for each guess
_USED_EVERY_MS = 60_000


@dataclass(frozen=True, slots=True)
class ApiKey:
    """One key as it is kept; ``salt`` and ``digest`` are hexadecimal, the secret itself is nowhere.

    ``signing_key`` (of a source of signals alone) is the SHA-256 of the secret, with which its messages are signed.
    """

    id: str
    name: str
    scopes: tuple[str, ...]
    created_at: str
    salt: str
    digest: str
    signing_key: str = ""


class KeyStore:
    """The keys of this machine; safe to share between threads, and between processes by a lock on the file.

    Args:
        path: the file; it is read again whenever it has changed, so that a revoked key closes at once.
        clock: the machine's.
    """

    def __init__(self, path: Path, clock: Clock | None = None) -> None:
        self._path = path
        self._clock = clock or SystemClock()
        self._lock = threading.Lock()
        self._stamp: tuple[int, int, int] | None = None
        self._keys: dict[str, ApiKey] = {}
        self._pepper = secrets.token_bytes(32)
        self._known: dict[bytes, ApiKey] = {}  # keys that were right once, so that not each call costs a scrypt
        self._used_ms: dict[str, int] = {}

    def all(self) -> list[ApiKey]:
        """Return all keys, oldest first.

        Raises:
            SettingsError: the file is damaged, or others may read it.
        """
        with self._lock:
            self._read_again()
            return list(self._keys.values())

    def verify(self, token: str) -> ApiKey | None:
        """Return the key that ``token`` is, or None; takes as long for a wrong id as for a wrong secret."""
        fingerprint = hmac.digest(self._pepper, token.encode(), "sha256")
        with self._lock:
            self._read_again()
            known = self._known.get(fingerprint)
            parts = _TOKEN.fullmatch(token)
            key = self._keys.get(parts[1]) if parts else None
        if known is None:
            salt = bytes.fromhex(key.salt) if key else self._pepper[:16]
            right = hmac.compare_digest(_digest(token, salt).encode(), (key.digest if key else "").encode())
            known = key if right else None
        if known is None:
            return None
        with self._lock:
            self._known[fingerprint] = known
        self._note_use(known.id)
        return known

    def find(self, key_id: str) -> ApiKey | None:
        """Return the key of that id, or None."""
        with self._lock:
            self._read_again()
            return self._keys.get(key_id)

    def create(self, name: str, scopes: tuple[str, ...]) -> str:
        """Make a key and return its token: the only time it can be seen. Raises ``ValueError`` for a bad name."""
        if not _NAME.fullmatch(name):
            raise ValueError("a name has 1 to 40 letters, digits, blanks, dots, hyphens and underscores")
        if SIGNAL in scopes and not _SOURCE.fullmatch(name):
            raise ValueError("a source of signals has 1 to 24 of a-z, 0-9, - and _")
        with self._writing() as keys:
            key_id = next(each for each in iter(lambda: secrets.token_hex(4), "") if each not in keys)
            token, salt = f"key_{key_id}_{secrets.token_urlsafe(32)}", secrets.token_bytes(16)
            made = utc_text(self._clock.now_ms())
            signing_key = sha256(token.encode()).hexdigest() if SIGNAL in scopes else ""
            keys[key_id] = ApiKey(key_id, name, scopes, made, salt.hex(), _digest(token, salt), signing_key)
        return token

    def revoke(self, key_id: str) -> bool:
        """Forget a key; return whether there was one."""
        with self._writing() as keys:
            found = keys.pop(key_id, None) is not None
        if found:
            self._mark(key_id).unlink(missing_ok=True)
        return found

    def last_used(self, key_id: str) -> str:
        """Return the instant of a key's last use to the minute, or "" before the first."""
        mark = self._mark(key_id)
        return utc_text(mark.stat().st_mtime_ns // 1_000_000) if mark.exists() else ""

    def _note_use(self, key_id: str) -> None:
        now_ms = self._clock.now_ms()
        if now_ms - self._used_ms.get(key_id, 0) >= _USED_EVERY_MS:
            self._used_ms[key_id] = now_ms
            mark = self._mark(key_id)
            mark.touch(mode=0o600)
            os.utime(mark, ns=(now_ms * 1_000_000,) * 2)

    def _mark(self, key_id: str) -> Path:
        return self._path.with_name(f"api_key_{key_id}.used")

    def _read_again(self) -> None:
        try:
            found = self._path.stat()
        except FileNotFoundError:
            self._stamp, self._keys = None, {}
            self._known.clear()
            return
        stamp = (found.st_mtime_ns, found.st_size, found.st_ino)
        if stamp != self._stamp:
            self._keys = _read(self._path)
            self._known.clear()
            self._stamp = stamp

    @contextmanager
    def _writing(self) -> Iterator[dict[str, ApiKey]]:
        """Lend the keys for a change and write them whole, while nobody else does."""
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(self._path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            keys = _read(self._path) if self._path.exists() else {}
            yield keys
            _write(self._path, keys)
        finally:
            os.close(lock)


def _digest(token: str, salt: bytes) -> str:
    return scrypt(token.encode(), salt=salt, dklen=32, **_SCRYPT).hex()


def _read(path: Path) -> dict[str, ApiKey]:
    try:
        if path.stat().st_mode & 0o077:
            raise SettingsError((f"{path} can be read by other users: type `chmod 600 {path}`.",))
        rows = json.loads(path.read_text(encoding="utf-8"))["keys"]
        keys = [ApiKey(**(row | {"scopes": tuple(row["scopes"])})) for row in rows]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SettingsError((f"{path} is damaged ({error}): restore it, or delete it and make new keys.",)) from error
    return {key.id: key for key in keys}


def _row(key: ApiKey) -> dict[str, Any]:
    row = asdict(key)
    return row if key.signing_key else {name: value for name, value in row.items() if name != "signing_key"}


def _write(path: Path, keys: dict[str, ApiKey]) -> None:
    new = path.with_suffix(".new")
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        json.dump({"keys": [_row(key) for key in keys.values()]}, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)


_USAGE = """Usage: ./scripts/api_key.sh create NAME [--control | --signal] | list | revoke ID

  create   make a key that may read (with --control also trip the circuit breaker and ask for its reset) and show it,
           this once; with --signal make a source of external signals that may do nothing else
  list     names, scopes and last use; the keys themselves are kept nowhere
  revoke   disable one key at once"""


_KINDS: Final = {(): ("read",), ("--control",): ("read", "control"), ("--signal",): (SIGNAL,)}


def main(arguments: list[str], store: KeyStore | None = None) -> int:
    """Do what ``scripts/api_key.sh`` is asked; return the exit code (2 for usage)."""
    if arguments == ["--version"]:
        print(VERSION_LINE)
        return 0
    try:
        store = store or KeyStore(Settings.load().state_dir / KEYS_FILE)
        match arguments:
            case ["create", name, *rest] if tuple(rest) in _KINDS:
                return _create(store, name, _KINDS[tuple(rest)])
            case ["list"]:
                return _list(store)
            case ["revoke", key_id]:
                found = store.revoke(key_id)
                print(f"Revoked {key_id}." if found else f"There is no key {key_id}.", file=_stream(found))
                return 0 if found else 1
    except SettingsError as error:
        print("\n".join(error.problems), file=sys.stderr)
        return 78
    except ValueError as error:
        print(f"No key was made: {error}.", file=sys.stderr)
        return 2
    print(_USAGE, file=sys.stderr)
    return 2


def _stream(good: bool) -> Any:
    return sys.stdout if good else sys.stderr


def _create(store: KeyStore, name: str, scopes: tuple[str, ...]) -> int:
    token = store.create(name, scopes)
    print(f"This key is shown once ({', '.join(scopes)}); send it as `Authorization: Bearer KEY`:", file=sys.stderr)
    print(token)
    return 0


def _list(store: KeyStore) -> int:
    for key in store.all():
        used = store.last_used(key.id) or "never used"
        print(f"{key.id}  {key.name:<24} {','.join(key.scopes):<13} made {key.created_at}  {used}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Edits single lines of the user's ``.env`` and leaves every other byte unchanged."""

import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Final

from dotenv.parser import parse_stream

from src.domain.errors import SuiteError

_LINE: Final = (
    rb"^(?P<head>[ \t]*(?:export[ \t]+)?%s[ \t]*=[ \t]*)"
    rb"(?P<value>\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'|[^\r\n]*?)"
    rb"(?P<tail>(?:[ \t]+#[^\r\n]*)?[ \t]*)(?=\r?\n|\r?\Z)"
)


class EnvMissing(SuiteError):
    """There is no file to change."""


class EnvNotWritable(SuiteError):
    """The file or its folder is not writable; nothing was changed."""


@dataclass(frozen=True, slots=True)
class Change:
    """One setting before and after; ``old`` is None where the file did not name it."""

    name: str
    old: str | None
    new: str


def read_env(path: Path) -> bytes:
    """Return the file's bytes; ``EnvMissing`` says what to do where there is none."""
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise EnvMissing(f"{path} does not exist: run ./scripts/restart_all.sh once, or copy .env.example.") from error
    except OSError as error:
        raise EnvMissing(f"{path} cannot be read: {error.strerror}.") from error


def value_in(content: bytes, name: str) -> str | None:
    """Return the effective value of ``name`` (the last one, without quotes), or None."""
    found = _spans(content, name)
    return _unquoted(content[slice(*found[-1])]) if found else None


def changes_in(content: bytes, wanted: Mapping[str, str]) -> list[Change]:
    """Return the changes that give each name its wanted value."""
    present = {name: value_in(content, name) for name in wanted}
    return [Change(name, present[name], value) for name, value in wanted.items() if present[name] != value]


def edited(content: bytes, changes: list[Change]) -> bytes:
    """Return the content with the changes made: the last line of a name in place, a new name at the end."""
    for change in changes:
        found = _spans(content, change.name)
        if found:
            start, end = found[-1]
            content = content[:start] + change.new.encode() + content[end:]
        else:
            newline = b"\r\n" if b"\r\n" in content else b"\n"
            joint = b"" if not content or content.endswith(b"\n") else newline
            content += joint + f"{change.name}={change.new}".encode() + newline
    return content


def write_env(path: Path, content: bytes) -> Path:
    """Replace the file in one step, with a copy of the old one beside it; return the copy's path.

    Permissions and owner stay, the copy is readable by its owner alone, a link is followed.

    Raises:
        EnvNotWritable: the file is read-only, or its folder refuses.
    """
    target = path.resolve()
    backup = target.with_name(f"{target.name}.bak")
    work_file = target.with_name(f"{target.name}.{os.getpid()}.tmp")
    try:
        state = target.stat()
        if not state.st_mode & stat.S_IWUSR:  # root could write it anyway, but its owner made it read-only
            raise EnvNotWritable(f"{path} is read-only: type `chmod u+w {path}` to allow changes.")
        _write_whole(backup, target.read_bytes(), 0o600)
        _write_whole(work_file, content, stat.S_IMODE(state.st_mode))
        if os.geteuid() == 0:
            os.chown(work_file, state.st_uid, state.st_gid)
        work_file.replace(target)
    except OSError as error:
        work_file.unlink(missing_ok=True)
        raise EnvNotWritable(f"{path} cannot be written: {error.strerror}.") from error
    return backup


def _spans(content: bytes, name: str) -> list[tuple[int, int]]:
    """Return the spans of the values of a name, in the order of the file; case does not matter.

    A quoted value may span several lines; text inside it that looks like a setting is not one.
    """
    pattern = re.compile(_LINE % re.escape(name).encode(), re.MULTILINE | re.IGNORECASE | re.DOTALL)
    mark = b"\xef\xbb\xbf" if content.startswith(b"\xef\xbb\xbf") else b""
    spans, at = [], len(mark)
    text = content[at:].decode("utf-8", errors="surrogateescape")
    for binding in parse_stream(StringIO(text, newline="")):
        part = binding.original.string.encode("utf-8", errors="surrogateescape")
        if binding.key is not None and binding.key.upper() == name.upper():
            found = pattern.search(part)
            if found:
                spans.append((at + found.start("value"), at + found.end("value")))
        at += len(part)
    return spans


def _unquoted(value: bytes) -> str:
    text = value.decode("utf-8", errors="replace").strip()
    quoted = len(text) >= 2 and text[0] == text[-1] and text[0] in "\"'"
    return text[1:-1] if quoted else text


def _write_whole(path: Path, content: bytes, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)
        os.fchmod(descriptor, mode)

"""The agent's file: numbers and metadata without code, written so that a crash leaves a whole file.

The file bears the name ``*.pkl`` that its users know, but holds an npz archive; real pickles can run code when
they are read and are refused, except by ``read_pickle``, which people call by hand and which knows a short list
of harmless names. Beside it lies ``NAME.sha256`` in the format of ``sha256sum``.
"""

import hashlib
import io
import json
import math
import os
import pickle
import struct
import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from src.domain.errors import ModelRefused

Arrays = dict[str, NDArray[Any]]
LARGEST_BYTES = 256 * 1024 * 1024
_ABOUT = "about"
_MOST_ARRAYS = 64
_LONGEST_HEADER = 10_000
_DAMAGE = (
    zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError, KeyError, IndexError, TypeError, AttributeError,
    RuntimeError, SyntaxError, OverflowError, MemoryError, RecursionError, struct.error, tokenize.TokenError,
)  # fmt: skip
"""What zip, numpy's header parser and json raise at bytes that no model of ours has."""
_HARMLESS = {
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "scalar"),
    ("numpy._core.numeric", "_frombuffer"),
    ("collections", "OrderedDict"),
    ("_codecs", "encode"),
}


def write_model(path: Path, arrays: Arrays, about: dict[str, Any]) -> str:
    """Write arrays and description to ``path`` and its hash beside it; return the hash.

    Whatever instant the machine dies at, the old file or the new one is there and fits the hash: the hash file
    names both while the model is being replaced. Both files can be read by their owner alone.

    Raises:
        OSError: the disk is full or read-only; the old file stands untouched.
    """
    content = _packed(arrays, about)
    digest = hashlib.sha256(content).hexdigest()
    path.parent.mkdir(parents=True, exist_ok=True)
    line = f"{digest}  {path.name}\n"
    _replace(_hash_path(path), (line + _line_of_old(path)).encode())
    _replace(path, content)
    _replace(_hash_path(path), line.encode())
    return digest


def move_model(path: Path, target: Path) -> None:
    """Give a model another name, its hash with it; whatever stood there is replaced.

    Whatever instant the machine dies at, the model has one of the two names and fits the hash beside it.

    Raises:
        OSError: missing, or the folder cannot be written.
    """
    _replace(_hash_path(target), _line_of(path, target.name).encode() + _line_of_old(target).encode())
    path.replace(target)
    _replace(_hash_path(target), _line_of(target, target.name).encode())
    _hash_path(path).unlink(missing_ok=True)


def read_model(path: Path) -> tuple[Arrays, dict[str, Any]]:
    """Return arrays and description of the file at ``path``.

    Raises:
        ModelRefused: missing, too large, not matching its hash, or no archive of plain numbers.
    """
    content = _content(path)
    digest = hashlib.sha256(content).hexdigest()
    try:
        known = _hash_path(path).read_text(encoding="ascii", errors="replace").split()
    except FileNotFoundError:
        known = [digest]
    except OSError as fault:
        raise ModelRefused(f"The hash beside the model {path} cannot be read: {fault}.") from fault
    if digest not in known:
        raise ModelRefused(f"The model {path} does not match the hash beside it; restore a backup or retrain.")
    return _unpacked(path, content)


def read_pickle(path: Path) -> object:
    """Return what an old pickle holds, if it is made of numbers, texts and containers alone.

    Raises:
        ModelRefused: missing, too large, damaged, or naming anything else, which is never called.
    """
    content = _content(path)
    try:
        return _HarmlessUnpickler(io.BytesIO(content)).load()
    except (
        pickle.UnpicklingError, EOFError, ValueError, TypeError, AttributeError, IndexError, KeyError,
        ImportError, OverflowError, MemoryError, AssertionError,
    ) as fault:  # fmt: skip
        raise ModelRefused(f"The pickle {path} is damaged or not harmless ({fault}); nothing was run.") from fault


class _HarmlessUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        module = module.replace("numpy.core.", "numpy._core.")  # as numpy called it before version 2
        if (module, name) not in _HARMLESS:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return super().find_class(module, name)


def _packed(arrays: Arrays, about: dict[str, Any]) -> bytes:
    text = json.dumps(about, ensure_ascii=False, allow_nan=False, sort_keys=True).encode()
    buffer = io.BytesIO()
    named: dict[str, Any] = {**arrays, _ABOUT: np.frombuffer(text, np.uint8)}
    np.savez_compressed(buffer, **named)
    return buffer.getvalue()


def _unpacked(path: Path, content: bytes) -> tuple[Arrays, dict[str, Any]]:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            arrays = {name.removesuffix(".npy"): _array(archive, name) for name in _checked_names(archive)}
        about = json.loads(arrays.pop(_ABOUT).tobytes())
        if not isinstance(about, dict):
            raise ValueError("its description is not an object")
    except _DAMAGE as fault:
        said = f"{type(fault).__name__}: {fault}"[:200]
        raise ModelRefused(f"The model {path} cannot be read ({said}); restore a backup or retrain.") from fault
    return arrays, about


def _checked_names(archive: zipfile.ZipFile) -> list[str]:
    """Return the archive's entries; ``ValueError`` where they are too many or would unpack to too much."""
    entries = archive.infolist()
    unpacked_bytes = sum(entry.file_size for entry in entries)
    if len(entries) > _MOST_ARRAYS or unpacked_bytes > LARGEST_BYTES:
        raise ValueError(f"it would unpack to {len(entries)} arrays of {unpacked_bytes} bytes")
    return [entry.filename for entry in entries]


def _array(archive: zipfile.ZipFile, name: str) -> NDArray[Any]:
    """Return one array; its header is held against the bytes that are there before any memory is asked for.

    A zip entry may unpack to more than it states: no more than that is read.
    """
    stated = archive.getinfo(name).file_size
    with archive.open(name) as stored:
        raw = stored.read(stated + 1)
    if len(raw) != stated:
        raise ValueError(f"{name} has another length than it states")
    stream = io.BytesIO(raw)
    version = np.lib.format.read_magic(stream)
    read_header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in read_header or len(raw) - stream.tell() > LARGEST_BYTES:
        raise ValueError(f"{name} is of an unknown version")
    shape, _, kind = read_header[version](stream, max_header_size=_LONGEST_HEADER)
    if kind.hasobject or math.prod(shape) * kind.itemsize != len(raw) - stream.tell():
        raise ValueError(f"{name} is no array of plain numbers of the size that it states")
    stream.seek(0)
    return np.lib.format.read_array(stream, allow_pickle=False, max_header_size=_LONGEST_HEADER)


def _content(path: Path) -> bytes:
    try:
        if path.stat().st_size > LARGEST_BYTES:
            raise ModelRefused(f"The model {path} is larger than any of ours; restore a backup or retrain.")
        return path.read_bytes()
    except FileNotFoundError as fault:
        raise ModelRefused(f"There is no model at {path}; train one.") from fault
    except OSError as fault:
        raise ModelRefused(f"The model {path} cannot be read: {fault}.") from fault


def _hash_path(path: Path) -> Path:
    return path.with_name(path.name + ".sha256")


def _line_of(path: Path, name: str) -> str:
    return f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {name}\n"


def _line_of_old(path: Path) -> str:
    try:
        return _line_of(path, path.name)
    except FileNotFoundError:
        return ""


def _replace(path: Path, content: bytes) -> None:
    """Put ``content`` at ``path`` whole or not at all, and on the disk before returning."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)

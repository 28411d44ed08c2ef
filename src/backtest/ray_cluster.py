"""Spreads independent calls over a Ray cluster; one that does not answer is one sentence within ten seconds."""

import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from src.domain.errors import SettingsError

ANSWER_WITHIN_S: Final = 8.0
_CONNECT_S: Final = 3.0
_SOURCE: Final = Path(__file__).resolve().parents[1]
_PROBE: Final = "import sys, ray; ray.init(address=sys.argv[1], log_to_driver=False); ray.shutdown()"


def on_cluster(
    address: str, call: Callable[..., Any], shared: object, arguments: Sequence[tuple[Any, ...]]
) -> Iterator[Any]:
    """Yield what ``call(shared, *each)`` returns for each set of arguments, in the order in which they finish.

    Raises:
        SettingsError: the library is missing, or no cluster answers at the address.
    """
    with_ray = connected(address)
    try:
        task, handed = with_ray.remote(call), with_ray.put(shared)
        running = [task.remote(handed, *each) for each in arguments]
        while running:
            done, running = with_ray.wait(running)
            yield from with_ray.get(done)
    finally:
        with_ray.shutdown()


def connected(address: str) -> Any:
    """Return the library ``ray``, connected to the cluster at ``address``.

    Raises:
        SettingsError: the library is missing, or no cluster answers.
    """
    try:
        import ray
    except ImportError as error:
        install = ".venv/bin/python scripts/install_packages.py requirements-ray.txt"
        raise SettingsError((f"--ray needs a library: {install}",)) from error
    refuse_unreachable(address)
    environment = {"py_modules": [str(_SOURCE)]}  # src alone, and no secret beside it
    ray.init(address=address, runtime_env=environment, log_to_driver=False)
    return ray


def refuse_unreachable(address: str) -> None:
    """Raise ``SettingsError`` unless something answers at ``address``, and does so as a cluster."""
    host, found, port = address.removeprefix("ray://").rpartition(":")
    if found:
        _refuse_closed(address, host, port)
    try:
        done = subprocess.run(  # noqa: S603 - our own words, no shell
            [sys.executable, "-c", _PROBE, address], capture_output=True, timeout=ANSWER_WITHIN_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise SettingsError((_unreachable(address, f"no answer within {ANSWER_WITHIN_S:g} s"),)) from error
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise SettingsError((_unreachable(address, said[-1] if said else "it refused"),))


def _refuse_closed(address: str, host: str, port: str) -> None:
    if not port.isdecimal() or not 0 < int(port) < 65_536:
        raise SettingsError((f"--ray {address}: {port!r} is no port; write HOST:PORT, ray://HOST:PORT or auto.",))
    try:
        with socket.create_connection((host, int(port)), timeout=_CONNECT_S):
            return
    except OSError as error:
        reason = str(error.strerror or error).lower()
        raise SettingsError((_unreachable(address, reason),)) from error


def _unreachable(address: str, reason: str) -> str:
    return f"No Ray cluster answers at {address} ({reason}); start one with `ray start --head`, or leave --ray out."

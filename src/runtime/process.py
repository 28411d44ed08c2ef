"""Process lifecycle: single instance, rounds, signals, exit codes.

Exit codes: 0 done, 1 programming error (traceback in the log), 65 damaged data, 69 a service is unavailable, 73 cannot
write, 75 try again later (another instance runs, a port or the database is in use), 78 wrong settings, 130 and 143
killed by a second signal.
"""

import argparse
import errno
import fcntl
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Final, NoReturn

from src.domain.clock import Clock, SystemClock
from src.domain.errors import (
    CredentialsRefused,
    DataRefused,
    ExchangeUnavailable,
    ModelRefused,
    SettingsError,
    StoreCorrupt,
    StoreUnavailable,
    StoreUnwritable,
    SuiteError,
)
from src.domain.version import VERSION_LINE
from src.runtime.logging_setup import configure_logs, printable
from src.runtime.process_ends import forget_end, note_end
from src.runtime.settings import Settings, inherited_environment, service_manager_socket, state_folder

log = logging.getLogger(__name__)

OK: Final = 0
PROGRAMMING_ERROR: Final = 1
DATA_DAMAGED: Final = 65
UNAVAILABLE: Final = 69
CANNOT_WRITE: Final = 73
TRY_LATER: Final = 75
WRONG_SETTINGS: Final = 78
_THREADS_GRACE_S: Final = 3.0
_GOOD_AFTER_S: Final = 20.0

_WRITE_FAULTS: Final = frozenset(
    (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.EFBIG, errno.ENOTDIR, errno.EEXIST)
)


class AlreadyRunning(SuiteError):
    """Another instance of the process is running."""


_EXIT_CODES: Final[tuple[tuple[type[Exception], int], ...]] = (  # the first that fits
    (AlreadyRunning, TRY_LATER),
    (SettingsError, WRONG_SETTINGS),
    (CredentialsRefused, WRONG_SETTINGS),
    (StoreCorrupt, DATA_DAMAGED),
    (ModelRefused, DATA_DAMAGED),
    (DataRefused, DATA_DAMAGED),
    (StoreUnwritable, CANNOT_WRITE),
    (StoreUnavailable, TRY_LATER),
    (SuiteError, UNAVAILABLE),
)


def run_process(name: str, main: Callable[[threading.Event], int | None]) -> NoReturn:
    """Run ``main`` until it returns or a signal sets its ``stop``; then end the process with its exit code.

    The process is the only one of ``name`` and BOT_ID in its STATE_DIR. SIGTERM and SIGINT set ``stop``; a second one
    ends the process at once with 143 or 130. An exception in any thread stops the process, so that none continues half
    working.

    Args:
        name: of the process, as in ``bot_status`` and in the lock's file name.
        main: builds and runs it; may return an exit code.
    """
    reject_arguments()
    os.umask(0o077)
    stop = threading.Event()
    asked = _bind_signals(stop)
    crashes = _watch_threads(stop)
    reason, taken = "a thread died: see its log", False
    folder, bot_id = state_folder()
    place = f"{name}-{bot_id}"
    try:
        settings = Settings.load()
        configure_logs(settings)
        with single_instance(place, folder):
            _forget_end_later(folder, place)
            code = main(stop) or OK
    except Exception as error:  # noqa: BLE001 - the edge: the caller gets a sentence and an exit code
        code, reason = _explain(error)
        taken = isinstance(error, AlreadyRunning)
    code = PROGRAMMING_ERROR if crashes and code == OK else code
    if code == OK:
        forget_end(folder, place)
    elif not taken:
        note_end(folder, place, code, reason)
    notify_manager("STOPPING=1")
    if asked and code == OK:
        _note_stop()
    _leave(code)


def _forget_end_later(folder: Path, place: str) -> None:
    """Delete the record of the last exit once this process has run for a while."""
    timer = threading.Timer(_GOOD_AFTER_S, forget_end, (folder, place))
    timer.daemon = True
    timer.start()


def reject_arguments() -> None:
    """Answer ``--help``, and refuse any other argument, which would otherwise be ignored."""
    program = sys.modules["__main__"]
    told = (program.__doc__ or "").partition(": ")[2]
    parser = argparse.ArgumentParser(description=told, epilog="Settings: .env, explained in .env.example.")
    parser.add_argument("--version", action="version", version=VERSION_LINE)
    parser.parse_args()


def run_rounds(work: Callable[[], object], every_s: float, stop: threading.Event, clock: Clock | None = None) -> None:
    """Call ``work`` about every ``every_s`` seconds of ``clock``'s time until ``stop`` is set.

    The time a round takes is part of its interval. A ``SuiteError`` ends the round, never the process (except a damaged
    database or wrong settings, which a next round cannot repair); a programming error ends the process, so that it is
    noticed. After each successful round the service manager's watchdog is notified.
    """
    clock = clock or SystemClock()
    while not stop.is_set():
        began_ms = clock.now_ms()
        least_s = 0.0
        try:
            work()
            notify_manager("READY=1\nWATCHDOG=1")
        except (StoreCorrupt, SettingsError):
            raise
        except ExchangeUnavailable as error:
            least_s = error.retry_after_s
            log.warning("exchange unavailable: retry_in_s=%.0f reason=%s", max(every_s, least_s), error)
        except SuiteError:
            log.exception("round failed")
        took_ms = max(clock.now_ms() - began_ms, 0)
        clock.wait(stop, max(every_s * 1000.0 - took_ms, least_s * 1000.0))


@contextmanager
def single_instance(name: str, folder: Path) -> Iterator[None]:
    """Hold the lock of ``name``; the system releases it however the process ends.

    Raises:
        AlreadyRunning: another process holds it; the sentence names it.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(folder / f"{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 20, 0).decode(errors="replace").strip() or "unknown"
            raise AlreadyRunning(f"{name} is already running as process {holder}: stop that one first.") from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def notify_manager(state: str) -> None:
    """Notify systemd if it started us with a notify socket: ``READY=1``, ``WATCHDOG=1``, ``STOPPING=1``."""
    address = service_manager_socket()
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as datagram:
            datagram.connect(address)
            datagram.sendall(state.encode())
    except OSError as error:
        log.warning("service manager not reached: reason=%s", error)


def _note_stop() -> None:
    """Turn this process's PID file into ``NAME.stopped``: it was stopped by a signal and is not to be restarted."""
    name = inherited_environment().get("SERVICE_PID_FILE")
    if not name:  # no start script started this process
        return
    pid_file = Path(name)
    try:
        if pid_file.read_text(encoding="ascii").split()[:1] == [str(os.getpid())]:
            pid_file.rename(pid_file.with_suffix(".stopped"))
    except (OSError, UnicodeDecodeError) as error:  # the watchdog will take the stop for a crash and restart it
        log.warning("stop not recorded: reason=%s", error)


def _bind_signals(stop: threading.Event) -> list[int]:
    """Let the first signal set ``stop`` and the second end the process; return the list of received signals.

    The handler only writes to a pipe: setting the event itself could deadlock on a lock of the interrupted thread.
    """
    heard, spoken = os.pipe()
    os.set_blocking(spoken, False)
    seen: list[int] = []

    def on_signal(number: int, _frame: FrameType | None) -> None:
        seen.append(number)
        if len(seen) > 1:
            os._exit(128 + number)  # no clean-up that could hang: the next start reconciles
        os.write(spoken, b".")

    def listen() -> None:
        os.read(heard, 1)
        stop.set()

    threading.Thread(target=listen, name="signals", daemon=True).start()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, on_signal)
    return seen


def _watch_threads(stop: threading.Event) -> list[BaseException]:
    """Let an exception that ends a thread stop the process; return the list of such exceptions."""
    crashes: list[BaseException] = []

    def on_crash(crash: threading.ExceptHookArgs) -> None:
        if crash.exc_value is None or isinstance(crash.exc_value, SystemExit):
            return
        crashes.append(crash.exc_value)
        name = crash.thread.name if crash.thread else "?"
        log.critical("thread died: name=%s", name, exc_info=crash.exc_value)
        stop.set()

    threading.excepthook = on_crash
    return crashes


def _explain(error: Exception) -> tuple[int, str]:
    """Return the exit code and a sentence for the exception that ended the process."""
    if isinstance(error, SuiteError):
        sentences = error.problems if isinstance(error, SettingsError) else (str(error),)
        for sentence in sentences:
            _complain(sentence)
        return next(code for kind, code in _EXIT_CODES if isinstance(error, kind)), " ".join(sentences)
    if isinstance(error, OSError) and error.errno in _WRITE_FAULTS:
        return CANNOT_WRITE, _complain(f"cannot write: {error}")
    if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
        return TRY_LATER, _complain(f"the port is in use: {error}")
    log.critical("programming error", exc_info=error)
    return PROGRAMMING_ERROR, f"a programming error ({type(error).__name__}): see the log"


def _complain(sentence: str) -> str:
    """Log the sentence and return it; before logging is configured, write it to standard error."""
    if logging.getLogger().handlers:
        log.critical("%s", sentence)
    else:
        print(printable(sentence), file=sys.stderr)
    return sentence


def _leave(code: int) -> NoReturn:
    """End the process, after a short wait for unfinished threads and after the last log line.

    Not by the interpreter's normal exit: it stops threads anywhere, and a lock that one of them held can then block the
    process for ever. This happened on a busy machine, after "Bot stopped.".
    """
    lasting = [
        thread for thread in threading.enumerate() if not thread.daemon and thread is not threading.current_thread()
    ]
    deadline = SystemClock().now_ms() + _THREADS_GRACE_S * 1000.0
    for thread in lasting:
        thread.join(max((deadline - SystemClock().now_ms()) / 1000.0, 0.0))
    left = [thread.name for thread in lasting if thread.is_alive()]
    if left:
        log.error("threads did not end: names=%s", ",".join(left))
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # a full disk or a closed pipe
            stream.flush()
    os._exit(code)

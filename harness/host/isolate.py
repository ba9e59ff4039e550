"""Run a function in a process of its own, because converters and runtimes crash.

Whatever happens there (an exception, a segmentation fault, memory exhausted, a hang) comes back
here as a `HarnessError`; what the libraries print goes to a log file. The child is a plain
``python -P -c``, so the caller's ``__main__`` is never run again, and nothing is imported from the
current folder unless the caller imports from there.
"""

import contextlib
import io
import json
import os
import pickle
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from harness.errors import HarnessError, ModelError, UsageError
from harness.host.cache import cache_folder
from harness.host.disk import full_now, host_full
from harness.host.progress import Progress, no_progress
from harness.host.wording import first_line, users_place

_T = TypeVar("_T")
_Event = tuple[str, Any]

_BOOTSTRAP = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from harness.host.isolate import serve; serve(int(sys.argv[2]))"
)
_TAIL_LINES = 8
_KEPT_LOGS = 20
_TICK_S = 0.5


def run_isolated(
    function: Callable[..., _T],
    *args: object,
    what: str,
    timeout_s: float,
    memory_limit_bytes: int | None = None,
    progress: Progress = no_progress,
    stop: Callable[[], None] = lambda: None,
) -> _T:
    """Call ``function(*args, progress)`` in a new process and return what it returns.

    Args:
        function: of a module that the child can import by name (never of ``__main__``).
        args: picklable; a progress function is passed after them.
        what: what is being done, for messages, e.g. ``zoo:digits-cnn: conversion to LiteRT``.
        timeout_s: then the child and all its children are killed.
        memory_limit_bytes: of the child's data (RLIMIT_DATA); None for no limit.
        progress: told what the child reports.
        stop: called at least twice a second; what it raises ends the child, and is raised.

    Raises:
        HarnessError: the one that the function raised, unchanged.
        HostFull: this host's disk was full, whatever that led to.
        ModelError: any other exception, a signal, or the time limit; the message names `what`, and
            the log that holds the traceback and all that was printed; `raw` is all it said.
    """
    try:
        log = _new_log()
    except OSError as error:
        raise host_full(error) or UsageError(
            f"cache folder {cache_folder()}: cannot be written: {error.strerror}"
        ) from error
    payload = pickle.dumps((function, args, memory_limit_bytes))
    ours, theirs = os.pipe()
    with Connection(ours, writable=False) as events, log.open("wb") as log_stream:
        try:
            child = _start(theirs, log_stream.fileno())
        finally:
            os.close(theirs)
        try:
            with _killed_after(child, timeout_s) as deadline:
                outcome = _converse(child, payload, events, deadline, progress=progress, stop=stop)
        finally:
            _kill_group(child)
    kind, value = outcome
    if kind in {"returned", "refused"}:
        log.unlink(missing_ok=True)
        result: _T = pickle.loads(value)  # noqa: S301  made by our own child, not by a model file
        if isinstance(result, HarnessError) and kind == "refused":
            raise result
        return result
    if kind != "timeout" and (full := full_now()):
        raise full
    raw = place = ""
    if kind == "raised":
        raw, place = value
        at = f", at {place}" if place else ""
        reason = f"{first_line(raw)}{at} (traceback: {log})"
    elif kind == "timeout":
        reason = f"not done after {timeout_s:g} s, killed (output: {log})"
    else:
        reason = _ending(child.returncode, log)
    raise ModelError(f"{what}: {reason}", raw=raw or reason, log=str(log), place=place)


def _start(events: int, log: int) -> "subprocess.Popen[bytes]":
    path = json.dumps([entry or str(Path.cwd()) for entry in sys.path])
    return subprocess.Popen(
        [sys.executable, "-P", "-u", "-c", _BOOTSTRAP, path, str(events)],
        stdin=subprocess.PIPE,
        stdout=log,
        stderr=log,
        pass_fds=(events,),
        start_new_session=True,
    )


def _converse(
    child: "subprocess.Popen[bytes]",
    payload: bytes,
    events: "Connection[Any, Any]",
    deadline: float,
    *,
    progress: Progress,
    stop: Callable[[], None],
) -> _Event:
    """Hand over the call and follow its events to the last: what the child sent, or
    ``("timeout", None)``, or ``("died", None)`` when it ended without a word."""
    assert child.stdin is not None  # noqa: S101  for mypy: stdin=PIPE
    try:
        child.stdin.write(len(payload).to_bytes(8, "big") + payload)
        child.stdin.flush()
        while (left := deadline - time.monotonic()) > 0:
            stop()
            if not events.poll(min(_TICK_S, left)):
                continue
            kind, value = _receive(events)
            if kind != "progress":
                return kind, value
            progress(*value)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        if time.monotonic() >= deadline:
            return "timeout", None
        try:
            child.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            return "timeout", None
        return "died", None
    return "timeout", None


def _receive(events: "Connection[Any, Any]") -> _Event:
    try:
        event: _Event = events.recv()
    except OSError as error:
        raise EOFError("killed in the middle of a message") from error
    return event


@contextlib.contextmanager
def _killed_after(child: "subprocess.Popen[bytes]", timeout_s: float) -> Iterator[float]:
    """Kill a child at its deadline, which is handed out, even while it is written to or read from:
    one that is stopped would keep us waiting."""

    def kill() -> None:
        if child.poll() is None:  # its number is not another's yet
            os.killpg(child.pid, signal.SIGKILL)

    killer = threading.Timer(timeout_s, kill)
    killer.daemon = True
    deadline = time.monotonic() + timeout_s
    killer.start()
    try:
        yield deadline
    finally:
        killer.cancel()


def _kill_group(child: "subprocess.Popen[bytes]") -> None:
    with contextlib.suppress(ProcessLookupError):  # the whole group may have ended
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    if child.stdin is not None:
        child.stdin.close()


def _ending(status: int, log: Path) -> str:
    """How a process without a result ended, and the last lines it printed."""
    if status < 0:
        name = signal.Signals(-status).name
        hint = "; memory may have run out" if -status == signal.SIGKILL else ""
        ending = f"the process was ended by {name}{hint}"
    else:
        ending = f"the process ended with status {status} and no result"
    with log.open("rb") as stream:
        tail = deque(stream, maxlen=_TAIL_LINES)
    lines = [first_line(line.decode(errors="replace")) for line in tail]
    return "\n  ".join([f"{ending} (output: {log})", *lines])


def _new_log() -> Path:
    """A fresh log file; only the newest few are kept."""
    folder = cache_folder() / "logs"
    folder.mkdir(parents=True, exist_ok=True)
    old = sorted(folder.glob("*.log"), key=lambda path: path.name)
    for path in old[: -_KEPT_LOGS + 1]:
        path.unlink(missing_ok=True)
    stamp = time.strftime("%Y%m%d-%H%M%S")
    handle, name = tempfile.mkstemp(prefix=f"{stamp}-", suffix=".log", dir=folder)
    os.close(handle)
    return Path(name)


def serve(events_fd: int) -> NoReturn:
    """The child's whole life: read one call from stdin, answer on `events_fd`, exit.

    Exits without unloading libraries, whose teardown crashes at times.
    """
    events: Connection[Any, Any] = Connection(events_fd, readable=False)
    stdin = os.dup(0)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    with os.fdopen(stdin, "rb", buffering=0, closefd=False) as stream:
        payload = _read_exactly(stream, int.from_bytes(_read_exactly(stream, 8), "big"))
    threading.Thread(target=_die_with_parent, args=(stdin,), daemon=True).start()
    outcome: _Event
    try:
        function, args, memory_limit_bytes = pickle.loads(payload)  # noqa: S301  from our parent
        if memory_limit_bytes is not None:
            resource.setrlimit(resource.RLIMIT_DATA, (memory_limit_bytes, memory_limit_bytes))
        outcome = "returned", pickle.dumps(function(*args, _reporter(events)))
    except HarnessError as error:
        full = host_full(error) or (full_now() if isinstance(error, ModelError) else None)
        outcome = "refused", pickle.dumps(full or error)
    except MemoryError:
        _print_traceback()
        outcome = "raised", ("out of memory", "")
    except BaseException as error:  # user code may raise anything, SystemExit too
        _print_traceback()
        raw = f"{type(error).__name__}: {str(error).strip() or 'no message'}"
        outcome = "raised", (raw, users_place(error.__traceback__))
        if full := host_full(error):
            outcome = "refused", pickle.dumps(full)
    events.send(outcome)
    with contextlib.suppress(OSError):  # the disk of the log is full
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(0)


def _print_traceback() -> None:
    with contextlib.suppress(OSError):  # the disk of the log is full
        traceback.print_exc()


def _read_exactly(stream: io.RawIOBase, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        chunk = stream.read(size - len(data))
        if not chunk:
            os._exit(1)  # the parent is gone
        data += chunk
    return bytes(data)


def _reporter(events: "Connection[Any, Any]") -> Progress:
    def report(stage: str, done: int, total: int | None) -> None:
        events.send(("progress", (stage, done, total)))

    return report


def _die_with_parent(lifeline: int) -> None:
    """End the whole group when the parent's end of our stdin closes: the parent is gone."""
    while os.read(lifeline, 1):
        pass
    os.killpg(0, signal.SIGKILL)

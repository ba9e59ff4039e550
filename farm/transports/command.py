"""Command: an argv on a device in a process group of its own that never outlives its channel.

A command has ended when the script around it says so, not when its output streams end: a process
that it left behind in a group of its own may hold them open for ever. That small POSIX shell script
on the device, which needs only ``sh setsid head cat sleep``, holds the command's process group. The
channel's standard input is the group's lifeline: when it ends, be it that the host wants so or that
the connection broke, the group is killed.
"""

import math
import re
import shlex
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from uuid import uuid4

from farm.transports.channel import Channel, OpenChannel, Stream
from harness.errors import (
    DeviceTimeout,
    HarnessError,
    TransportError,
    UsageError,
    printable,
)

_GROUP_KILLED = 137
_WATCHDOG_MARGIN_S = 1
_KILL_GRACE_S = 10.0
_LONGEST_S = 1e6  # what poll(2) can still express in milliseconds
_LONGEST_LINE_BYTES = (128 << 10) - 1  # Linux: MAX_ARG_STRLEN, for the device's `sh -c`
_STDERR_KEPT = 64 << 10
_MARK = "edgefarm-end-"
_STATUS_DIGITS = 3

# $1 bytes of stdin belong to the command, $2 seconds it may take, $3 marks its end, the rest is its
# argv.
#
# The inner shell leads the new group, so `kill -KILL 0` there reaches all that the command started.
# Three things send it: the command's end, the end of the lifeline, and a clock on the device, for
# a connection whose end nobody notices. What carries no status has been killed with the group.
# `exec` before the last `cat`: mksh keeps a copy of a redirected descriptor, and the command would
# never see the end of its stdin.
_GROUP = f"""
n=$1 t=$2 m=$3; shift 3
exec 5>&1 6>&2 2>/dev/null
s=$(exec setsid sh -c '
  n=$1 t=$2; shift 2
  ( sleep "$t"; kill -KILL 0 ) </dev/null >/dev/null 2>&1 &
  {{
    [ "$n" = 0 ] || head -c "$n" 2>/dev/null 4>&-
    exec sh -c "cat; kill -KILL 0" >/dev/null 2>&1 4>&-
  }} |
  {{
    exec 6>&2 2>/dev/null
    ( exec "$@" 2>&6 4>&- 6>&- )
    echo $? >&4; kill -KILL 0
  }}
' sh "$n" "$t" "$@" 4>&1 1>&5 2>&6 5>&- 6>&-)
s=${{s:-{_GROUP_KILLED}}}
echo "$m$s" >&5
echo "$m$s" >&6
exit "$s"
"""


@dataclass(frozen=True)
class Task:
    """What runs where, and how its errors call it.

    Attributes:
        device: name of the device.
        argv: the command; no shell looks at it.
        name: what it is for, when it is a script of ours; its errors then leave the argv out.
    """

    device: str
    argv: tuple[str, ...]
    name: str = ""

    def message(self, text: str) -> str:
        """Begin an error's message."""
        return f"{self.name}: {text}" if self.name else text

    @property
    def shown_argv(self) -> tuple[str, ...]:
        """The argv for an error."""
        return () if self.name else self.argv


@contextmanager
def start(
    open_channel: OpenChannel,
    task: Task,
    *,
    timeout_s: float,
    stdin: Iterable[bytes] = (),
    stdin_bytes: int = 0,
) -> Iterator["Command"]:
    """Start a command; at the end of the context it is killed unless it has ended.

    Args:
        open_channel: of the connection.
        task: what to run.
        timeout_s: for all of it, its start included.
        stdin: `stdin_bytes` bytes in pieces; may raise HarnessError.
    """
    argv = task.argv
    if not argv or any("\0" in word for word in argv):
        raise UsageError(f"not a command: {list(argv)!r}; it needs a program and no NUL characters")
    limit_s = min(timeout_s, _LONGEST_S)
    deadline = time.monotonic() + limit_s
    clock_s = max(math.ceil(limit_s), 0) + _WATCHDOG_MARGIN_S
    mark = f"{_MARK}{uuid4().hex}:"
    script = ("sh", "-c", _GROUP, "sh", str(stdin_bytes), str(clock_s), mark)
    line = shlex.join(["exec", *script, *argv])
    if len(line.encode(errors="replace")) > _LONGEST_LINE_BYTES:
        raise UsageError(
            f"a command line of {len(line)} bytes, starting {line[:80]!r}; "
            f"allowed: {_LONGEST_LINE_BYTES}; send long data by stdin"
        )
    try:
        channel = open_channel(line, limit_s)
    except TimeoutError as error:
        raise DeviceTimeout(
            task.message("the device did not start the command within its time limit"),
            device=task.device,
            argv=task.shown_argv,
        ) from error
    except OSError as error:
        raise _broken(task, error) from error
    command = Command(channel, task, stdin, deadline, mark)
    try:
        yield command
    finally:
        command.stop()


def _broken(task: Task, error: OSError, stderr: str = "") -> TransportError:
    return TransportError(
        task.message(f"the connection broke ({error or type(error).__name__})"),
        device=task.device,
        argv=task.shown_argv,
        stderr=stderr,
    )


class _End:
    """The end of one stream: a mark that nothing else prints, then the exit status.

    Attributes:
        status: once the mark has come; what comes after it is nobody's.
    """

    def __init__(self, mark: bytes) -> None:
        self._mark = mark
        self._whole = re.compile(re.escape(mark) + rb"([0-9]{1,3})\n")
        self._held = b""
        self.status: int | None = None

    def cut(self, data: bytes) -> bytes:
        """What of the next piece surely comes before the mark."""
        if self.status is not None:
            return b""
        data = self._held + data
        found = self._whole.search(data)
        if found:
            self.status, self._held = int(found[1]), b""
            return data[: found.start()]
        at = len(data) - self._begun(data)
        data, self._held = data[:at], data[at:]
        return data

    def rest(self) -> bytes:
        """What was held back at the end of a stream without a mark."""
        rest, self._held = self._held, b""
        return rest

    def _begun(self, data: bytes) -> int:
        """How many bytes at the end of `data` may be the beginning of the mark."""
        tail = data[-len(self._mark) - _STATUS_DIGITS :]
        at = tail.rfind(self._mark)
        if at >= 0 and (tail[at + len(self._mark) :] or b"0").isdigit():
            return len(tail) - at
        longest = min(len(data), len(self._mark) - 1)
        return next((n for n in range(longest, 0, -1) if self._mark.startswith(data[-n:])), 0)


class Command:
    """A command running on a device; made by `start`."""

    def __init__(
        self,
        channel: Channel,
        task: Task,
        stdin: Iterable[bytes],
        deadline: float,
        mark: str,
    ) -> None:
        self._channel = channel
        self._ends = {stream: _End(mark.encode()) for stream in Stream}
        self._task = task
        self._deadline = deadline
        self._stderr_tail = bytearray()
        self._ended = False
        self._stop_feeding = threading.Event()
        self._feeding_failed: HarnessError | None = None
        self._feeder = threading.Thread(target=self._feed, args=(stdin,), daemon=True)
        self._feeder.start()

    def output(self) -> Iterator[tuple[Stream, bytes]]:
        """Yield what it prints, until the end of both streams.

        Raises:
            DeviceTimeout: it ran past its limit; its group has been killed.
            TransportError: the connection broke.
        """
        while True:
            try:
                piece = self._receive(self._deadline)
            except TimeoutError:
                raise self._timed_out() from None
            except OSError as error:
                self._ended = True  # nobody is left to be stopped
                raise _broken(self._task, error, self.stderr_text) from error
            if piece is None:
                yield from self._held_back()
                return
            if piece[1]:
                yield piece

    def _receive(self, deadline: float) -> tuple[Stream, bytes] | None:
        """The next piece of output, without the mark of its end; None when all has come."""
        if all(end.status is not None for end in self._ends.values()):
            self._ended = True
            return None
        piece = self._channel.receive(deadline - time.monotonic())
        if piece is None:
            self._ended = True
            return None
        stream, data = piece
        data = self._ends[stream].cut(data)
        self._note(stream, data)
        return stream, data

    def _held_back(self) -> Iterator[tuple[Stream, bytes]]:
        """What looked like the beginning of a mark, and was none."""
        for stream, end in self._ends.items():
            if rest := end.rest():
                self._note(stream, rest)
                yield stream, rest

    def exit_status(self) -> int:
        """Status after the end of `output`; negative is the signal that ended it."""
        if self._feeding_failed is not None:
            raise self._feeding_failed
        try:
            status = self._ends[Stream.STDOUT].status
            if status is None:
                status = self._channel.exit_status(_KILL_GRACE_S)
        except OSError as error:
            raise _broken(self._task, error, self.stderr_text) from error
        # A shell on the device reports the signal n that ended a child as 128 + n.
        return 128 - status if 128 < status <= 192 else status

    def failed(self, message: str, exit_status: int | None = None) -> TransportError:
        """The error to raise when what it did or printed cannot be used."""
        return TransportError(
            self._task.message(message),
            device=self._task.device,
            argv=self._task.shown_argv,
            exit_status=exit_status,
            stderr=self.stderr_text,
        )

    @property
    def stderr_text(self) -> str:
        """The end of what it has printed on stderr so far, safe to show on a terminal."""
        return printable(self._stderr_tail.decode(errors="replace"))

    def stop(self) -> bool:
        """Kill its group unless it has ended; False when the device did not confirm."""
        if self._stop_feeding.is_set():
            return self._ended
        self._stop_feeding.set()
        deadline = time.monotonic() + _KILL_GRACE_S
        with suppress(OSError):
            while not self._ended:
                self._receive(deadline)
        if self._ended:
            self._channel.close()
        else:
            self._channel.sever()
        return self._ended

    def _note(self, stream: Stream, data: bytes) -> None:
        if stream is Stream.STDERR:
            self._stderr_tail += data
            del self._stderr_tail[:-_STDERR_KEPT]

    def _timed_out(self) -> DeviceTimeout:
        killed = self.stop()
        end = (
            "its process group has been killed"
            if killed
            else "the device does not answer; it kills the process group on its own"
        )
        return DeviceTimeout(
            self._task.message(f"ran past its time limit; {end}"),
            device=self._task.device,
            argv=self._task.shown_argv,
            stderr=self.stderr_text,
        )

    def _feed(self, stdin: Iterable[bytes]) -> None:
        """Send stdin, hold the lifeline, let it go when told to; in a thread, since it blocks."""
        # OSError: the command has ended or the connection broke; the reader sees which.
        with suppress(OSError):
            try:
                for data in stdin:
                    if self._stop_feeding.is_set():
                        break
                    self._channel.send(data)
                else:
                    self._stop_feeding.wait()
            except HarnessError as error:
                self._feeding_failed = error
            self._channel.end_input()

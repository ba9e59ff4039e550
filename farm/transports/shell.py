"""ShellTransport: run, push and pull, written once over whatever opens a shell on the device.

The device needs a POSIX shell and the small tools of busybox, toybox or coreutils; no Python, no
bash, no file transfer server.
"""

import hashlib
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from farm.transports.channel import OpenChannel, Stream
from farm.transports.command import Command, Task, start
from farm.transports.tar import CutOff, unpack
from farm.transports.untrusted import Refused, new_folder
from harness.device import OUTPUT_BYTES, CommandResult, Device, PullLimits
from harness.errors import (
    ArtifactCorrupt,
    DeviceFull,
    HarnessError,
    TransportError,
    UsageError,
)

_CHUNK_BYTES = 256 << 10
_REPORT_BYTES = 4096
_FULL = re.compile("No space left|quota exceeded", re.IGNORECASE)

_DIGEST = """
export LC_ALL=C
digest() {
  d=$({ sha256sum || busybox sha256sum || toybox sha256sum; } < "$1" 2>/dev/null)
  if [ -z "$d" ]; then echo "no sha256sum on the device" >&2; exit 1; fi
  d=${d%% *}
}
"""

# $1 file, $2 its partial file, $3 sha256, $4 size: what of it is there?
_INSPECT = f"""{_DIGEST}
umask 077
mkdir -p "${{1%/*}}" || exit 1
if [ -d "$1" ]; then echo "$1 is a folder" >&2; exit 1; fi
if [ -f "$1" ]; then
  digest "$1"
  if [ "$d" = "$3" ]; then rm -f "$2"; echo present; exit 0; fi
fi
n=0
if [ -f "$2" ]; then n=$(wc -c < "$2"); fi
if [ "$n" -gt "$4" ]; then rm -f "$2"; n=0; fi
echo partial $n
"""

# The same arguments, the missing bytes on stdin. What broke off is kept, to be resumed.
_STORE = f"""{_DIGEST}
umask 077
cat >> "$2" || {{ rm -f "$2"; exit 1; }}
n=$(wc -c < "$2")
if [ "$n" -lt "$4" ]; then echo "broke off at byte $n" >&2; exit 1; fi
digest "$2"
if [ "$d" != "$3" ]; then rm -f "$2"; echo corrupt $d; exit 0; fi
mv -f "$2" "$1" && echo stored
"""

# TAR_OPTIONS: only GNU tar reads it, and only GNU tar may be set up for another format.
_READ = """
if [ -h "$1" ] || [ ! -d "$1" ]; then echo "$1 is not a folder" >&2; exit 1; fi
cd "$1" || exit 1
export TAR_OPTIONS=--format=gnu
tar -cf - . || exit $?
digest() { sha256sum || busybox sha256sum || toybox sha256sum; }
echo "sha256 $(tar -cf - . | digest 2>/dev/null)" >&2
"""
_SENT = re.compile("^sha256 ([0-9a-f]{64})", re.MULTILINE)


class ShellTransport:
    """The contract `harness.device.Transport` over shell channels.

    Args:
        device: at the other end.
        open_channel: starts a command line in a shell there.
        close: closes the connection; called once.
    """

    def __init__(
        self, device: Device, open_channel: OpenChannel, close: Callable[[], None]
    ) -> None:
        self._device = device
        self._open_channel = open_channel
        self._close = close
        self._closed = False

    @property
    def device(self) -> Device:
        """The device at the other end."""
        return self._device

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout_s: float,
        stdin: bytes = b"",
        max_output_bytes: int = OUTPUT_BYTES,
    ) -> CommandResult:
        """See `harness.device.Transport.run`."""
        printed = {Stream.STDOUT: bytearray(), Stream.STDERR: bytearray()}
        pieces = (stdin[i : i + _CHUNK_BYTES] for i in range(0, len(stdin), _CHUNK_BYTES))
        with self._start(argv, timeout_s, "", pieces, len(stdin)) as command:
            for stream, data in command.output():
                printed[stream] += data
                if sum(map(len, printed.values())) > max_output_bytes:
                    raise command.failed(f"printed more than {max_output_bytes} bytes")
            status = command.exit_status()
        return CommandResult(
            tuple(argv), status, bytes(printed[Stream.STDOUT]), bytes(printed[Stream.STDERR])
        )

    def push(self, local: Path, remote: str, *, sha256: str, timeout_s: float) -> int:
        """See `harness.device.Transport.push`."""
        _check_remote(remote)
        if not re.fullmatch("[0-9a-f]{64}", sha256):
            raise UsageError(f"not a sha256: {sha256!r}; expected 64 lower-case hex digits")
        deadline = time.monotonic() + timeout_s
        task = f"push to {remote}"
        size = _size_of(local)
        names = (remote, f"{remote}.part-{sha256}", sha256, str(size))
        sent = 0
        while (offset := self._find_offset(task, names, size, deadline)) is not None:
            report = self._ask(
                task,
                (_STORE, *names),
                deadline - time.monotonic(),
                stdin=_read_from(local, offset, size - offset),
                stdin_bytes=size - offset,
            )
            sent += size - offset
            if report == "stored":
                break
            if not report.startswith("corrupt"):
                raise self._misunderstood(task, report)
            # A part that was resumed may have been bad already: it is gone, all is sent anew.
            if offset == 0:
                raise ArtifactCorrupt(
                    f"{task}: sha256 on the device is {report.removeprefix('corrupt ')}, "
                    f"expected {sha256}; the file was removed, push it again",
                    device=self._device.name,
                )
        return sent

    def pull(
        self, remote: str, local: Path, *, limits: PullLimits, timeout_s: float
    ) -> tuple[Path, ...]:
        """See `harness.device.Transport.pull`."""
        _check_remote(remote)
        with (
            new_folder(local, limits) as folder,
            self._start(
                ("sh", "-c", _READ, "sh", remote), timeout_s, f"pull of {remote}"
            ) as command,
        ):
            arrived = hashlib.sha256()
            try:
                unpack(_noting(_stdout(command), arrived), folder)
            except CutOff as error:
                raise command.failed(str(error), command.exit_status()) from error
            except Refused as error:
                raise command.failed(str(error)) from error
            if (status := command.exit_status()) != 0:
                raise command.failed("tar failed", status)
            sent = _SENT.findall(command.stderr_text)
            if not sent:
                raise command.failed("the device did not tell the sha256 of what it sent", status)
            if sent[-1] != arrived.hexdigest():
                raise ArtifactCorrupt(
                    f"pull of {remote}: sha256 of what arrived is {arrived.hexdigest()}, the "
                    f"device sent {sent[-1]}; nothing of it was kept, run the job again",
                    device=self._device.name,
                )
        return folder.files

    def close(self) -> None:
        """See `harness.device.Transport.close`."""
        if not self._closed:
            self._closed = True
            self._close()

    def _find_offset(
        self, task: str, names: Sequence[str], size: int, deadline: float
    ) -> int | None:
        """How much of a file the device has already; None when it has it whole."""
        report = self._ask(task, (_INSPECT, *names), deadline - time.monotonic())
        if report == "present":
            return None
        partial = re.fullmatch("partial ([0-9]{1,18})", report)
        if partial is None or int(partial[1]) > size:
            raise self._misunderstood(task, report)
        return int(partial[1])

    def _start(
        self,
        argv: Sequence[str],
        timeout_s: float,
        task: str = "",
        stdin: Iterable[bytes] = (),
        stdin_bytes: int = 0,
    ) -> AbstractContextManager[Command]:
        if self._closed:
            raise TransportError("the connection is closed", device=self._device.name)
        return start(
            self._open_channel,
            Task(self._device.name, tuple(argv), task),
            timeout_s=timeout_s,
            stdin=stdin,
            stdin_bytes=stdin_bytes,
        )

    def _ask(
        self,
        task: str,
        script: Sequence[str],
        timeout_s: float,
        stdin: Iterable[bytes] = (),
        stdin_bytes: int = 0,
    ) -> str:
        """Run a script of ours with its arguments; returns the line it reports."""
        text, *arguments = script
        report = b""
        argv = ("sh", "-c", text, "sh", *arguments)
        with self._start(argv, timeout_s, task, stdin, stdin_bytes) as command:
            for piece in _stdout(command):
                report = (report + piece)[:_REPORT_BYTES]
            if (status := command.exit_status()) != 0:
                if _FULL.search(command.stderr_text):
                    raise DeviceFull(
                        f"{task}: no space left; free some under {self._device.workdir}",
                        device=self._device.name,
                        exit_status=status,
                        stderr=command.stderr_text,
                    )
                raise command.failed("failed", status)
        return report.decode(errors="replace").strip()

    def _misunderstood(self, task: str, report: str) -> TransportError:
        return TransportError(
            f"{task}: the device answered {report[:200]!r}", device=self._device.name
        )


def _check_remote(remote: str) -> None:
    if not remote.startswith("/") or remote.endswith("/"):
        raise UsageError(f"not a path on a device: {remote!r}; expected an absolute one, as /a/b")


def _size_of(local: Path) -> int:
    try:
        if local.is_file():
            return local.stat().st_size
    except OSError as error:
        raise UsageError(f"{local}: cannot be read: {error.strerror}") from error
    raise UsageError(f"{local}: no such file to push")


def _read_from(local: Path, offset: int, size: int) -> Iterator[bytes]:
    try:
        with local.open("rb") as file:
            file.seek(offset)
            while size:
                data = file.read(min(size, _CHUNK_BYTES))
                if not data:
                    raise HarnessError(f"{local}: became shorter while it was pushed")
                size -= len(data)
                yield data
    except OSError as error:
        raise HarnessError(f"{local}: cannot be read: {error.strerror}") from error


def _noting(pieces: Iterator[bytes], digest: "hashlib._Hash") -> Iterator[bytes]:
    for piece in pieces:
        digest.update(piece)
        yield piece


def _stdout(command: Command) -> Iterator[bytes]:
    return (data for stream, data in command.output() if stream is Stream.STDOUT)

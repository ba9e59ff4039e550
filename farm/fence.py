"""Fence: the token of a lease, kept on the device itself, so that a stalled holder can do no harm.

A worker that hangs may wake up after its device was given to another. So the device holds the
token of its newest lease, and every push, run and pull under a lease is refused there when a newer
token has come. Claiming the device for a new lease also ends what still runs under an older one and
removes what it left.

On the device: ``lease/tokens/N`` for each token, N itself and in the file who holds it; the highest
one is valid, so two rivals need no lock. ``lease/running/P`` names a process group that runs under
the lease, with the start time of its leader, for process numbers are used again.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from farm import labgrid
from harness.device import OUTPUT_BYTES, CommandResult, Connect, Device, PullLimits, Transport
from harness.errors import DeviceError, DeviceFull, LeaseLost, printable

LOST = 113
"""Exit status of the scripts here when a newer token is on the device."""

_TIMEOUT_S = 60.0
_MARK = "edgefarm: the lease is lost to "

# What no farm made is no token: words, folders, pipes, numbers a shell may not count to.
# $1 is the lease's folder, $2 the token. /proc is read by a process that is not its own subject:
# an emulator of user programs answers for itself otherwise.
_IS_ONE = """
is_token() {
  n=${f##*/}
  case $n in
    *[!0-9]* | ???????????* | [3-9]????????? | 2[1-9]????????) return 1 ;;
  esac
  [ -f "$f" ]
}
"""
_VALID = f"""{_IS_ONE}
check() {{
  for f in "$1/tokens/"*; do
    is_token || continue
    [ "$n" -le "$2" ] || {{ echo "{_MARK}$n $(head -n 1 "$f")" >&2; exit {LOST}; }}
  done
}}
"""
CLAIM = f"""{_VALID}
w=$3 holder=$4
umask 077
[ ! -L "$w" ] && mkdir -p "$w" && chmod 700 "$w" && mkdir -p "$1/tokens" "$1/running" || exit 1
check "$1" "$2"
[ -f "$1/tokens/$2" ] || rm -rf "$1/tokens/$2"
echo "$holder" >"$1/tokens/$2" || exit 1
check "$1" "$2"
for f in "$1/running/"*; do
  [ -e "$f" ] || continue
  read -r group start <"$f"
  line=$(cat "/proc/$group/stat" 2>/dev/null)
  rest=${{line##*) }}
  set -- "$1" "$2" $rest
  [ -n "$start" ] && [ "$start" = "${{22}}" ] && kill -9 "-$group" 2>/dev/null
  rm -f "$f"
done
rm -rf "$w/jobs/"*
for f in "$1/tokens/"*; do
  is_token && [ "$n" -ge "$2" ] || rm -rf "$f"
done
"""
RUN = f"""{_VALID}
check "$1" "$2"
[ -e "$1/tokens/$2" ] || {{ echo "{_MARK}nobody" >&2; exit {LOST}; }}
d=$1
shift 2
line=$(cat /proc/$$/stat 2>/dev/null)
rest=${{line##*) }}
group=$(set -- $rest; echo "$3")
if [ -n "$group" ]; then
  line=$(cat "/proc/$group/stat")
  rest=${{line##*) }}
  (set -- $rest; echo "$group ${{20}}" >"$d/running/$group")
fi
[ $# = 0 ] || exec "$@"
"""
# Who has the device by its own word: newest token, whether a process of it runs, whether the lease
# was used within the last minute, and its holder.
LOOK = f"""{_IS_ONE}
newest=0
for f in "$1/tokens/"*; do
  is_token && [ "$n" -gt "$newest" ] && newest=$n
done
[ "$newest" != 0 ] || exit 0
works=no recent=no
for f in "$1/running/"*; do
  [ -e "$f" ] || continue
  read -r group start <"$f"
  line=$(cat "/proc/$group/stat" 2>/dev/null)
  rest=${{line##*) }}
  [ -n "$start" ] && [ "$start" = "$(set -- $rest; echo "${{20}}")" ] && works=yes
done
[ -z "$(find "$1/tokens" "$1/running" -prune -mmin -1 2>/dev/null)" ] || recent=yes
echo "$newest $works $recent $(head -n 1 "$1/tokens/$newest")"
"""
_SEEN = re.compile("([0-9]{1,18}) (yes|no) (yes|no) (.*)")


@dataclass(frozen=True)
class Seen:
    """The newest lease that a device knows of.

    Attributes:
        token: of the lease.
        holder: who took it, by its own word.
        works: a process runs under it now.
        recent: it was used within the last minute.
    """

    token: int
    holder: str
    works: bool
    recent: bool


def look(transport: Transport) -> Seen | None:
    """The newest lease that a device knows of; None when there is none."""
    folder = f"{transport.device.workdir}/lease"
    ended = transport.run(("sh", "-c", LOOK, "sh", folder), timeout_s=_TIMEOUT_S)
    found = _SEEN.match(ended.stdout.decode(errors="replace"))
    if ended.exit_status != 0 or found is None:
        return None
    holder = printable(found[4])[:200].strip()
    return Seen(int(found[1]), holder, found[2] == "yes", found[3] == "yes")


Overtake = Callable[[Transport], int | None]
"""What to do when a device has a newer token: the token to go on with; None: the lease is lost."""


@contextmanager
def fenced(
    connect: Connect,
    device: Device,
    token: int,
    holder: str,
    *,
    overtake: Overtake | None = None,
) -> Iterator["FencedConnect"]:
    """Open a leased device under its lease; a labgrid place is held for the time of the context.

    Raises:
        DeviceUnready, TransportError: the place cannot be had, see `farm.labgrid.held`.
    """
    with labgrid.held(device, take_over=True):
        yield FencedConnect(connect, device.name, token, holder, overtake)


@dataclass(frozen=True)
class FencedConnect:
    """Opens transports under a lease: claimed on the device first, checked with every use.

    Attributes:
        connect: opens the transport itself.
        device: name of the leased device; others are opened without a fence.
        token: of the lease.
        holder: who has it, for messages.
        overtake: see `Overtake`; None where the database is out of reach.
    """

    connect: Connect
    device: str
    token: int
    holder: str
    overtake: Overtake | None = None

    def __call__(self, device: Device) -> AbstractContextManager[Transport]:
        """Open a transport; see `Connect`."""
        return self._open(device) if device.name == self.device else self.connect(device)

    @contextmanager
    def _open(self, device: Device) -> Iterator[Transport]:
        with self.connect(device) as transport:
            yield FencedTransport(transport, self._claim(transport))

    def _claim(self, transport: Transport) -> int:
        try:
            claim(transport, self.token, self.holder)
        except LeaseLost:
            raised = self.overtake(transport) if self.overtake else None
            if raised is None:
                raise
            claim(transport, raised, self.holder)
            return raised
        return self.token


def claim(transport: Transport, token: int, holder: str) -> None:
    """Make a lease's token the device's, end what runs under older ones, remove their job folders.

    Raises:
        LeaseLost: the device has a newer token.
        DeviceError: the folder cannot be made; or the connection broke.
    """
    workdir = transport.device.workdir
    words = "".join(c for c in holder if c.isprintable())
    argv = ("sh", "-c", CLAIM, "sh", f"{workdir}/lease", str(token), workdir, words)
    ended = transport.run(argv, timeout_s=_TIMEOUT_S)
    _raise_if_lost(ended, transport.device.name, token)
    if ended.exit_status != 0:
        stderr = ended.stderr.decode(errors="replace")
        kind = DeviceFull if "No space left on device" in stderr else DeviceError
        raise kind(
            "the lease cannot be written to the working folder",
            device=transport.device.name,
            exit_status=ended.exit_status,
            stderr=stderr,
        )


@dataclass(frozen=True)
class FencedTransport:
    """A transport whose every push, run and pull the device refuses once a newer lease is there.

    Every method raises LeaseLost then.
    """

    transport: Transport
    token: int

    @property
    def device(self) -> Device:
        """The device at the other end."""
        return self.transport.device

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout_s: float,
        stdin: bytes = b"",
        max_output_bytes: int = OUTPUT_BYTES,
    ) -> CommandResult:
        """Run a command under the lease; its process group ends when the lease is taken over."""
        folder = f"{self.device.workdir}/lease"
        try:
            ended = self.transport.run(
                ("sh", "-c", RUN, "sh", folder, str(self.token), *argv),
                timeout_s=timeout_s,
                stdin=stdin,
                max_output_bytes=max_output_bytes,
            )
        except DeviceError as error:
            error.argv = tuple(argv)  # not our script around it
            raise
        _raise_if_lost(ended, self.device.name, self.token)
        return CommandResult(tuple(argv), ended.exit_status, ended.stdout, ended.stderr)

    def push(self, local: Path, remote: str, *, sha256: str, timeout_s: float) -> int:
        """Put a file on the device while the lease holds."""
        self.check()
        return self.transport.push(local, remote, sha256=sha256, timeout_s=timeout_s)

    def pull(
        self, remote: str, local: Path, *, limits: PullLimits, timeout_s: float
    ) -> tuple[Path, ...]:
        """Copy files from the device; they count only if the lease still holds afterwards."""
        files = self.transport.pull(remote, local, limits=limits, timeout_s=timeout_s)
        self.check()
        return files

    def close(self) -> None:
        """Close the connection. Safe to call twice."""
        self.transport.close()

    def check(self) -> None:
        """Raise LeaseLost unless the device still has this lease's token as its newest."""
        self.run((), timeout_s=_TIMEOUT_S)


def _raise_if_lost(ended: CommandResult, device: str, token: int) -> None:
    stderr = ended.stderr.decode(errors="replace")
    if ended.exit_status == LOST and stderr.startswith(_MARK):
        to = "".join(c for c in stderr[len(_MARK) :].strip() if c.isprintable())[:200]
        raise LeaseLost(f"the lease with token {token} is over; on the device: {to}", device=device)

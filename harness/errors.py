"""The error tree: whose fault it is decides the exit code, the retry and the device's health.

Every message says what, where, got and allowed, in one or two sentences a user can act on.
A traceback never reaches a user: the command line prints the message and exits with `exit_code`.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

_STDERR_TAIL_CHARS = 2000
_MESSAGE_CHARS = 8000


class HarnessError(Exception):
    """Base of every error that edgefarm raises on purpose.

    Each one, whatever its constructor wants, can be pickled: it crosses processes unchanged.
    """

    exit_code: ClassVar[int] = 3

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuilt, (type(self), self.args), self.__dict__


def _rebuilt(kind: "type[HarnessError]", args: tuple[Any, ...]) -> "HarnessError":
    """An error without a call of its constructor; pickle restores its attributes."""
    return kind.__new__(kind, *args)


def printable(text: str) -> str:
    """Text without control characters, which could drive the reader's terminal."""
    return "".join(char if char.isprintable() or char in "\n\t" else "?" for char in text)


def error_class(kind: str) -> "type[HarnessError] | None":
    """The class that goes by a name, wherever it is defined; None when there is none.

    Runs, events and the farm's database keep an error's class by its name.
    """
    found: list[type[HarnessError]] = [HarnessError]
    for one in found:
        if one.__name__ == kind:
            return one
        found += one.__subclasses__()
    return None


def is_kind(kind: str, *classes: "type[HarnessError]") -> bool:
    """Whether a name is that of one of these classes or of one below them."""
    found = error_class(kind)
    return found is not None and issubclass(found, classes)


class UsageError(HarnessError):
    """The caller's mistake, wrong data too; the message names the fix."""

    exit_code: ClassVar[int] = 2


class NoDevice(UsageError):
    """No device of the inventory is what was asked for."""


class NotYours(UsageError):
    """The job is another submitter's, and the caller is no operator of the farm."""


class OverQuota(UsageError):
    """More of the farm than one submitter may have."""


class DevicesBusy(HarnessError):
    """Every device that is what was asked for is in use, or not fit for use, for now."""


class Cancelled(HarnessError):
    """The submitter ended the job."""


class HostFull(HarnessError):
    """This host's disk or the user's quota is full: the machine's fault, not the model's; the job
    is tried again, on another lab host if there is one."""


class ModelError(HarnessError):
    """Unsupported op, or broken model file. Never retried.

    Args:
        message: what went wrong, in words.
        raw: all that a library or a failed process said of it, where the message has a part.
        log: file with what it printed, "" for none.
        place: line of the user's own code that it came from, "" for none.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, raw: str = "", log: str = "", place: str = "") -> None:
        self.raw = raw
        self.log = log
        self.place = place
        super().__init__(message)


class RefusedOnDevice(ModelError):
    """The runtime on a device refused the artifact or its inputs. That is the device's word alone:
    the farm wants it confirmed, by another device or after a probe of this one."""


class DeviceError(HarnessError):
    """The machine's fault: retried, on another device too, and marks the device's health suspect.

    Args:
        message: what went wrong, in words; may hold the device's own, so that it is cut to a
            length and made printable, as `stderr` is.
        device: name of the device.
        argv: the command that failed on the device, if one did.
        exit_status: its exit status; negative is the signal that ended it.
        stderr: its standard error; only the end is kept.
    """

    exit_code: ClassVar[int] = 3

    def __init__(
        self,
        message: str,
        *,
        device: str,
        argv: Sequence[str] = (),
        exit_status: int | None = None,
        stderr: str = "",
    ) -> None:
        self.message = printable(message[:_MESSAGE_CHARS])
        self.device = device
        self.argv = tuple(argv)
        self.exit_status = exit_status
        self.stderr_tail = printable(stderr[-_STDERR_TAIL_CHARS:])
        super().__init__(self.message)

    def __str__(self) -> str:
        lines = [f"device {self.device}: {self.message}"]
        if self.argv:
            status = "" if self.exit_status is None else f" (exit status {self.exit_status})"
            lines.append(f"  command: {' '.join(self.argv)}{status}")
        if self.stderr_tail.strip():
            lines.append("  stderr: " + self.stderr_tail.strip().replace("\n", "\n          "))
        return "\n".join(lines)


class TransportError(DeviceError):
    """The device cannot be reached, refused the key, or the connection broke."""


class DeviceTimeout(DeviceError):
    """A command or transfer ran past its limit; its process group has been killed."""


class LeaseLost(DeviceError):
    """Another holder has the device now; nothing of this job may be accepted any more."""


class HostKeyChanged(DeviceError):
    """The device's host key is not the pinned one; nothing was sent to it."""


class ArtifactCorrupt(DeviceError):
    """A file's sha256 on the device is not the one that was pushed, or what came back is not what
    the device sent; it was not used."""


class DeviceFull(DeviceError):
    """The device has no space left for the job."""


class DeviceUnready(DeviceError):
    """The device's battery or temperature is not what its run policy asks for, or somebody outside
    the farm has it; nothing was run."""


class RuntimeMissing(DeviceError):
    """The device lacks the interpreter or the inference runtime that the target needs."""


class RunnerKilled(DeviceError):
    """The runner ended without a result: a signal, out of memory, or a crash of the runtime."""


class PhoneNotReady(TransportError):
    """The phone is in a state that takes no commands."""


class PhoneDisconnected(PhoneNotReady):
    """adb does not see it."""


class PhoneOffline(PhoneNotReady):
    """It is connected but does not answer."""


class PhoneUnauthorized(PhoneNotReady):
    """It has not accepted this host's key."""


class PhoneNotPermitted(PhoneNotReady):
    """This user may not open its USB device."""


class PhoneNotBooted(PhoneNotReady):
    """It runs its recovery, its bootloader, or waits for an update."""

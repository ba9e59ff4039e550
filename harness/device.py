"""Device and Transport: one physical or virtual unit, and how to reach it.

`farm.transports` implements the contract for SSH, adb and this host; the same contract tests run
over all.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

TransportKind = Literal["ssh", "adb", "local"]


@dataclass(frozen=True)
class Address:
    """Where a device answers.

    Attributes:
        host: name or IP address; for adb over USB, empty.
        port: TCP port.
        user: login name (SSH).
        key_file: private key (SSH); None means the agent's keys.
        serial: the adb serial.
    """

    host: str = ""
    port: int = 22
    user: str = ""
    key_file: str | None = None
    serial: str | None = None


@dataclass(frozen=True)
class RunPolicy:
    """When a device may run, and on which of its cores.

    Attributes:
        min_battery_percent: below, nothing is run; a device without a battery always may.
        max_temperature_c: above, it has to cool down first; None: at any temperature.
        cooldown_s: how long it is waited for.
        cpus: cores that the runner is kept on, e.g. ``4-7``; None: on any.
        reboot: command that reboots it, run there when its probes fail; empty: never.
    """

    min_battery_percent: int = 0
    max_temperature_c: float | None = None
    cooldown_s: float = 300.0
    cpus: str | None = None
    reboot: tuple[str, ...] = ()


@dataclass(frozen=True)
class Device:
    """One unit of the farm, as the inventory names it.

    Attributes:
        name: unique in the inventory.
        transport: how to reach it; ``none`` is that of `NO_DEVICE` alone.
        targets: names of the targets it can run.
        address: where it answers; unused for ``local``.
        host_key: the pinned SSH host key, ``SHA256:…``; an SSH device without one is refused.
        tags: free words to choose devices by.
        virtual: emulated hardware; its latency says nothing about a real device.
        core: what the runtime's kernels are chosen by, e.g. ``cortex-a76``; None when not known.
        workdir: folder on the device under which everything of ours lives.
        python: the Python interpreter on the device; None when it has none.
        policy: when it may run.
        place: the labgrid place that it is, ``HOST:PORT/NAME``, which is acquired before use; None
            for any other device.
    """

    name: str
    transport: TransportKind | Literal["none"]
    targets: tuple[str, ...] = ()
    address: Address = Address()
    host_key: str | None = None
    tags: tuple[str, ...] = ()
    virtual: bool = False
    core: str | None = None
    workdir: str = "/var/tmp/edgefarm"  # noqa: S108  a folder of our own, made with mode 0700
    python: str | None = "python3"
    policy: RunPolicy = RunPolicy()
    place: str | None = None


NO_DEVICE = Device("no device", "none", virtual=True)
"""Stands in a run for the device that there was not: everything in it is emulated."""


OUTPUT_BYTES = 64 << 20
"""What a command may print; more is a broken program, and would fill this host's memory."""


@dataclass(frozen=True)
class CommandResult:
    """What a command on a device gave back; a non-zero status is a result, not an error.

    `exit_status` is negative for the signal that ended it. The shells on devices tell a signal n as
    128 + n, so a status of 129 to 192 reads as a signal, too.
    """

    argv: tuple[str, ...]
    exit_status: int
    stdout: bytes
    stderr: bytes


@dataclass(frozen=True)
class PullLimits:
    """What a pull accepts from a device, whose files are untrusted."""

    max_files: int = 10_000
    max_file_bytes: int = 1 << 30
    max_total_bytes: int = 4 << 30


class Transport(Protocol):
    """An open connection to one device.

    Every method raises TransportError when the connection is lost, DeviceTimeout past its limit.
    """

    @property
    def device(self) -> Device:
        """The device at the other end."""

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout_s: float,
        stdin: bytes = b"",
        max_output_bytes: int = OUTPUT_BYTES,
    ) -> CommandResult:
        """Run a command and wait for it; at the limit its whole process group is killed.

        Nothing in its process group outlives the command or the connection.

        Raises:
            TransportError: it printed more than `max_output_bytes`; it has been killed.
            DeviceTimeout: it ran past `timeout_s`; the message carries what it had printed on
                stderr.
        """

    def push(self, local: Path, remote: str, *, sha256: str, timeout_s: float) -> int:
        """Put a file on the device so that `remote` is either absent or whole.

        A partial push is resumed; if what was there proves to be bad, all is sent anew. When
        `remote` already has that sha256 nothing is sent.

        Returns:
            Bytes sent over the wire (0 when the device had the file).

        Raises:
            ArtifactCorrupt: the sha256 computed on the device is not `sha256`; the file is removed.
            DeviceFull: no space left; the partial file is removed.
        """

    def pull(
        self, remote: str, local: Path, *, limits: PullLimits, timeout_s: float
    ) -> tuple[Path, ...]:
        """Copy the regular files under a folder on the device into the new folder `local`.

        The device is not trusted: names with ``..``, absolute names, links, device nodes, names
        that collide when case is folded, and anything over `limits` raise TransportError and leave
        no `local` behind.

        Returns:
            The files, relative to `local`, sorted.

        Raises:
            ArtifactCorrupt: what arrived is not what the device sent.
        """

    def close(self) -> None:
        """Close the connection. Safe to call twice."""


Connect = Callable[[Device], AbstractContextManager[Transport]]
"""Opens a transport to a device; closing the context closes the transport."""

"""The transport to a simulated device; `farm.fence` works over it as over any other."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Connection
from pathlib import Path
from typing import Any

from bench.simulation.rack import KEY
from farm.fence import CLAIM, LOOK, LOST, RUN
from harness.device import OUTPUT_BYTES, CommandResult, Device, PullLimits, Transport
from harness.errors import (
    ArtifactCorrupt,
    DeviceFull,
    DeviceTimeout,
    HostKeyChanged,
    TransportError,
)

RUN_TIMEOUT_S = 8.0
RESULT = "result.json"


@contextmanager
def connect(device: Device) -> Iterator[Transport]:
    """Open a transport; the device's address is the rack's socket."""
    try:
        connection = Client(device.address.host, "AF_UNIX", authkey=KEY)
        connection.send(device.name)
        welcome = connection.recv()
    except (OSError, EOFError, AuthenticationError) as error:
        raise TransportError("does not answer", device=device.name) from error
    try:
        if welcome == "key":
            raise HostKeyChanged("shows another host key", device=device.name)
        yield SimulatedTransport(device, connection)
    finally:
        connection.close()


class SimulatedTransport:
    """See `harness.device.Transport`."""

    def __init__(self, device: Device, connection: "Connection[Any, Any]") -> None:
        self._device = device
        self._connection = connection

    @property
    def device(self) -> Device:
        """The device at the other end."""
        return self._device

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout_s: float,
        stdin: bytes = b"",  # noqa: ARG002  of the contract
        max_output_bytes: int = OUTPUT_BYTES,  # noqa: ARG002  of the contract
    ) -> CommandResult:
        """Do what a script of the fence asks."""
        if argv[2] == LOOK:  # the rack's database is never older than its devices
            return CommandResult(tuple(argv), 0, b"", b"")
        script, _, _, token, *rest = argv[2:]
        if script == CLAIM:
            return self._ended(
                argv, self._ask(timeout_s, "claim", token=int(token), holder=rest[1])
            )
        assert script == RUN  # noqa: S101  nothing runs outside the fence
        if not rest:
            return self._ended(argv, self._ask(timeout_s, "check", token=int(token)))
        _, nonce, label = rest
        asked = {"token": int(token), "nonce": nonce, "label": label}
        return self._ended(argv, self._ask(RUN_TIMEOUT_S, "job", **asked))

    def push(self, local: Path, remote: str, *, sha256: str, timeout_s: float) -> int:
        """Put a file on the device."""
        content = local.read_bytes()
        _, trouble = self._ask(timeout_s, "push", path=remote, content=content, sha256=sha256)
        if trouble:
            kind = DeviceFull if trouble == "full" else ArtifactCorrupt
            raise kind(f"{remote}: {trouble}", device=self._device.name)
        return len(content)

    def pull(
        self,
        remote: str,  # noqa: ARG002  of the contract
        local: Path,
        *,
        limits: PullLimits,  # noqa: ARG002  of the contract
        timeout_s: float,
    ) -> tuple[Path, ...]:
        """Fetch what the last job left."""
        _, content = self._ask(timeout_s, "pull")
        if not content.endswith(b"}"):
            raise TransportError("the archive ends early", device=self._device.name)
        local.mkdir()
        (local / RESULT).write_bytes(content)
        return (Path(RESULT),)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _ask(self, timeout_s: float, what: str, **fields: object) -> tuple[str, Any]:
        try:
            self._connection.send((what, fields))
            if not self._connection.poll(timeout_s):
                self._connection.close()
                raise DeviceTimeout(f"{what}: no answer", device=self._device.name)
            kind, value = self._connection.recv()
        except (OSError, EOFError) as error:
            raise TransportError(f"{what}: connection lost", device=self._device.name) from error
        return kind, value

    def _ended(self, argv: Sequence[str], reply: tuple[str, Any]) -> CommandResult:
        kind, value = reply
        if kind == "lost":
            message = f"edgefarm: the lease is lost to {value}"
            return CommandResult(tuple(argv), LOST, b"", message.encode())
        status = {"ok": 0, "crashed": -11, "killed": -9}[kind]
        return CommandResult(tuple(argv), status, b"", b"")

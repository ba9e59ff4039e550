"""labgrid: places of a lab's coordinator as devices, acquired there for as long as we use them.

::

    [labgrid]
    coordinator = "lab.example:20408"
    key_file = "~/.ssh/lab"

    [labgrid.host_keys]
    kitchen-pi = "SHA256:…"

Which places are ours, and the pins of their host keys, stand in our file, for a coordinator speaks
plain gRPC and proves nothing. It tells the rest: the tag ``target`` names the place's targets
(``a,b``), the tag ``core`` its core, other tags are the device's as ``key=value``, and the place's
NetworkService is where it answers over SSH.
"""

import hashlib
import logging
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import version
from queue import SimpleQueue
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from harness.device import Address, Device
from harness.errors import DeviceUnready, HarnessError, TransportError
from harness.host.extras import require_extra
from harness.host.home import home

LOG = logging.getLogger("edgefarm.labgrid")
_TIMEOUT_S = 20.0
_REFUSALS = ("FAILED_PRECONDITION", "PERMISSION_DENIED", "INVALID_ARGUMENT")

Failed = Callable[[str], HarnessError]
"""Makes the error of what went wrong with the coordinator."""


class LabgridTable(BaseModel):
    """``[labgrid]``: places of a coordinator that are devices, too."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    coordinator: Annotated[str, Field(pattern=r"^[^\s/:]+:[0-9]{1,5}$", description="HOST:PORT")]
    key_file: Annotated[str | None, Field(description="to log in with; else the agent's keys")] = (
        None
    )
    host_keys: Annotated[
        dict[str, Annotated[str, Field(pattern=r"^SHA256:[A-Za-z0-9+/]{43}$")]],
        Field(description="the places that are devices, with the pins of their SSH host keys"),
    ]


def find_devices(table: LabgridTable) -> tuple[Device, ...]:
    """The devices that a table's places are; one that the coordinator lacks has no target.

    Raises:
        UsageError: labgrid is not installed.
        HarnessError: the coordinator cannot be reached.
    """

    def failed(reason: str) -> HarnessError:
        return HarnessError(f"labgrid coordinator {table.coordinator}: {reason}")

    with _session(table.coordinator, failed) as session:
        return tuple(_device(table, session, name, pin) for name, pin in table.host_keys.items())


@contextmanager
def held(device: Device, *, take_over: bool = False) -> Iterator[Device]:
    """Hold the place that a device is, and hand out the device with its address of now.

    A device that is no place is handed out as it is. A place that this farm has acquired already is
    used without a second time, and stays acquired afterwards.

    Args:
        device: of the inventory.
        take_over: the caller has the farm's lease of the device: what is acquired by this farm was
            left by a holder that was killed, and is given back at the end, too.

    Raises:
        DeviceUnready: somebody else has the place.
        TransportError: the coordinator, or an address of the place, is not there.
    """
    if device.place is None:
        yield device
        return
    acquired, reached = _acquire(device)
    try:
        yield reached
    finally:
        if acquired or take_over:
            give_back(device)


def give_back(device: Device) -> None:
    """Release the place that a device is, if this farm has acquired it.

    A coordinator that does not answer is only logged: whoever has the device next gives it back.
    """
    if device.place is None:
        return
    coordinator, _, name = device.place.partition("/")
    try:
        with _session(coordinator, _transport_error(device)) as session:
            session.release(name)
    except TransportError as error:
        LOG.warning("not given back: %s", error)


def _acquire(device: Device) -> tuple[bool, Device]:
    """Whether the place was acquired just now, and the device with its address of now."""
    coordinator, _, name = str(device.place).partition("/")
    with _session(coordinator, _transport_error(device)) as session:
        holder = session.holder(name)
        address = session.address(name, device.address.key_file)
        if address is None:
            raise TransportError(
                f"labgrid place {name}: no such place, or not just one NetworkService that is "
                "reached without a proxy; is its exporter running?",
                device=device.name,
            )
        if holder == _our_name():
            return False, replace(device, address=address)
        refused = f"acquired by {holder}" if holder else session.acquire(name)
    if refused:
        raise DeviceUnready(f"labgrid place {name}: {refused}", device=device.name)
    return True, replace(device, address=address)


def _transport_error(device: Device) -> Failed:
    def failed(reason: str) -> HarnessError:
        coordinator = str(device.place).partition("/")[0]
        message = f"labgrid coordinator {coordinator}: {reason}"
        return TransportError(message, device=device.name)

    return failed


def _our_name() -> str:
    """Who acquires, as labgrid writes it: machine and user; the user is the farm of this home."""
    farm = hashlib.sha256(str(home()).encode()).hexdigest()[:6]
    return f"{socket.gethostname()}/edgefarm-{farm}"


def _device(table: LabgridTable, session: "_Session", name: str, pin: str) -> Device:
    tags = session.tags(name)
    targets = tags.pop("target", "")
    return Device(
        name=name,
        transport="ssh",
        targets=tuple(filter(None, targets.split(","))),
        address=session.address(name, table.key_file) or Address(key_file=table.key_file),
        host_key=pin,
        core=tags.pop("core", None),
        tags=tuple(f"{key}={value}" for key, value in sorted(tags.items())),
        place=f"{table.coordinator}/{name}",
    )


class _Session:
    """A client's session: what the coordinator had when it began, and the right to acquire."""

    def __init__(self, stub: Any, messages: Any) -> None:  # noqa: ANN401  generated by protobuf
        self._stub = stub
        self._messages = messages
        self._places: dict[str, Any] = {}
        self._services: dict[tuple[str, ...], Any] = {}

    def read(self, stream: Any) -> bool:  # noqa: ANN401  of gRPC
        """Take in what the coordinator tells, up to its answer to our sync; False without one."""
        from labgrid.remote.common import Place, ResourceEntry

        for message in stream:
            for update in message.updates:
                if update.WhichOneof("kind") == "place":
                    self._places[update.place.name] = Place.from_pb2(update.place)
                elif update.resource.cls == "NetworkService":
                    at = update.resource.path
                    path = (at.exporter_name, at.group_name, "NetworkService", at.resource_name)
                    self._services[path] = ResourceEntry.data_from_pb2(update.resource)
            if message.HasField("sync"):
                return True
        return False

    def holder(self, place: str) -> str | None:
        """Who has acquired a place."""
        found = self._places.get(place)
        return None if found is None else found.acquired

    def tags(self, place: str) -> dict[str, str]:
        """A place's tags; those that no selector can say are left out."""
        found = self._places.get(place)
        tags = {} if found is None else found.tags
        return {key: value for key, value in tags.items() if value and value.isprintable()}

    def address(self, place: str, key_file: str | None) -> Address | None:
        """Where a place answers; None unless one service tells."""
        found = self._places.get(place)
        services = [
            service["params"]
            for path, service in self._services.items()
            if found is not None and found.hasmatch(path) and service["avail"]
        ]
        if len(services) != 1 or services[0]["extra"].get("proxy_required"):
            return None
        host, user, port = (services[0].get(key) for key in ("address", "username", "port"))
        if not isinstance(host, str) or not isinstance(user, str):
            return None
        return Address(host, port if isinstance(port, int) else 22, user, key_file)

    def acquire(self, place: str) -> str:
        """Acquire a place; empty, or why the coordinator refuses."""
        import grpc

        request = self._messages.AcquirePlaceRequest(placename=place)
        try:
            self._stub.AcquirePlace(request, timeout=_TIMEOUT_S)
        except grpc.RpcError as error:
            if error.code().name not in _REFUSALS:
                raise
            return str(error.details())
        return ""

    def release(self, place: str) -> None:
        """Release a place, if we have acquired it."""
        request = self._messages.ReleasePlaceRequest(placename=place, fromuser=_our_name())
        self._stub.ReleasePlace(request, timeout=_TIMEOUT_S)


@contextmanager
def _session(coordinator: str, failed: Failed) -> Iterator[_Session]:
    """A session with a coordinator; what gRPC raises becomes an error of ours."""
    require_extra("labgrid", "labgrid", "grpc")
    import grpc
    from labgrid.remote.generated import labgrid_coordinator_pb2 as messages
    from labgrid.remote.generated.labgrid_coordinator_pb2_grpc import CoordinatorStub

    told: SimpleQueue[Any] = SimpleQueue()
    begin = messages.StartupDone(version=version("labgrid"), name=_our_name())
    told.put(messages.ClientInMessage(startup=begin))
    for what in ({"all_places": True}, {"all_resources": True}):
        told.put(messages.ClientInMessage(subscribe=messages.Subscribe(**what)))
    told.put(messages.ClientInMessage(sync=messages.Sync(id=1)))
    with grpc.insecure_channel(coordinator) as channel:
        stub = CoordinatorStub(channel)
        stream = stub.ClientStream(iter(told.get, None), timeout=2 * _TIMEOUT_S)
        session = _Session(stub, messages)
        try:
            if not session.read(stream):
                raise failed("it ended the session")
            yield session
        except grpc.RpcError as error:
            raise failed(str(error.details() or error.code().name)) from error
        finally:
            told.put(None)  # ends gRPC's thread that reads it
            stream.cancel()

"""Transports: SSH, adb and this host, under one contract (`harness.device.Transport`)."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from farm import labgrid
from farm.transports import adb, local, ssh
from harness.device import Connect, Device, Transport
from harness.errors import UsageError

_OPENERS: dict[str, Connect] = {
    "adb": adb.connect,
    "local": local.connect,
    "ssh": ssh.connect,
}


def connect(device: Device) -> AbstractContextManager[Transport]:
    """Open a transport to a device; closing the context closes the transport.

    A labgrid place is acquired first, see `farm.labgrid.held`.

    Raises:
        UsageError: the device's entry lacks what its transport needs.
        DeviceError: it cannot be reached; see `farm.transports.ssh.connect`.
    """
    if device.transport not in _OPENERS:
        raise UsageError(
            f"device {device.name}: no transport {device.transport!r}; "
            f"transports: {', '.join(sorted(_OPENERS))}"
        )
    opener = _OPENERS[device.transport]
    return opener(device) if device.place is None else _in_labgrid(device, opener)


@contextmanager
def _in_labgrid(device: Device, opener: Connect) -> Iterator[Transport]:
    with labgrid.held(device) as reached, opener(reached) as transport:
        yield transport

"""Transports: SSH, adb and this host, under one contract (`harness.device.Transport`)."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from importlib import import_module

from harness.device import Connect, Device, Transport
from harness.errors import UsageError

_OPENERS = ("adb", "local", "ssh")
"""Modules beside this one, each with a `connect`; a run on this host imports no SSH."""


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
            f"transports: {', '.join(_OPENERS)}"
        )
    opener: Connect = import_module(f"farm.transports.{device.transport}").connect
    return opener(device) if device.place is None else _in_labgrid(device, opener)


@contextmanager
def _in_labgrid(device: Device, opener: Connect) -> Iterator[Transport]:
    from farm import labgrid

    with labgrid.held(device) as reached, opener(reached) as transport:
        yield transport

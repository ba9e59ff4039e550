"""A phone's inventory entry, from what the phone says of itself."""

import re

from harness.device import Address, Connect, Device
from harness.errors import UsageError
from harness.facts import Facts
from harness.on_device.read_facts import read_facts

PHONE_TARGET = "arm-neon-litert"
WORKDIR = "/data/local/tmp/edgefarm"
"""The one folder of a phone in which adb's user may write and run programs."""


def phone_from(
    place: str,
    connect: Connect,
    *,
    name: str | None = None,
    targets: tuple[str, ...] = (),
    core: str | None = None,
    tags: tuple[str, ...] = (),
) -> Device:
    """The entry of a phone that is connected now.

    Args:
        place: its serial, or ``HOST:PORT``.
        connect: opens it.
        name: by default made of its model.
        targets: by default `PHONE_TARGET`.
        core: by default the phone's, where it has one kind only.
        tags: to which its model, SoC and system are added.

    Raises:
        UsageError: no serial and no address.
        DeviceError: the phone cannot be reached, or is not ready.
    """
    device = Device(
        name=name or place,
        transport="adb",
        targets=targets or (PHONE_TARGET,),
        address=_address(place),
        workdir=WORKDIR,
        python=None,
    )
    with connect(device) as transport:
        facts = read_facts(transport)
    return Device(
        name=name or _word(facts.model or place),
        transport="adb",
        targets=device.targets,
        address=device.address,
        tags=(*tags, *(tag for tag in _tags(facts) if tag not in tags)),
        virtual=facts.emulated,
        core=core or (facts.cores[0] if len(facts.cores) == 1 else None),
        workdir=WORKDIR,
        python=None,
    )


def _address(place: str) -> Address:
    host, colon, port = place.rpartition(":")
    if not place or any(c.isspace() for c in place):
        raise UsageError(f"--adb {place!r}: expected a serial of `adb devices`, or HOST:PORT")
    if not colon:
        return Address(serial=place)
    if not host or not re.fullmatch("[0-9]{1,5}", port) or not 0 < int(port) < 65536:
        raise UsageError(f"--adb {place!r}: expected a serial of `adb devices`, or HOST:PORT")
    return Address(host=host, port=int(port))


def _tags(facts: Facts) -> list[str]:
    system = (facts.os or "").partition(" (")[0]
    said = ("virtual" if facts.emulated else "", facts.model, facts.soc, system)
    return [_word(text) for text in said if text]


def _word(text: str) -> str:
    """A device's words as one: letters, digits and dashes."""
    return re.sub("[^A-Za-z0-9]+", "-", text).strip("-")[:64].lower() or "phone"

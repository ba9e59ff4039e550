"""Reboot: what a lab lets us do to a device whose probes fail, by the command of its policy."""

import time

from harness.device import Connect, Device
from harness.errors import DeviceError

BACK_WITHIN_S = 300.0
_POLL_S = 5.0
_TIMEOUT_S = 30.0
_BOOT_ID = ("cat", "/proc/sys/kernel/random/boot_id")


def reboot(
    device: Device,
    connect: Connect,
    *,
    within_s: float = BACK_WITHIN_S,
    poll_s: float = _POLL_S,
) -> bool:
    """Reboot a device and wait until it answers with another boot id.

    Args:
        device: its `policy.reboot` is the command.
        connect: opens a transport to it.
        within_s: how long it is waited for.
        poll_s: between two looks.

    Returns:
        False when it did not come back so, or could not be told to; the probe that follows says
        more.
    """
    before = _ask(device, connect, _BOOT_ID)
    if before is None:
        return False
    _ask(device, connect, device.policy.reboot)  # the connection may break on the way
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        time.sleep(poll_s)
        if _ask(device, connect, _BOOT_ID) not in (None, before):
            return True
    return False


def _ask(device: Device, connect: Connect, argv: tuple[str, ...]) -> bytes | None:
    """What a command prints; None when the device does not answer, or the command fails."""
    try:
        with connect(device) as transport:
            ended = transport.run(argv, timeout_s=_TIMEOUT_S, max_output_bytes=1024)
    except DeviceError:
        return None
    return ended.stdout if ended.exit_status == 0 else None

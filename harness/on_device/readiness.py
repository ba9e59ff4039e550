"""Whether a device may run now: its battery and temperature against its run policy."""

import time

from harness.device import RunPolicy, Transport
from harness.errors import DeviceUnready
from harness.facts import Facts
from harness.host.progress import Progress, no_progress
from harness.on_device.read_facts import read_facts

_LOOK_AGAIN_S = 5.0


def wait_until_ready(transport: Transport, *, progress: Progress = no_progress) -> Facts:
    """Read a device's facts; while it is too hot, wait and read them again.

    Returns:
        The facts with which it may run.

    Raises:
        DeviceUnready: its battery is too low, or it did not cool down within its limit.
    """
    device, policy = transport.device, transport.device.policy
    deadline = time.monotonic() + policy.cooldown_s
    while True:
        facts = read_facts(transport)
        percent = facts.battery_percent
        if percent is not None and percent < policy.min_battery_percent:
            raise DeviceUnready(
                f"its battery has {percent} %, its policy asks for {policy.min_battery_percent} %; "
                "charge it",
                device=device.name,
            )
        if not _is_hot(facts, policy):
            return facts
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            raise DeviceUnready(
                f"it has {facts.temperature_c:.1f} °C, its policy allows "
                f"{policy.max_temperature_c:g} °C; it did not cool down within "
                f"{policy.cooldown_s:g} s",
                device=device.name,
            )
        progress("cooling down", 0, None)
        time.sleep(min(_LOOK_AGAIN_S, left_s))


def _is_hot(facts: Facts, policy: RunPolicy) -> bool:
    limit, celsius = policy.max_temperature_c, facts.temperature_c
    return limit is not None and celsius is not None and celsius > limit


def throttling(before: Facts, after: Facts) -> str:
    """Why the device did not have its full speed, by its own word, or ""."""
    if before.thermal_status:
        return f"throttled: it started with thermal status {before.thermal_word}"
    if after.thermal_status:
        return f"throttled: it ended with thermal status {after.thermal_word}"
    return ""

"""Facts of a device as it stands: what it is, how full, how hot, how fast, in what state."""

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

THERMAL_WORDS = ("none", "light", "moderate", "severe", "critical", "emergency", "shutdown")
"""Android's thermal status by its number (PowerManager.THERMAL_STATUS_…)."""

Whole = Annotated[int, Field(ge=0, le=(1 << 63) - 1)]


@dataclass(frozen=True)
class Facts:
    """What a device said of itself; None and empty where it did not.

    Attributes:
        machine: ``uname -m``.
        model: of the phone or board.
        os: name and version.
        fingerprint: of the Android build.
        abi: of Android, e.g. ``arm64-v8a``.
        soc: the chip, by its model number where that is known.
        hexagon: version of its Hexagon, e.g. ``v75``.
        emulated: it says that it is an emulator.
        cores: the kinds of core that it has, e.g. ``cortex-a76``; by number where not known.
        cpu_features: as /proc/cpuinfo prints them.
        governor: cpufreq governor of the first core.
        frequencies_khz: current frequency of each core.
        free_bytes: on the file system of the working folder.
        battery_percent, charging, battery_c: of the battery.
        thermal_status: Android's, see `THERMAL_WORDS`; 0 is not throttled.
        zones_c: thermal zones by type, the hottest of a type.
        screen_on: whether the phone is awake.
    """

    machine: str | None = None
    model: str | None = None
    os: str | None = None
    fingerprint: str | None = None
    abi: str | None = None
    soc: str | None = None
    hexagon: str | None = None
    emulated: bool = False
    cores: tuple[str, ...] = ()
    cpu_features: tuple[str, ...] = ()
    governor: str | None = None
    frequencies_khz: tuple[Whole, ...] = ()
    free_bytes: Whole | None = None
    battery_percent: Whole | None = None
    charging: bool | None = None
    battery_c: float | None = None
    thermal_status: Whole | None = None
    zones_c: tuple[tuple[str, float], ...] = ()
    screen_on: bool | None = None

    @property
    def temperature_c(self) -> float | None:
        """The battery's, which follows the case; without one, the hottest zone's."""
        if self.battery_c is not None:
            return self.battery_c
        return max((degrees for _, degrees in self.zones_c), default=None)

    @property
    def thermal_word(self) -> str | None:
        """Android's word for `thermal_status`."""
        if self.thermal_status is None:
            return None
        return THERMAL_WORDS[min(self.thermal_status, len(THERMAL_WORDS) - 1)]


def told(facts: Facts) -> dict[str, str]:
    """What is known, in words and units, for a person."""
    said: dict[str, str | None] = {
        "model": facts.model,
        "system": facts.os,
        "build": facts.fingerprint,
        "machine": ", ".join(filter(None, (facts.machine, facts.abi))),
        "soc": " with Hexagon ".join(filter(None, (facts.soc, facts.hexagon))),
        "emulated": "yes" if facts.emulated else None,
        "cores": ", ".join(facts.cores),
        "cpu features": " ".join(facts.cpu_features),
        "governor": facts.governor,
        "frequencies": ", ".join(f"{khz / 1000:.0f} MHz" for khz in facts.frequencies_khz),
        "free space": None if facts.free_bytes is None else f"{facts.free_bytes >> 20} MiB",
        "battery": _battery(facts),
        "thermal status": facts.thermal_word,
        "zones": ", ".join(f"{kind} {degrees:.1f} °C" for kind, degrees in facts.zones_c),
        "screen": None if facts.screen_on is None else "on" if facts.screen_on else "off",
    }
    return {key: value for key, value in said.items() if value}


def _battery(facts: Facts) -> str:
    charging = {True: "charging", False: "not charging", None: None}[facts.charging]
    percent = None if facts.battery_percent is None else f"{facts.battery_percent} %"
    celsius = None if facts.battery_c is None else f"{facts.battery_c:.1f} °C"
    return ", ".join(filter(None, (percent, charging, celsius)))

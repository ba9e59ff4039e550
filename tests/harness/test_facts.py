"""Facts from what devices print; the words are those of real ones, where one was at hand."""

from collections.abc import Iterator
from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farm.inventory import host_device
from farm.transports import connect
from harness.device import CommandResult, Device
from harness.errors import DeviceError
from harness.facts import Facts, told
from harness.on_device.read_facts import read_facts

PHONE = """\
== machine
aarch64
== properties
[ro.board.platform]: [pineapple]
[ro.build.fingerprint]: [maker/phone/phone:14/UP1A/1:user/release-keys]
[ro.build.version.release]: [14]
[ro.build.version.sdk]: [34]
[ro.product.cpu.abi]: [arm64-v8a]
[ro.product.manufacturer]: [Maker]
[ro.product.model]: [Phone 9]
[ro.soc.model]: [SM8650-AC]
== battery
Current Battery Service state:
  AC powered: false
  status: 3
  level: 41
  scale: 50
  temperature: 315
== thermal
Thermal Status: 2
Cached temperatures:
  Temperature{mValue=39.1, mType=3, mName=skin, mStatus=2}
== power
  mWakefulness=Dozing
  mWakefulnessChanging=false
== cpuinfo
CPU part\t: 0xd4d
CPU part\t: 0x001
Features\t: fp asimd i8mm
== disk
/dev/block/dm-5 230000000 90000000 140000000 40% /data
== zones
41000 cpu-0-0
47000 cpu-0-0
-40000 odd
999000000 broken
== cores
1804800 walt
3014400 walt
"""


class Answering:
    """A transport to a device that prints a text, whatever it is asked."""

    def __init__(self, text: bytes) -> None:
        self.device = Device("d", "adb")
        self._text = text

    def run(self, argv: tuple[str, ...], **_: object) -> CommandResult:
        return CommandResult(argv, 0, self._text, b"")


def facts_of(text: str) -> Facts:
    return read_facts(Answering(text.encode()))  # type: ignore[arg-type]  # as much as is used


def test_a_phone() -> None:
    facts = facts_of(PHONE)
    assert (facts.machine, facts.model, facts.os) == (
        "aarch64",
        "Maker Phone 9",
        "Android 14 (SDK 34)",
    )
    assert (facts.soc, facts.hexagon, facts.abi) == ("SM8650", "v75", "arm64-v8a")
    assert facts.fingerprint == "maker/phone/phone:14/UP1A/1:user/release-keys"
    assert (facts.battery_percent, facts.charging, facts.battery_c) == (82, False, 31.5)
    assert (facts.thermal_status, facts.thermal_word, facts.screen_on) == (2, "moderate", False)
    assert (facts.cores, facts.cpu_features) == (("0x001", "cortex-a715"), ("fp", "asimd", "i8mm"))
    assert facts.free_bytes == 140000000 << 10
    assert facts.zones_c == (("cpu-0-0", 47.0), ("odd", -40.0))
    assert (facts.governor, facts.frequencies_khz) == ("walt", (1804800, 3014400))
    assert facts.temperature_c == 31.5
    assert not facts.emulated
    assert told(facts)["soc"] == "SM8650 with Hexagon v75"
    assert told(facts)["battery"] == "82 %, not charging, 31.5 °C"


def test_a_phone_that_names_its_platform_only() -> None:
    facts = facts_of("== machine\naarch64\n== properties\n[ro.board.platform]: [kalama]\n")
    assert (facts.soc, facts.hexagon) == ("SM8550", "v73")


def test_a_board_with_a_battery_of_the_kernel() -> None:
    text = "== machine\naarch64\n== supply\ncapacity=55\nstatus=Full\ntemp=298\n"
    facts = facts_of(
        text + '== release\nPRETTY_NAME="Debian 12"\n== model\nPi 5\0\n== zones\n52000 soc\n'
    )
    assert (facts.battery_percent, facts.charging, facts.battery_c) == (55, True, 29.8)
    assert (facts.os, facts.model, facts.zones_c) == ("Debian 12", "Pi 5", (("soc", 52.0),))


def test_a_device_that_tells_nothing() -> None:
    bare = facts_of("== machine\nx\n")
    empty = Facts(machine="x")
    assert bare == empty
    assert told(bare) == {"machine": "x"}
    with pytest.raises(DeviceError, match="does not tell"):
        facts_of("sh: not found\n")


@given(st.text(max_size=400) | st.binary(max_size=400))
def test_a_device_that_lies_is_believed_in_bounds(answer: str | bytes) -> None:
    data = answer.encode("utf-8", "surrogatepass") if isinstance(answer, str) else answer
    for name in ("machine", "battery", "thermal", "zones", "cores", "disk", "properties"):
        text = b"== machine\nx\n== " + name.encode() + b"\n" + data
        facts = read_facts(Answering(text))  # type: ignore[arg-type]
        for word in strings(facts):
            assert word.isprintable()
            assert len(word) <= 150


def strings(facts: Facts) -> Iterator[str]:
    for field in fields(facts):
        value = getattr(facts, field.name)
        items = value if isinstance(value, tuple) else (value,)
        yield from (item for item in items if isinstance(item, str))


def test_this_host() -> None:
    with connect(host_device()) as transport:
        facts = read_facts(transport)
    assert facts.machine
    assert facts.os
    assert facts.free_bytes

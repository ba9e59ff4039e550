"""Phones from registration to a judged run: facts, run policy, golden model. On a virtual one."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from farm.golden import MODEL, SAMPLES, run_golden
from farm.inventory import add_device, load_inventory
from farm.phones import WORKDIR, phone_from
from farm.transports import connect
from harness.device import Device, RunPolicy
from harness.errors import DeviceUnready, UsageError
from harness.evaluate import evaluate
from harness.on_device import readiness
from harness.on_device.deploy import QUICK
from harness.on_device.read_facts import read_facts
from harness.on_device.readiness import wait_until_ready
from harness.records import Outcome, Run
from harness.request import Request
from targets import get_target
from tests.farm.phones import VirtualPhone
from tests.farm.transports.conftest import shell

SetFile = Callable[[str, str], None]
BATTERY = "class/power_supply/battery/capacity"
CASE = "class/power_supply/battery/temp"
SKIN = "class/thermal/thermal_zone0/temp"


@pytest.fixture
def set_file(started_phone: VirtualPhone) -> Iterator[SetFile]:
    """Call with a file of the phone's /sys and what it says from now on."""
    before: dict[Path, str] = {}

    def write(name: str, text: str) -> None:
        file = started_phone.folder / "sys" / name
        before.setdefault(file, file.read_text())
        file.write_text(f"{text}\n")

    yield write
    for file, text in before.items():
        file.write_text(text)


def policed(phone: VirtualPhone, policy: RunPolicy) -> Device:
    return replace(phone.device, policy=policy)


def test_registration_asks_the_phone(started_phone: VirtualPhone, tmp_path: Path) -> None:
    device = phone_from(started_phone.serial, connect, tags=("lab",))
    assert device == replace(
        started_phone.device,
        name="edgefarm-virtual-phone",
        tags=("lab", "virtual", "edgefarm-virtual-phone", "android-14"),
    )
    add_device(tmp_path / "farm.toml", device)
    assert load_inventory(tmp_path / "farm.toml").get_device(device.name) == device
    assert "workdir" not in (tmp_path / "farm.toml").read_text()


@pytest.mark.parametrize("place", ["", "a b", ":5", "host:", "host:0", "host:99999", "host:x"])
def test_what_is_no_phone(place: str) -> None:
    with pytest.raises(UsageError, match="HOST:PORT"):
        phone_from(place, connect)


def test_facts_are_the_phones_own(started_phone: VirtualPhone, set_file: SetFile) -> None:
    set_file(BATTERY, "7")
    set_file(CASE, "412")
    set_file(SKIN, "43500")
    set_file("class/backlight/panel0/brightness", "0")
    with connect(started_phone.device) as transport:
        facts = read_facts(transport)
    assert (facts.battery_percent, facts.battery_c, facts.charging) == (7, 41.2, True)
    assert (facts.thermal_word, facts.screen_on) == ("severe", False)
    assert (facts.emulated, facts.cores) == (True, ("cortex-a76",))
    assert facts.model == "edgefarm virtual phone"


def test_an_empty_battery(started_phone: VirtualPhone, set_file: SetFile) -> None:
    set_file(BATTERY, "19")
    device = policed(started_phone, RunPolicy(min_battery_percent=20))
    with connect(device) as transport, pytest.raises(DeviceUnready, match=r"19 %.*20 %; charge"):
        wait_until_ready(transport)
    run = run_golden(device, get_target("arm-neon-litert"), connect)
    assert run.outcome is Outcome.ERROR
    assert run.failure is not None
    assert run.failure.kind == "DeviceUnready"


def test_a_hot_phone_cools_down_or_is_given_up(
    started_phone: VirtualPhone, set_file: SetFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_file(CASE, "405")
    monkeypatch.setattr(readiness, "_LOOK_AGAIN_S", 0.1)
    patient = RunPolicy(max_temperature_c=35, cooldown_s=60)
    said: list[str] = []

    def watch(stage: str, _done: int, _total: int | None) -> None:
        said.append(stage)
        set_file(CASE, "349")

    with connect(policed(started_phone, patient)) as transport:
        assert wait_until_ready(transport, progress=watch).battery_c == 34.9
        assert said == ["cooling down"]
    set_file(CASE, "405")
    hasty = RunPolicy(max_temperature_c=35, cooldown_s=0)
    with (
        connect(policed(started_phone, hasty)) as transport,
        pytest.raises(DeviceUnready, match=r"40\.5 °C.* 35 °C"),
    ):
        wait_until_ready(transport)


def measured(device: Device) -> Run:
    target = get_target("arm-neon-litert")
    request = Request(str(MODEL), str(SAMPLES), target, None, device, measure=QUICK, samples=1)
    return evaluate(request, connect)


@pytest.mark.slow
def test_a_throttled_run_is_marked(started_phone: VirtualPhone, set_file: SetFile) -> None:
    """On chosen cores, with a mark for what the phone said before the run; and nothing is left."""
    set_file(SKIN, "41500")
    run = measured(policed(started_phone, RunPolicy(cpus="0-1")))
    assert run.outcome is Outcome.PASS
    assert run.facts is not None
    assert run.facts.thermal_word == "moderate"
    assert run.latency is not None
    assert not run.latency.representative
    assert "throttled: it started with thermal status moderate" in run.latency.remark
    assert any("thermal status moderate" in note for note in run.notes)
    assert run.results[0].runner == "native 1"
    with connect(started_phone.device) as transport:
        assert shell(transport, f"ls {WORKDIR}/jobs") == b""

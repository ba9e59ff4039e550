"""The marker and its lease: who gets which device, and that it is given back whatever happens."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from farm.database import Database, open_database
from farm.devices import register_devices
from farm.leases import holder_name, leased
from farm.selection import Selector
from farm.tables import DEVICES
from farm.transports import connect
from harness.errors import DevicesBusy
from harness.pytest_plugin import pool
from tests.harness.pytest_plugin.conftest import PLUGIN, AddDevice

pytest_plugins = ["pytester"]

Holders = Callable[[], dict[str, str | None]]

SEES_ITS_LEASE = """
import os, pytest
from farm.database import open_database
from farm.devices import known_devices

def holder(name):
    database = open_database()
    with database.begin() as connection:
        found = {one.device.name: one.holder for one in known_devices(connection)}
    database.close()
    return found[name]

@pytest.mark.device(target="host-litert", tags=["test"])
def test_holds(device):
    assert device.name == "a"
    assert f"/{os.getpid()}-" in holder("a")
"""


def test_a_marked_test_holds_a_device_that_matches(
    pytester: pytest.Pytester, add: AddDevice, holders: Holders
) -> None:
    add("a", "fast")
    add("b")
    pytester.makepyfile(SEES_ITS_LEASE.replace('["test"]', '["test", "fast"]'))
    pytester.runpytest(*PLUGIN).assert_outcomes(passed=1)
    assert set(holders().values()) == {None}


def test_a_marker_is_enough_and_count_holds_several(
    pytester: pytest.Pytester, add: AddDevice, holders: Holders
) -> None:
    for name in ("a", "b", "c"):
        add(name)
    pytester.makepyfile(
        SEES_ITS_LEASE
        + """
@pytest.mark.device(tags=["test"])
def test_without_a_fixture():
    assert holder("a")

@pytest.mark.device(tags=["test"], count=2)
def test_several(devices):
    assert len({one.name for one in devices} & {"a", "b", "c"}) == 2
    assert all(holder(one.name) for one in devices)
"""
    )
    pytester.runpytest(*PLUGIN).assert_outcomes(passed=3)
    assert set(holders().values()) == {None}


MISSING = """
import pytest
@pytest.mark.device(target="arm-neon-litert", tags=["lab2"])
def test_it(device):
    pass
"""


def test_a_missing_device_is_a_skip_that_says_how_to_add_one(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(MISSING)
    result = pytester.runpytest(*PLUGIN, "-rs")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(
        [
            "*tag=lab2,target=arm-neon-litert*"
            "edgefarm device add NAME --ssh USER@HOST --target arm-neon-litert*board create*"
        ]
    )


def test_or_a_failure_where_a_device_is_required(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(MISSING)
    result = pytester.runpytest(*PLUGIN, "--require-device")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*edgefarm device add NAME*"])


def test_a_device_in_use_is_waited_for_then_skipped(
    pytester: pytest.Pytester, add: AddDevice
) -> None:
    pytester.makepyfile(SEES_ITS_LEASE)
    database = open_database()
    register_devices(database, [add("a")])
    holding = leased(database, Selector(name="a"), connect, holder=holder_name("somebody"))
    with holding:
        result = pytester.runpytest(*PLUGIN, "-rs", "--device-wait", "0.1")
    database.close()
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["*a is in use by somebody@*"])


def test_a_quarantined_device_is_not_waited_for(pytester: pytest.Pytester, add: AddDevice) -> None:
    pytester.makepyfile(SEES_ITS_LEASE)
    database = open_database()
    register_devices(database, [add("a")])
    with database.begin() as connection:
        connection.execute(DEVICES.update().values(health="quarantined", cause="wrong numbers"))
    database.close()
    result = pytester.runpytest(*PLUGIN, "-rs", "--device-wait", "300")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["*a is quarantined (wrong numbers)*"])


@pytest.mark.parametrize(
    ("marker", "said"),
    [
        ('target="arm-neon-litter"', "*no such target; one of: arm-neon-litert*"),
        ('tag="x"', "*tag is not known; allowed: device(target=*"),
        ('"a76"', "*'a76' is not known; allowed: device(target=*"),
        ('tags="lab2"', "*tags a list of words*"),
        ("count=0", "*count=0; allowed: 1 to *"),
        ('kind="real"', "*allowed: physical, virtual*"),
    ],
)
def test_a_mistake_in_the_marker_is_no_skip(
    pytester: pytest.Pytester, marker: str, said: str
) -> None:
    pytester.makepyfile(f"import pytest\n@pytest.mark.device({marker})\ndef test_it(): pass\n")
    result = pytester.runpytest(*PLUGIN)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([said])


def test_a_fixture_without_the_marker_says_what_is_missing(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_it(device): pass")
    result = pytester.runpytest(*PLUGIN)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*needs the marker @pytest.mark.device(target=*"])


def test_a_device_is_chosen_by_name(pytester: pytest.Pytester, add: AddDevice) -> None:
    add("b")
    add("a")
    pytester.makepyfile(SEES_ITS_LEASE)
    pytester.runpytest(*PLUGIN, "--device", "a").assert_outcomes(passed=1)
    unknown = pytester.runpytest(*PLUGIN, "--device", "nowhere")
    unknown.assert_outcomes(errors=1)
    unknown.stdout.fnmatch_lines(["*'nowhere': not in *farm.toml; there are: host, b, a*"])
    other = pytester.runpytest(*PLUGIN, "--device", "host", "-rs")
    other.assert_outcomes(skipped=1)


def test_a_failed_test_gives_its_device_back(
    pytester: pytest.Pytester, add: AddDevice, holders: Holders
) -> None:
    add("a")
    pytester.makepyfile(SEES_ITS_LEASE + "    assert False\n")
    pytester.runpytest(*PLUGIN).assert_outcomes(failed=1)
    assert holders()["a"] is None


IN_TWO_MODULES = """
from test_one import holder

def test_between():
    assert bool(holder("a")) is {held}
"""


@pytest.mark.parametrize(("scope", "held"), [("session", True), ("module", False)])
def test_it_is_held_for_the_session_or_the_module(
    pytester: pytest.Pytester, add: AddDevice, scope: str, held: bool
) -> None:
    add("a")
    again = SEES_ITS_LEASE + "\ndef test_still():\n    assert holder('a')\n"
    pytester.makepyfile(test_one=again, test_two=IN_TWO_MODULES.format(held=held))
    result = pytester.runpytest_subprocess(*PLUGIN, "--device-scope", scope)
    result.assert_outcomes(passed=3)


WAITS = """
import pathlib, pytest, time
@pytest.mark.device(tags=["test"])
def test_waits(device):
    pathlib.Path("begun").touch()
    time.sleep(60)
"""


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_session_gives_it_back_and_a_killed_one_loses_it(
    pytester: pytest.Pytester, add: AddDevice, holders: Holders, sent: signal.Signals
) -> None:
    add("a")
    pytester.makepyfile(WAITS)
    child = subprocess.Popen(
        [sys.executable, "-m", "pytest", *PLUGIN], stdout=subprocess.DEVNULL, cwd=pytester.path
    )
    wait_for(pytester.path / "begun", child)
    child.send_signal(sent)
    child.wait(30)
    if sent == signal.SIGINT:
        assert holders()["a"] is None
    else:
        assert holders()["a"] is not None
        expire()
        pytester.makepyfile(SEES_ITS_LEASE)
        pytester.runpytest(*PLUGIN).assert_outcomes(passed=1)


def wait_for(path: Path, child: "subprocess.Popen[bytes]") -> None:
    for _ in range(600):
        if path.exists():
            return
        assert child.poll() is None
        time.sleep(0.1)
    raise AssertionError(f"{path} did not come")


def expire() -> None:
    """Let all leases be over, as they are after some seconds."""
    database = open_database()
    with database.begin() as connection:
        connection.execute(DEVICES.update().values(lease_expires=0.0))
    database.close()


BY_TURNS = """
import pathlib, pytest, time

def of(tag):
    return pytest.mark.device(tags=["test", tag])

@pytest.mark.parametrize("number", [pytest.param(n, marks=of("ab"[n % 2])) for n in range(6)])
def test_alone(device, number):
    mine = pathlib.Path(f"in-use-{device.name}")
    mine.mkdir()
    time.sleep(0.1)
    mine.rmdir()
"""


def test_workers_of_one_run_share_the_devices_and_none_is_skipped(
    pytester: pytest.Pytester, add: AddDevice, holders: Holders
) -> None:
    """Each worker wants both devices, in turns: neither a clash nor a deadlock."""
    add("one", "a")
    add("two", "b")
    pytester.makepyfile(BY_TURNS)
    result = pytester.runpytest_subprocess(*PLUGIN, "-n", "2", "--device-wait", "0")
    result.assert_outcomes(passed=6)
    assert set(holders().values()) == {None}


@pytest.mark.parametrize("run", ["", "aa11"])
def test_a_device_that_a_sibling_took_and_gave_back_between_two_looks(
    add: AddDevice, monkeypatch: pytest.MonkeyPatch, run: str
) -> None:
    """Seen free, not to be had, and nobody's again: no reason to skip in a run of several."""
    add("one")
    tries: list[str] = []

    def leased_late(database: Database, wanted: Selector, *args: Any, **options: Any) -> Any:
        tries.append(str(wanted))
        if len(tries) == 1:
            raise DevicesBusy("a sibling was faster")
        return leased(database, wanted, *args, **options)

    monkeypatch.setattr(pool, "leased", leased_late)
    mine = pool.Pool(["one"], wait_s=0, run=run)
    try:
        if run:
            assert [held.device.name for held in mine.hold(Selector())] == ["one"]
        else:
            with pytest.raises(DevicesBusy):
                mine.hold(Selector())
    finally:
        mine.close()


def test_a_suite_without_the_marker_notices_nothing(
    pytester: pytest.Pytester, farm_home: Path
) -> None:
    pytester.makepyfile("def test_it(): pass")
    pytester.runpytest(*PLUGIN, "--strict-markers").assert_outcomes(passed=1)
    assert not farm_home.exists()


def test_loading_the_plugin_imports_nothing_heavy() -> None:
    code = (
        "import sys, pytest; before = set(sys.modules); import harness.pytest_plugin; "
        "print(*sorted({name.split('.')[0] for name in set(sys.modules) - before}))"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True
    )
    assert loaded.stdout.split() == ["harness"], loaded.stderr

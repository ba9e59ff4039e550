"""The pytest plugin: tests on the devices of the inventory. A composition root; nobody imports it.

::

    @pytest.mark.device(target="arm-neon-litert", tags=["lab2"])
    def test_model(deploy, assert_bit_exact):
        assert_bit_exact(deploy("model.tflite", data="data.npz"))

A marked test holds its devices under a lease of the farm's database. Every suite of an environment
loads this module, so it imports nothing heavy before the first marked test runs.
"""

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

import pytest

from harness.errors import DeviceError, HarnessError
from harness.pytest_plugin.outcomes import DeviceErrors
from harness.pytest_plugin.session import SIGNATURE, DeviceTests

if TYPE_CHECKING:
    import numpy as np

    from harness.device import Device
    from harness.pytest_plugin.assertions import Checks
    from harness.pytest_plugin.deploying import Deploying
    from harness.records import Run

    Array = np.ndarray[Any, Any]

_TESTS = pytest.StashKey[DeviceTests]()
_ERRORS = pytest.StashKey[DeviceErrors]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("edgefarm", "tests on devices (edgefarm)")
    group.addoption(
        "--device", action="append", default=[], metavar="NAME", dest="edgefarm_devices",
        help="run marked tests on this device of the inventory; repeatable",
    )  # fmt: skip
    group.addoption(
        "--require-device", action="store_true", dest="edgefarm_require",
        help="a missing device is a failure instead of a skip",
    )  # fmt: skip
    group.addoption(
        "--device-scope", choices=("session", "module"), default="session",
        dest="edgefarm_scope", help="how long a device is held (default: session)",
    )  # fmt: skip
    group.addoption(
        "--device-wait", type=float, default=60.0, metavar="SECONDS", dest="edgefarm_wait_s",
        help="how long to wait for a device that others use (default: 60)",
    )  # fmt: skip
    group.addoption(
        "--device-retries", type=int, default=1, metavar="N", dest="edgefarm_retries",
        help="after a failure of the machine, try again so often, on another device too "
        "(default: 1)",
    )  # fmt: skip


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker and what keeps the state of this process."""
    config.addinivalue_line("markers", f"{SIGNATURE}: holds devices of the inventory")
    config.stash[_TESTS] = DeviceTests(config)
    config.stash[_ERRORS] = errors = DeviceErrors()
    config.pluginmanager.register(errors, "edgefarm-device-errors")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Hold the devices of a marked test before its fixtures are made, or skip it."""
    item.config.stash[_TESTS].begin(item)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Mark what the machine is to blame for: no traceback, and no failure of the test."""
    report = yield
    error = call.excinfo.value if call.excinfo else None
    if isinstance(error, OSError | HarnessError):  # in words of others it may be what is tested
        from harness.host.disk import host_full

        error = host_full(error) or error
    if report.failed and isinstance(error, HarnessError) and error.exit_code == 3:
        item.config.stash[_ERRORS].mark(report, error)
        if isinstance(error, DeviceError):
            item.config.stash[_TESTS].note(error)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(
    item: pytest.Item, nextitem: pytest.Item | None
) -> Generator[None, None, None]:
    """Give the devices back where their scope ends, after the fixtures are gone."""
    try:
        yield
    finally:
        item.config.stash[_TESTS].end(item, nextitem)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Give everything back: the tests are done, failed, or interrupted."""
    session.config.stash[_TESTS].close()


def pytest_unconfigure(config: pytest.Config) -> None:
    """The last chance to give everything back, when the session itself broke."""
    if tests := config.stash.get(_TESTS, None):
        tests.close()


@pytest.fixture
def devices(request: pytest.FixtureRequest) -> "tuple[Device, ...]":
    """The devices that the test holds, as many as its marker's `count`."""
    held = request.config.stash[_TESTS].hold()
    return tuple(one.device for one in held)


@pytest.fixture
def device(devices: "tuple[Device, ...]") -> "Device":
    """The device that the test holds."""
    return devices[0]


@pytest.fixture(scope="session")
def _deploying(request: pytest.FixtureRequest) -> "Deploying":
    from harness.pytest_plugin.deploying import Deploying

    return Deploying(request.config.stash[_TESTS])


@pytest.fixture(scope="session")
def _checks(_deploying: "Deploying") -> "Checks":
    from harness.pytest_plugin.assertions import Checks

    return Checks(_deploying)


@pytest.fixture(scope="session")
def deploy(_deploying: "Deploying") -> "Callable[..., Run]":
    """Call with a model, recipe and data for the Run on the held device; see `Deploying.deploy`."""
    return _deploying.deploy


@pytest.fixture(scope="session")
def run_on_device(_deploying: "Deploying") -> "Callable[..., tuple[Array, ...]]":
    """Call with a model and its inputs for the device's outputs; see `Deploying.run_on_device`."""
    return _deploying.run_on_device


@pytest.fixture(scope="session")
def emulator(_deploying: "Deploying") -> "Callable[..., tuple[Array | None, ...]]":
    """Call with a model and its inputs for what the device should give; see `Deploying.emulate`."""
    return _deploying.emulate


@pytest.fixture(scope="session")
def assert_bit_exact(_checks: "Checks") -> Callable[..., None]:
    """Call with a Run, or with a model and its inputs; see `Checks.bit_exact`."""
    return _checks.bit_exact


@pytest.fixture(scope="session")
def assert_accuracy(_checks: "Checks") -> Callable[..., None]:
    """Call with a Run and limits, e.g. ``min_top1=0.7``; see `Checks.accuracy`."""
    return _checks.accuracy


@pytest.fixture(scope="session")
def assert_latency(_checks: "Checks") -> Callable[..., None]:
    """Call with a Run and limits, e.g. ``max_p90_ms=15``; see `Checks.latency`."""
    return _checks.latency

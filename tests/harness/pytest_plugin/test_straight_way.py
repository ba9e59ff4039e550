"""The fixtures on a device: Runs, outputs, assertions that explain themselves, and machines that
fail."""

from pathlib import Path

import numpy as np
import pytest

from farm.database import open_database
from farm.devices import Known, known_devices, register_devices
from farm.inventory import inventory_path, load_inventory
from farm.probing import due_probes
from harness.pytest_plugin.outcomes import EXIT_DEVICE_ERROR
from tests.harness.pytest_plugin.conftest import PLUGIN, AddDevice
from tests.oracle.networks import residual, saturating

pytest_plugins = ["pytester"]

BROKEN = "/nowhere/python3"

DEPLOYS = """
import pytest
pytestmark = pytest.mark.device(target="host-litert", tags=["test"])

@pytest.fixture(scope="module")
def run(deploy):
    return deploy("model.tflite", data="data.npz")
"""

HOLDS = """
def test_exact(run, assert_bit_exact):
    assert_bit_exact(run)

def test_fast(run, assert_latency):
    assert_latency(run, max_median_ms=10_000)
"""


@pytest.fixture
def suite(pytester: pytest.Pytester) -> pytest.Pytester:
    """A folder with a quantized model of four ops, and data."""
    Path("model.tflite").write_bytes(residual())
    x = np.random.default_rng(0).integers(-128, 128, (40, 5, 5, 4), np.int8)
    np.savez("data.npz", in0=x)
    return pytester


def test_the_straight_way_in_a_suite(suite: pytest.Pytester, add: AddDevice) -> None:
    add("a")
    suite.makepyfile(
        DEPLOYS
        + HOLDS
        + """
def test_outputs(run_on_device, emulator, device):
    import numpy as np
    x = np.load("data.npz")["in0"]
    (got,), (expected,) = run_on_device("model.tflite", x), emulator("model.tflite", x)
    assert got.dtype == np.int8 and got.shape == (40, 7, 7, 4)
    assert (got == expected).all()
    (expected,) = emulator("model.tflite", x, profile="litert-ref")
    assert expected.shape == got.shape

def test_a_model_is_compared_on_every_tensor(assert_bit_exact):
    import numpy as np
    assert_bit_exact("model.tflite", np.load("data.npz")["in0"], kernels="reference")
"""
    )
    suite.runpytest(*PLUGIN).assert_outcomes(passed=4)


PLANTED = """
from dataclasses import replace
import pytest
from harness.emulator import profiles

@pytest.fixture(autouse=True)
def wrong_rounding(monkeypatch):
    right = profiles.PROFILES["litert-xnnpack-x86"]
    entries = tuple(
        replace(one, semantics="S1:double") if "CONV_2D" in one.ops else one
        for one in right.entries
    )
    table = {**profiles.PROFILES, right.name: replace(right, entries=entries)}
    monkeypatch.setattr(profiles, "PROFILES", table)
"""


def test_a_failed_assertion_names_the_first_diverging_op(
    suite: pytest.Pytester, add: AddDevice
) -> None:
    add("a")
    suite.makeconftest(PLANTED)
    suite.makepyfile(
        DEPLOYS
        + """
import numpy as np

def test_run(deploy, assert_bit_exact):
    assert_bit_exact(deploy("model.tflite", data="data.npz"))

def test_model(assert_bit_exact):
    assert_bit_exact("model.tflite", np.load("data.npz")["in0"])

def test_labels(run, assert_accuracy):
    assert_accuracy(run, min_top1=0.5)

def test_time(run, assert_latency):
    assert_latency(run, max_median_ms=1e-6)
"""
    )
    result = suite.runpytest(*PLUGIN)
    result.assert_outcomes(failed=4)
    said = "*CONV_2D (node 1, *) is the first that differs. At *(from the accumulator *"
    result.stdout.fnmatch_lines([said, said, "*cannot be evaluated: it needs labels*", "*max_me*"])
    assert "checks.py" not in result.stdout.str()


SUSPICIOUS = """
import pytest
pytestmark = pytest.mark.device(target="host-litert", tags=["test"])

def test_exact(deploy, assert_bit_exact):
    assert_bit_exact(deploy("model.tflite", data="data.npz"))

def test_time_alone(deploy, assert_latency):
    assert_latency(deploy("model.tflite", data="data.npz"), max_median_ms=10_000)

def test_accepted(deploy, assert_bit_exact):
    run = deploy("model.tflite", data="data.npz", accept_warn=True)
    assert run.outcome == "WARN"
    assert_bit_exact(run)

def test_known(deploy, assert_bit_exact):
    assert_bit_exact(deploy("model.tflite", data="data.npz", limits="limits.toml"))
"""


def test_a_run_that_looks_wrong_does_not_pass_in_silence(
    suite: pytest.Pytester, add: AddDevice
) -> None:
    """All samples saturate, so that the output is always the same; the device is exact."""
    add("a")
    Path("model.tflite").write_bytes(saturating())
    x = np.random.default_rng(0).integers(1, 128, (20, 6), np.int8)
    np.savez("data.npz", in0=x)
    Path("limits.toml").write_text('[defaults]\naccept = ["constant-output"]\n')
    suite.makepyfile(SUSPICIOUS)
    result = suite.runpytest(*PLUGIN)
    result.assert_outcomes(failed=1, passed=3)
    result.stdout.fnmatch_lines(
        [
            "*what is asserted holds, but the run looks wrong (WARN):*",
            "*the same for all of 20 different samples*",
            "*accept_warn=True*",
            "*SuspiciousRun: deploy('model.tflite'): WARN (exact; looks wrong: constant-output*",
        ]
    )


def test_an_assertion_that_asserts_nothing_is_a_mistake(
    suite: pytest.Pytester, add: AddDevice
) -> None:
    add("a")
    suite.makepyfile(
        DEPLOYS
        + """
def test_nothing(run, assert_accuracy):
    assert_accuracy(run)

def test_misspelt(run, assert_latency):
    assert_latency(run, max_medain_ms=3)
"""
    )
    result = suite.runpytest(*PLUGIN)
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(["*nothing is asserted; give one of: min_top1*", "*max_medain_ms*"])


def test_a_failed_machine_is_no_failed_test(suite: pytest.Pytester, add: AddDevice) -> None:
    add("a", python=BROKEN)
    suite.makepyfile(DEPLOYS + HOLDS)
    result = suite.runpytest(*PLUGIN, "-v")
    assert result.ret == EXIT_DEVICE_ERROR
    result.stdout.fnmatch_lines(
        [
            "*::test_exact DEVICE ERROR*",
            "*device errors: the machine failed, not the test*",
            "  RuntimeMissing: device a: /nowhere/python3 cannot be executed*",
            "*tried again after a device error*",
            "*2 device error in *",
        ]
    )
    assert "Traceback" not in result.stdout.str()


BREAKS = """
import pytest
from harness.errors import TransportError

@pytest.mark.device(tags=["test"])
def test_breaks(device):
    raise TransportError("the connection broke", device=device.name)
"""


@pytest.mark.parametrize("workers", ["0", "1"])
def test_the_session_fails_only_where_a_test_does(
    pytester: pytest.Pytester, add: AddDevice, workers: str
) -> None:
    add("a")
    run = pytester.runpytest_inprocess if workers == "0" else pytester.runpytest_subprocess
    pytester.makepyfile(test_it=BREAKS)
    result = run(*PLUGIN, "-n", workers)
    assert result.ret == EXIT_DEVICE_ERROR
    result.stdout.fnmatch_lines(
        ["*device errors: the machine failed, not the test*", "*1 device error in *"]
    )
    pytester.makepyfile(test_that=f"{BREAKS}\ndef test_wrong():\n    assert False\n")
    result = run(*PLUGIN, "-n", workers)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*1 failed, *2 device error in *"])


FULL = """
import errno, os, pytest
from harness.errors import HostFull, UsageError

@pytest.mark.parametrize("error", [
    HostFull("no space"),
    OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
    OSError(errno.EDQUOT, os.strerror(errno.EDQUOT)),
])
def test_full(error):
    raise error

def test_told_in_other_words():
    try:
        raise OSError(errno.ENOSPC, "full")
    except OSError as error:
        raise UsageError("out: cannot be written") from error

@pytest.fixture
def full():
    raise OSError(errno.ENOSPC, "full")

def test_fixture(full): ...
"""
WRONG = """
import errno
def test_words():
    assert "No space left on device" == ""

def test_other():
    raise OSError(errno.EACCES, "not mine")
"""


def test_a_full_disk_is_no_failed_test_and_words_about_one_are_no_full_disk(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile(test_it=FULL)
    result = pytester.runpytest(*PLUGIN)
    assert result.ret == EXIT_DEVICE_ERROR
    result.stdout.fnmatch_lines(["*  HostFull: no space*", "*5 device error in *"])
    pytester.makepyfile(test_it=WRONG)
    pytester.runpytest(*PLUGIN).assert_outcomes(failed=2)


@pytest.mark.parametrize(("served", "health"), [("here", "suspect"), (None, "healthy")])
def test_the_farm_hears_of_a_failed_machine_where_somebody_would_probe_it(
    suite: pytest.Pytester, add: AddDevice, served: str | None, health: str
) -> None:
    add("a", python=BROKEN)
    add("b")
    register("a", host=served)
    register("b", host=served)
    suite.makepyfile(DEPLOYS + HOLDS + "\ndef test_wrong(run):\n    assert run is None\n")
    suite.runpytest(*PLUGIN).assert_outcomes(passed=2, failed=1)
    found = known()
    assert (found["a"].health, found["b"].health) == (health, "healthy")
    assert found["a"].holder is None
    if served:
        assert found["a"].cause.startswith("RuntimeMissing: /nowhere/python3 cannot be executed")
        with open_database().begin() as connection:
            assert due_probes(connection, "here").count("a") == 1


def test_a_machine_that_fails_is_no_skip_when_no_other_is_left(
    suite: pytest.Pytester, add: AddDevice
) -> None:
    """Suspect, it is not to be had for another try: the worker that would probe it sleeps."""
    add("a", python=BROKEN)
    register("a", host="here")
    suite.makepyfile(DEPLOYS + HOLDS)
    result = suite.runpytest(*PLUGIN, "--device-wait", "0.1")
    assert result.ret == EXIT_DEVICE_ERROR
    result.stdout.fnmatch_lines(["*1 skipped, *1 device error in *"])


def test_a_test_that_meets_the_fault_itself_tells_it_too(
    pytester: pytest.Pytester, add: AddDevice
) -> None:
    add("a")
    register("a", host="here")
    pytester.makepyfile(BREAKS)
    assert pytester.runpytest(*PLUGIN).ret == EXIT_DEVICE_ERROR
    assert (known()["a"].health, known()["a"].cause) == (
        "suspect",
        "TransportError: the connection broke",
    )


def test_a_lost_lease_says_nothing_against_the_device(
    pytester: pytest.Pytester, add: AddDevice
) -> None:
    add("a")
    register("a", host="here")
    pytester.makepyfile(BREAKS.replace("TransportError", "LeaseLost"))
    assert pytester.runpytest(*PLUGIN).ret == EXIT_DEVICE_ERROR
    assert known()["a"].health == "healthy"


def register(name: str, *, host: str | None) -> None:
    """As a lab host's worker does, before a suite runs; None: no worker was ever here."""
    database = open_database()
    register_devices(database, [load_inventory(inventory_path()).get_device(name)], host=host)
    database.close()


def known() -> dict[str, Known]:
    database = open_database()
    with database.begin() as connection:
        found = {one.device.name: one for one in known_devices(connection)}
    database.close()
    return found


def test_work_goes_on_on_another_device(suite: pytest.Pytester, add: AddDevice) -> None:
    add("a", python=BROKEN)
    add("b")
    suite.makepyfile(DEPLOYS + HOLDS)
    result = suite.runpytest(*PLUGIN)
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(
        ["*tried again after a device error*", "*::test_exact", "  RuntimeMissing: device a: *"]
    )
    once = suite.runpytest(*PLUGIN, "--device-retries", "0")
    assert once.ret == EXIT_DEVICE_ERROR

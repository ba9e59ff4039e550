"""The examples run as a customer runs them."""

import subprocess
import sys
from pathlib import Path

import pytest

from farm.inventory import add_device, inventory_path
from harness.device import Device
from tests.farm.phones import VirtualPhone

ROOT = Path(__file__).resolve().parents[1]


def run_device_tests(device: Device, home: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """What pytest printed at its end."""
    monkeypatch.setenv("EDGEFARM_HOME", str(home))
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    add_device(inventory_path(), device)
    ended = subprocess.run(
        [
            sys.executable, "-m", "pytest", "-p", "harness.pytest_plugin", "--require-device",
            "-o", "addopts=", "-o", "timeout=", "--device", device.name, "examples/device_tests",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_device_tests_on_a_virtual_board(
    cortex_a76: Device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "4 passed" in run_device_tests(cortex_a76, tmp_path, monkeypatch)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_device_tests_on_a_virtual_phone(
    started_phone: VirtualPhone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "4 passed" in run_device_tests(started_phone.device, tmp_path, monkeypatch)

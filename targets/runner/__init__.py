"""The on-device runners: programs that obey harness/protocol.py."""

from pathlib import Path

from harness.device import Device
from harness.errors import RuntimeMissing
from harness.protocol import Delegate
from harness.target import Runner

_HERE = Path(__file__).parent


def _python_argv(device: Device, files: tuple[str, ...], job: str) -> tuple[str, ...]:
    if device.python is None:
        raise RuntimeMissing(
            "the Python runner needs Python, the device's entry names none: "
            "set `python` there to its interpreter",
            device=device.name,
        )
    # Isolated: neither the folder nor the environment that it runs in may shadow a module.
    return (device.python, "-I", files[0], job)


def python_runner(delegate: Delegate | None = None) -> Runner:
    """The runner for devices with Python, loading a delegate where one is named."""
    return Runner("python", (_HERE / "edgefarm_runner.py",), _python_argv, delegate)


PYTHON = python_runner()

"""The on-device runners: programs that obey harness/protocol.py."""

from pathlib import Path

from harness.device import Device
from harness.errors import RuntimeMissing
from harness.protocol import Delegate
from harness.target import Runner

_HERE = Path(__file__).parent
_REMEDY = "install it, or name another interpreter as `python` in the device's entry"


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
    return Runner("python", (_HERE / "edgefarm_runner.py",), _python_argv, delegate, _REMEDY)


PYTHON = python_runner()


def npu_runner(delegate: Delegate, tag: str) -> Runner:
    """The runner for an NPU, whose libraries lie in the folder that a device's tag names.

    Args:
        delegate: the vendor's dispatch library.
        tag: of the device's entry, e.g. ``qairt`` for ``qairt=/opt/qairt/lib``.
    """

    def argv(device: Device, files: tuple[str, ...], job: str) -> tuple[str, ...]:
        python, isolated, program, folder = _python_argv(device, files, job)
        found = next((t.partition("=")[2] for t in device.tags if t.startswith(f"{tag}=")), "")
        if not found:
            raise RuntimeMissing(
                f"the device's entry does not say where the vendor's libraries are: add the tag "
                f"{tag}=FOLDER, the folder of {delegate.library}",
                device=device.name,
            )
        search = (f"LD_LIBRARY_PATH={found}", f"ADSP_LIBRARY_PATH={found}")
        return ("env", *search, python, isolated, program, files[1], folder)

    files = (_HERE / "edgefarm_npu.py", _HERE / "edgefarm_runner.py")
    return Runner("python", files, argv, delegate, _REMEDY)

"""Provisioning: what is refused before anything is fetched, and a small runtime put in place.

ExecuTorch itself is not provisioned here: PyPI has no PyTorch for aarch64 that loads without
CUDA. A pure Python package goes the same way.
"""

import platform
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from farm.provision import EXECUTORCH, RuntimeSpec, provision
from farm.transports import connect
from harness.device import Device
from harness.errors import DeviceError, UsageError
from harness.host.cache import Cache

VERSION = ".".join(platform.python_version_tuple()[:2])
SMALL = RuntimeSpec(
    name="mpmath",
    target="arm-neon-executorch",
    wheels=("mpmath==1.3.0",),
    numpy="",
    machine=platform.machine(),
    pythons=(VERSION,),
    cpu_feature="",
    cpu_words="",
    left_out=("mpmath/tests/",),
    unusable="",
    unusable_words="",
    loads="mpmath, mpmath.libmp",
    unpacked_bytes=1 << 20,
)


@pytest.fixture
def host(tmp_path: Path) -> Device:
    return Device("here", "local", workdir=str(tmp_path / "work"), python=sys.executable)


def refusal(device: Device, spec: RuntimeSpec, cache: Path) -> str:
    with connect(device) as transport, pytest.raises(UsageError) as caught:
        provision(device, transport, spec, cache=Cache(cache))
    assert not (cache / "wheels").exists(), "nothing was fetched"
    return str(caught.value)


def test_a_cortex_a53_is_refused(cortex_a53: Device, tmp_path: Path) -> None:
    """PyTorch's wheels die there of an illegal instruction."""
    message = refusal(cortex_a53, EXECUTORCH, tmp_path)
    assert "needs Armv8.2" in message
    assert "cortex-a53" in message
    assert "bring the native runner along" in message


def test_machines_and_versions_without_wheels_are_refused(host: Device, tmp_path: Path) -> None:
    other = replace(SMALL, machine="riscv64")
    assert "is for riscv64" in refusal(host, other, tmp_path)
    old = replace(SMALL, pythons=("3.9",))
    assert f"no wheels for Python {VERSION}; for: 3.9" in refusal(host, old, tmp_path)
    assert "are free" in refusal(host, replace(SMALL, unpacked_bytes=1 << 60), tmp_path)
    assert "names none" in refusal(replace(host, python=None), SMALL, tmp_path)


@pytest.mark.slow
def test_a_runtime_is_fetched_unpacked_loaded_and_noted(host: Device, tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    with connect(host) as transport:
        done = provision(host, transport, SMALL, cache=cache)
        again = provision(host, transport, SMALL, cache=cache)
        with pytest.raises(DeviceError, match="no_such_module"):
            provision(host, transport, replace(SMALL, loads="no_such_module"), cache=cache)
    assert (done.runtime, done.version) == ("mpmath", "1.3.0")
    assert done.device.targets == ("arm-neon-executorch",)
    home = Path(host.workdir) / "runtimes/mpmath-1.3.0"
    assert done.device.python == str(home / "bin/python3")
    (wheel,) = done.wheels
    assert done.sent_bytes == wheel.bytes
    assert len(wheel.sha256) == 64
    assert done.unpacked_bytes > wheel.bytes
    assert set(done.seconds) == {"fetch", "push", "unpack", "load"}
    assert again.device == done.device
    site = home / f"lib/python{VERSION}/site-packages"
    assert (site / "mpmath/libmp").is_dir()
    assert not (site / "mpmath/tests").exists(), "left out"
    assert not list(home.parent.glob("*.whl")), "the device keeps no wheels"


@pytest.mark.slow
def test_wheels_that_cannot_be_loaded_there_are_refused(host: Device, tmp_path: Path) -> None:
    cuda = replace(SMALL, unusable="mpmath/__init__.py", unusable_words="a build for others")
    with connect(host) as transport, pytest.raises(UsageError, match="is a build for others"):
        provision(host, transport, cuda, cache=Cache(tmp_path / "cache"))
    assert not list((tmp_path / "cache/wheels").glob("*/*.whl")), "nothing is kept"
    assert not Path(host.workdir, "runtimes").exists(), "nothing was sent"

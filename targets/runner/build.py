"""The native runner's files: the program, compiled on first use, and the runtime's libraries."""

import os
import platform
import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from harness.artifact import sha256_file
from harness.device import Device
from harness.errors import UsageError
from harness.host.cache import Cache, content_key, default_cache
from harness.host.disk import full_by_words
from harness.host.home import home
from harness.host.scratch import scratch_folder
from harness.target import Runner

NATIVE = Path(__file__).parent / "native"
_REMEDY = "LiteRT needs a newer or more complete C library than the device has"
CROSS_PRESETS = {"aarch64": "aarch64-linux-gnu-g++"}

ANDROID_VARIABLE = "EDGEFARM_ANDROID_RUNTIME"
_PROGRAM = "edgefarm-runner"
_LIBRARY = "libLiteRt.so"
_WHEEL_PLATFORMS = ("manylinux_2_27", "manylinux_2_28")
_TIMEOUT_S = 900.0


def native_runner(machine: str) -> Runner:
    """The runner for devices without Python, for one machine (``uname -m``; for Android
    ``android-`` before it).

    The first call compiles it and may fetch LiteRT's library; both are kept in the user's cache.
    For Android both are the user's own, see `android_files`.

    Raises:
        UsageError: no such build, or what it takes is not installed; the message names it.
    """
    if machine.startswith("android-"):
        files, litert = android_files(machine)
    else:
        cache = default_cache()
        litert = version("ai-edge-litert")
        files = (build_program(machine, cache), fetch_library(machine, litert, cache))

    return runner_of("litert", litert, files)


def runner_of(runtime: str, version: str, files: tuple[Path, ...]) -> Runner:
    """The native runner with a runtime.

    Args:
        runtime: as `harness.protocol.Job` names it.
        version: of the runtime, which its libraries do not tell.
        files: the program, then the libraries in the order of loading.
    """

    def argv(_device: Device, paths: tuple[str, ...], job: str) -> tuple[str, ...]:
        program, *libraries = paths
        return (program, runtime, version, *libraries, job)

    return Runner("native", files, argv, remedy=_REMEDY)


def android_files(machine: str) -> tuple[tuple[Path, Path], str]:
    """The program and LiteRT's library for Android phones, and that library's version.

    They lie in a folder that the user makes (see the README of the native runner), named by
    ``$EDGEFARM_ANDROID_RUNTIME``, by default ``android-aarch64`` in the home folder.

    Raises:
        UsageError: one of its files is missing.
    """
    folder = Path(os.environ.get(ANDROID_VARIABLE) or home() / machine)
    program, library, version_file = (folder / name for name in (_PROGRAM, _LIBRARY, "VERSION"))
    lacking = [path.name for path in (program, library, version_file) if not path.is_file()]
    if lacking:
        raise UsageError(
            f"Android phones need their own build of the runner; {folder} lacks "
            f"{', '.join(lacking)}: make it as {NATIVE / 'README.md'} says, or set "
            f"{ANDROID_VARIABLE}"
        )
    return (program, library), version_file.read_text(errors="replace").strip()


def build_program(machine: str, cache: Cache) -> Path:
    """The compiled program for a machine."""
    return compiled(machine, cache, _PROGRAM)


def compiled(machine: str, cache: Cache, product: str, *settings: str, of: str = "") -> Path:
    """What CMake builds of the native runner's sources for a machine.

    Args:
        machine: ``uname -m``.
        cache: where it is kept.
        product: the file that is built.
        settings: ``-D…`` of CMake; where they lead follows from machine, `product` and `of`.
        of: version of what the product is compiled against.
    """
    sources = sorted(path for path in NATIVE.glob("src/*") if path.is_file())
    sources += [NATIVE / "CMakeLists.txt", NATIVE / "CMakePresets.json"]
    key = content_key(
        {"machine": machine, "product": product, "of": of}
        | {path.name: sha256_file(path) for path in sources}
    )
    stored = cache.entry("native-runner", key) / product
    if not stored.exists():
        preset = _preset(machine)
        with (
            cache.fill("native-runner", key) as folder,
            scratch_folder() as build,
        ):
            configure = ("cmake", f"--preset={preset}", "-S", str(NATIVE), "-B", str(build))
            run_step((*configure, *settings), f"configuring the native runner for {machine}")
            run_step(
                ("cmake", "--build", str(build), "--parallel", "--target", _target_of(product)),
                f"compiling the native runner for {machine}",
            )
            shutil.copy2(build / product, folder)
    return stored


def _target_of(product: str) -> str:
    """CMake's name of what builds a file."""
    return product.removeprefix("lib").removesuffix(".so")


def fetch_library(machine: str, litert: str, cache: Cache) -> Path:
    """LiteRT's library for a machine: of the installed package, else of its wheel."""
    package = find_spec("ai_edge_litert")
    if machine == platform.machine() and package is not None and package.origin:
        return Path(package.origin).parent / _LIBRARY
    key = content_key({"machine": machine, "version": litert})
    stored = cache.entry("litert-library", key) / _LIBRARY
    if not stored.exists():
        with cache.fill("litert-library", key) as folder:
            _unpack_library(machine, litert, folder)
    return stored


def _unpack_library(machine: str, litert: str, folder: Path) -> None:
    with scratch_folder() as wheels:
        run_step(
            (
                *(sys.executable, "-P", "-m", "pip", "download", "--quiet", "--no-deps"),
                *("--disable-pip-version-check", "--only-binary=:all:", f"--dest={wheels}"),
                *(f"--platform={each}_{machine}" for each in _WHEEL_PLATFORMS),
                f"ai-edge-litert=={litert}",
            ),
            f"fetching LiteRT {litert} for {machine}",
        )
        (wheel,) = wheels.glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            (folder / _LIBRARY).write_bytes(archive.read(f"ai_edge_litert/{_LIBRARY}"))


def _preset(machine: str) -> str:
    """The CMake preset that builds for a machine here, once its tools are there."""
    if machine == platform.machine():
        preset, compiler = "host", "g++"
    elif machine in CROSS_PRESETS:
        preset, compiler = machine, CROSS_PRESETS[machine]
    else:
        raise UsageError(
            f"the native runner can be built here for {platform.machine()} and "
            f"{', '.join(CROSS_PRESETS)}, not for {machine}; for Android see {NATIVE / 'README.md'}"
        )
    packages = {"cmake": "cmake", "make": "make", "g++": "g++"}
    packages |= {f"{each}-linux-gnu-g++": f"g++-{each}-linux-gnu" for each in CROSS_PRESETS}
    lacking = [packages[tool] for tool in ("cmake", "make", compiler) if not shutil.which(tool)]
    if lacking:
        raise UsageError(
            f"the native runner for {machine} must be compiled once; not installed: "
            f"{' '.join(lacking)}; run `apt-get install {' '.join(lacking)} nlohmann-json3-dev`"
        )
    return preset


def run_step(argv: tuple[str, ...], what: str) -> None:
    """Run a tool that must succeed; UsageError with its words where it does not."""
    done = subprocess.run(argv, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    if done.returncode != 0:
        if full := full_by_words(done.stderr):
            raise full
        end = (done.stderr.strip() or done.stdout.strip())[-2000:]
        raise UsageError(f"{what} failed (status {done.returncode}): {' '.join(argv)}\n{end}")

"""Levels that this processor may not run: under an emulator of it, or on stand-in intrinsics."""

import platform
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from harness.emulator import core

HERE = Path(__file__).parent
SOURCES = Path(core.__file__).parent / "src"
SHARED = (
    "hybrid",
    "level_portable",
    "levels",
    "look_up",
    "pack",
    "products",
    "run",
    "threads",
    "wide",
)
FLAGS = ("-O1", "-std=c++17", "-ffp-contract=off", f"-I{SOURCES}")
ARM_COMPILER, ARM_EMULATOR = "aarch64-linux-gnu-g++", "qemu-aarch64-static"


def compile_object(compiler: str, source: Path, folder: Path, *, flags: Sequence[str] = ()) -> Path:
    target = folder / f"{source.stem}.o"
    argv = [compiler, *flags, *FLAGS, "-c", str(source), "-o", str(target)]
    subprocess.run(argv, check=True, timeout=200)
    return target


def link(compiler: str, objects: Sequence[Path], folder: Path) -> Path:
    program = folder / "compare_levels"
    whole = ["-static", "-Wl,--whole-archive", "-lpthread", "-Wl,--no-whole-archive"]
    argv = [compiler, *map(str, objects), *whole, "-o", str(program)]
    subprocess.run(argv, check=True, timeout=200)
    return program


def assert_equal(argv: Sequence[str], level: str) -> None:
    done = subprocess.run([*argv, "200"], capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stdout
    assert f"{level}: 200 layers" in done.stdout


@pytest.mark.slow
@pytest.mark.skipif(
    not (shutil.which(ARM_COMPILER) and shutil.which(ARM_EMULATOR)),
    reason=f"needs {ARM_COMPILER} and {ARM_EMULATOR} "
    "(Debian: g++-aarch64-linux-gnu, qemu-user-static)",
)
def test_neon_equals_portable_on_an_emulated_cortex_a76(tmp_path: Path) -> None:
    sources = [SOURCES / f"{name}.cpp" for name in (*SHARED, "level_neon")]
    objects = [
        compile_object(ARM_COMPILER, source, tmp_path, flags=["-march=armv8.2-a+dotprod"])
        for source in (*sources, HERE / "compare_levels.cpp")
    ]
    program = link(ARM_COMPILER, objects, tmp_path)
    assert_equal([ARM_EMULATOR, "-cpu", "cortex-a76", str(program)], "neon-dotprod")


@pytest.mark.slow
@pytest.mark.skipif(
    not (shutil.which("g++") and platform.machine() == "x86_64"), reason="needs g++ on x86-64"
)
def test_avx512_equals_portable_on_intrinsics_by_definition(tmp_path: Path) -> None:
    objects = [compile_object("g++", SOURCES / f"{name}.cpp", tmp_path) for name in SHARED]
    objects += [
        compile_object("g++", SOURCES / "level_avx2.cpp", tmp_path, flags=["-mavx2", "-mfma"]),
        compile_object(
            "g++",
            SOURCES / "level_avx512.cpp",
            tmp_path,
            flags=[f"-I{HERE / 'avx512_by_definition'}"],
        ),
        compile_object(
            "g++",
            HERE / "compare_levels.cpp",
            tmp_path,
            flags=["-DSIMULATED_LEVEL=kAvx512Level"],
        ),
    ]
    assert_equal([str(link("g++", objects, tmp_path))], "avx512-vnni")

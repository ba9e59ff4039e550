"""Levels that this processor does not run, built for it and run under an emulator of it."""

import shutil
import subprocess
from pathlib import Path

import pytest

from harness.emulator import core

SOURCES = Path(core.__file__).parent / "src"
COMPILER, EMULATOR = "aarch64-linux-gnu-g++", "qemu-aarch64-static"

pytestmark = pytest.mark.skipif(
    not (shutil.which(COMPILER) and shutil.which(EMULATOR)),
    reason=f"needs {COMPILER} and {EMULATOR} (Debian: g++-aarch64-linux-gnu, qemu-user-static)",
)


def compile_for_arm(folder: Path) -> Path:
    program = folder / "compare_levels"
    arm_only = [
        source
        for source in sorted(SOURCES.glob("*.cpp"))
        if source.name not in {"module.cpp", "level_avx2.cpp", "level_avx512.cpp"}
    ]
    flags = ["-O1", "-std=c++17", "-ffp-contract=off", "-march=armv8.2-a+dotprod", f"-I{SOURCES}"]
    test = Path(__file__).parent / "compare_levels.cpp"
    whole = ["-static", "-Wl,--whole-archive", "-lpthread", "-Wl,--no-whole-archive"]
    argv = [COMPILER, *flags, str(test), *map(str, arm_only), *whole, "-o", str(program)]
    subprocess.run(argv, check=True, timeout=200)
    return program


@pytest.mark.slow
def test_neon_equals_portable_on_an_emulated_cortex_a76(tmp_path: Path) -> None:
    program = compile_for_arm(tmp_path)
    argv = [EMULATOR, "-cpu", "cortex-a76", str(program), "200"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stdout
    assert "neon-dotprod: 200 layers" in done.stdout

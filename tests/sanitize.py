"""The core's tests under the compiler's sanitizers.

    python -m tests.sanitize address,undefined
    python -m tests.sanitize thread

Builds the core beside the usual one, under build/, and runs its tests on that. Needs GCC with the
sanitizers' libraries, cmake and nanobind. Exit status: pytest's; a sanitizer's report fails it.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
TESTS = "tests/harness/emulator/core"
LIBRARIES = {"address": "libasan.so", "undefined": "libubsan.so", "thread": "libtsan.so"}
OPTIONS = {
    # Python itself leaks at exit, and frees what other libraries allocated before they loaded.
    "ASAN_OPTIONS": "detect_leaks=0:halt_on_error=1",
    "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
    "TSAN_OPTIONS": "halt_on_error=1:second_deadlock_stack=1",
}
# The tests import the package's module; this one takes its place.
RUN = """
import importlib.util, sys
name, path, *arguments = sys.argv[1:]
found = importlib.util.spec_from_file_location(name, path)
sys.modules[name] = importlib.util.module_from_spec(found)
found.loader.exec_module(sys.modules[name])
import pytest
sys.exit(pytest.main(arguments))
"""


def build(sanitizers: str) -> Path:
    """The module built with some sanitizers, comma-separated."""
    folder = ROOT / "build" / f"sanitize-{sanitizers.replace(',', '-')}"
    settings = {
        "Python_EXECUTABLE": sys.executable,
        "CMAKE_BUILD_TYPE": "RelWithDebInfo",
        "CMAKE_CXX_FLAGS": f"-fsanitize={sanitizers} -fno-sanitize-recover=all",
        "CMAKE_MODULE_LINKER_FLAGS": f"-fsanitize={sanitizers}",
        "CORE_OUTPUT": str(folder),
    }
    configure = [f"-D{name}={value}" for name, value in settings.items()]
    subprocess.run(["cmake", "-S", str(ROOT), "-B", str(folder), *configure], check=True)
    subprocess.run(["cmake", "--build", str(folder), "-j2"], check=True)
    return next(folder.glob("_core*.so"))


def library(sanitizer: str) -> str:
    """Path of a sanitizer's library, which must be loaded before Python's own."""
    argv = ["g++", f"-print-file-name={LIBRARIES[sanitizer]}"]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()


def main() -> int:
    """Build, run the tests."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("sanitizers", choices=["address,undefined", "thread"])
    parser.add_argument("pytest", nargs="*", default=[TESTS], help="what to run")
    options = parser.parse_args()
    module = build(options.sanitizers)
    preload = [library(name) for name in options.sanitizers.split(",")]
    # One process: what runs under an emulator of another processor is compiled for itself.
    name = "harness.emulator.core._core"
    arguments = [name, str(module), "-q", "-p", "no:cacheprovider", "-m", "not slow"]
    environment = {**os.environ, **OPTIONS, "LD_PRELOAD": ":".join(preload)}
    run = [sys.executable, "-c", RUN, *arguments, *options.pytest]
    return subprocess.run(run, cwd=ROOT, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())

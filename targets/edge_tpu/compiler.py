"""Calls `edgetpu_compiler`, where it is on the PATH, and believes only what it can read."""

import os
import shutil
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import ModelError, UsageError
from harness.host.disk import full_by_words
from targets.edge_tpu.log import CompilerLog, parse_log

PROGRAM = "edgetpu_compiler"
MISSING = (
    f"{PROGRAM} is not on the PATH: install it (x86-64 Linux, see coral.ai/docs/edgetpu/compiler), "
    "or submit a file that it has compiled"
)
_TIMEOUT_S = 600.0
_VERSION_TIMEOUT_S = 30.0
_TAIL_CHARS = 2000


@dataclass(frozen=True)
class Compiled:
    """What the compiler made: the file, and its log."""

    path: Path
    log: CompilerLog


def find_compiler() -> str | None:
    """Path of the compiler; None when it is not installed."""
    return shutil.which(PROGRAM)


def compiler_version() -> str | None:
    """Version of the installed compiler; None when there is none, "unknown" when it does not
    say."""
    program = find_compiler()
    if program is None:
        return None
    try:
        return parse_log(_run([program, "--version"], _VERSION_TIMEOUT_S)[1]).version or "unknown"
    except ModelError:
        return "unknown"


def compile_model(path: Path, folder: Path, *, timeout_s: float = _TIMEOUT_S) -> Compiled:
    """Compile a `.tflite` into ``<name>_edgetpu.tflite`` in a folder.

    Raises:
        UsageError: the compiler is not installed.
        ModelError: it refused the model, crashed, hung, or printed what is not known.
    """
    program = find_compiler()
    if program is None:
        raise UsageError(MISSING)
    status, text = _run([program, "-s", "-o", str(folder), str(path)], timeout_s)
    if status != 0 and (full := full_by_words(text)):
        raise full
    made = folder / f"{path.stem}_edgetpu.tflite"
    if status < 0:
        name = signal.Signals(-status).name if -status in set(signal.Signals) else str(-status)
        raise ModelError(f"{path}: {PROGRAM} was ended by {name}: {text[-_TAIL_CHARS:].strip()}")
    log = parse_log(text)
    if log.failures:
        reasons = "; ".join(log.failures)
        raise ModelError(f"{path}: {PROGRAM} {log.version} refuses it: {reasons}")
    if status != 0 or not log.models or not made.is_file():
        raise ModelError(
            f"{path}: {PROGRAM} ended with status {status} and made no {made.name}: "
            f"{text[-_TAIL_CHARS:].strip() or 'it printed nothing'}"
        )
    return Compiled(made, log)


def _run(argv: Sequence[str], timeout_s: float) -> tuple[int, str]:
    """Exit status and output of a program in a process group of its own."""
    try:
        child = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        raise ModelError(f"{argv[0]}: cannot be run: {error.strerror}") from error
    try:
        printed, _ = child.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        printed, _ = child.communicate()
        tail = printed.decode(errors="replace")[-_TAIL_CHARS:].strip()
        raise ModelError(
            f"{' '.join(argv)}: not done after {timeout_s:g} s, killed; it printed: {tail}"
        ) from None
    return child.returncode, printed.decode(errors="replace")

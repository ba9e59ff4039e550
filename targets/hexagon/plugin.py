"""LiteRT's ahead-of-time compiler for Qualcomm: the plug-in of the ai-edge-litert package, called
as its own Python wrapper calls it, with the libraries of `targets.hexagon.sdk`."""

import os
import re
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

from harness.errors import ModelError, UsageError
from harness.host.disk import full_by_words
from targets.hexagon.sdk import plugin_libraries

_TIMEOUT_S = 900.0
_TAIL_LINES = 12
_PARTITIONED = re.compile(r"selected (\d+) ops, from a total of (\d+) ops\. resulted in (\d+) part")
_BUILD = re.compile(r"Applying plugin with SDK version: (\S+)")


@dataclass(frozen=True)
class Compilation:
    """What the plug-in says of one compilation.

    Attributes:
        taken, total: ops that went to the tensor processor, and all.
        build: build of Qualcomm's libraries, e.g. ``v2.51.0.260929181845``.
        printed: its output.
    """

    taken: int
    total: int
    build: str
    printed: str


def apply_plugin(source: Path, target: Path, soc: str) -> Compilation:
    """Compile a `.tflite` for a chip.

    Raises:
        UsageError: this platform has no compiler.
        ModelError: the compiler refused the model, crashed or hung.
    """
    import ai_edge_litert

    package = Path(ai_edge_litert.__file__).parent
    program = package / "tools" / "apply_plugin_main"
    plugin = package / "vendors" / "qualcomm" / "compiler"
    if not program.is_file() or not plugin.is_dir():
        raise UsageError(
            f"{package} has no compiler for Qualcomm: ahead-of-time compilation needs "
            "ai-edge-litert on x86-64 Linux"
        )
    argv = [
        str(program),
        "--cmd=apply",
        f"--model={source}",
        f"--o={target}",
        "--soc_manufacturer=Qualcomm",
        f"--soc_model={soc}",
        "--err=--",
        f"--libs={plugin}",
    ]
    search = os.pathsep.join(str(folder) for folder in (plugin_libraries(), package, plugin))
    try:
        ended = subprocess.run(
            argv,
            env={**os.environ, "LD_LIBRARY_PATH": search},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ModelError(
            f"{source}: the Qualcomm compiler was not done after {_TIMEOUT_S:g} s, killed"
        ) from None
    printed = ended.stdout.decode(errors="replace")
    counts, build = _PARTITIONED.search(printed), _BUILD.search(printed)
    if ended.returncode != 0 or counts is None or build is None or not target.is_file():
        raise full_by_words(printed) or ModelError(
            f"{source}: {_why(ended.returncode, soc)}:\n{_tail(printed)}"
        )
    taken, total, _parts = (int(number) for number in counts.groups())
    return Compilation(taken, total, build[1], printed)


def _why(status: int, soc: str) -> str:
    if status < 0:
        name = signal.Signals(-status).name if -status in set(signal.Signals) else str(-status)
        return f"the Qualcomm compiler for {soc} was ended by {name}"
    return f"the Qualcomm compiler for {soc} ended with status {status}"


def _tail(printed: str) -> str:
    """The lines that name an error, or the last ones."""
    lines = [line.strip()[:300] for line in printed.splitlines() if line.strip()]
    errors = [line for line in lines if "ERROR" in line]
    return "\n".join((errors or lines)[-_TAIL_LINES:]) or "it printed nothing"

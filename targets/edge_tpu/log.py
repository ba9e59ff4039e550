"""Reads what `edgetpu_compiler` prints, for one model or several compiled together.

Every line must be one that is known, so that a new version of the compiler is noticed and not
misread. Also the operation log that it writes beside the model.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from harness.errors import ModelError

MAPPED = "Mapped to Edge TPU"
STATUSES = (
    MAPPED,
    "Operation not supported",
    "Operation version not supported",
    "Operation is working on an unsupported data type",
    "More than one subgraph is not supported",
    "Operation is otherwise supported, but not mapped due to some unspecified limitation",
    "Tensor has unsupported rank (up to 3 innermost dimensions mapped)",
    "Image-interpolation layer won't run precisely enough on Edge TPU",
)

_SILENT = (
    "Started a compilation timeout timer of ",
    "See the operation log file for individual operation details.",
    "Model successfully compiled but not all operations are supported by the Edge TPU.",
    "Compilation child process completed within timeout period.",
    "Compilation succeeded!",
    "Searching for valid delegate with step ",
    "Try to compile segment with ",
    "WARNING: ",
    "INFO: ",
)
"""Beginnings of lines that carry nothing to keep."""

_FAILED = (
    "ERROR: ",
    "Model not quantized",
    "Internal compiler error. Aborting!",
    "Invalid model: ",
    "Model could not be parsed",
    "Compilation failed",
    "Compilation timed out",
)
"""Beginnings of lines that say why nothing was compiled."""

_VERSION = re.compile(r"Edge TPU Compiler version (\S+)$")
_ELAPSED = re.compile(r"Models? compiled successfully in (\d+) ms[.!]$")
_FIELD = re.compile(r"([A-Z][A-Za-z -]+): (.+)$")
_SIZE = re.compile(r"([0-9.]+)(B|KiB|MiB|GiB)$")
_ROW = re.compile(r"(\S+) +(\d+) +(\S.*)$")
_HEADER = re.compile(r"Operator +Count +Status$")

_SIZES = {
    "Input size": "input_bytes",
    "Output size": "output_bytes",
    "On-chip memory used for caching model parameters": "cached_bytes",
    "On-chip memory remaining for caching model parameters": "remaining_bytes",
    "Off-chip memory used for streaming uncached model parameters": "streamed_bytes",
}
_NUMBERS = {
    "Number of Edge TPU subgraphs": "subgraphs",
    "Total number of operations": "operations",
    "Number of operations that will run on Edge TPU": "on_edge_tpu",
    "Number of operations that will run on CPU": "on_cpu",
}
_TEXTS = {
    "Input model": "source",
    "Input": "source",
    "Output model": "compiled",
    "Output": "compiled",
    "Operation log": "operation_log",
}


@dataclass(frozen=True)
class Row:
    """One line of the table of operators."""

    op: str
    count: int
    status: str


@dataclass(frozen=True)
class ModelLog:
    """What the compiler says of one model; None where it does not say it.

    Attributes:
        source, compiled, operation_log: paths as printed.
        input_bytes, output_bytes: of the files, rounded as printed.
        cached_bytes, remaining_bytes: of the on-chip memory for parameters.
        streamed_bytes: parameters that are fetched for every inference.
        subgraphs, operations, on_edge_tpu, on_cpu: counts.
        rows: the table of operators.
    """

    source: str = ""
    compiled: str = ""
    operation_log: str = ""
    input_bytes: int | None = None
    output_bytes: int | None = None
    cached_bytes: int | None = None
    remaining_bytes: int | None = None
    streamed_bytes: int | None = None
    subgraphs: int | None = None
    operations: int | None = None
    on_edge_tpu: int | None = None
    on_cpu: int | None = None
    rows: tuple[Row, ...] = ()


@dataclass(frozen=True)
class CompilerLog:
    """One run of the compiler.

    Attributes:
        version: of the compiler.
        models: in the order of the command line.
        elapsed_ms: None in an operation log.
        failures: why nothing was compiled, as printed; empty when it was.
    """

    version: str = ""
    models: tuple[ModelLog, ...] = ()
    elapsed_ms: int | None = None
    failures: tuple[str, ...] = field(default=())


def parse_log(text: str) -> CompilerLog:
    """Read the compiler's output, or its operation log.

    Raises:
        ModelError: a line, a size or a status that is not known.
    """
    log = CompilerLog()
    for line in _lines(text):
        log = _read(log, line)
    return log


def _lines(text: str) -> Iterator[str]:
    for line in text.splitlines():
        stripped = line.strip()
        if stripped and not _HEADER.match(stripped):
            yield stripped


def _read(log: CompilerLog, line: str) -> CompilerLog:
    """The log with one more line."""
    if version := _VERSION.match(line):
        return replace(log, version=version[1])
    if elapsed := _ELAPSED.match(line):
        return replace(log, elapsed_ms=int(elapsed[1]))
    if line.startswith(_FAILED):
        return replace(log, failures=(*log.failures, line))
    if line.startswith(_SILENT):
        return log
    if row := _ROW.match(line):
        return _with_row(log, Row(row[1], int(row[2]), row[3]))
    if named := _FIELD.match(line):
        return _with_field(log, named[1], named[2])
    raise _unknown(f"the line {line!r}", log)


def _with_row(log: CompilerLog, row: Row) -> CompilerLog:
    if row.status not in STATUSES:
        raise _unknown(f"the status {row.status!r} of {row.op}", log)
    *others, last = log.models or (ModelLog(),)
    return replace(log, models=(*others, replace(last, rows=(*last.rows, row))))


def _with_field(log: CompilerLog, name: str, value: str) -> CompilerLog:
    if name in ("Input model", "Input"):
        return replace(log, models=(*log.models, ModelLog(source=value)))
    known: dict[str, Any] = {}
    if name in _TEXTS:
        known[_TEXTS[name]] = value
    elif name in _NUMBERS and value.isdigit():
        known[_NUMBERS[name]] = int(value)
    elif name in _SIZES and (size := _SIZE.match(value)):
        scale = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}[size[2]]
        known[_SIZES[name]] = round(float(size[1]) * scale)
    else:
        raise _unknown(f"the line {f'{name}: {value}'!r}", log)
    *others, last = log.models or (ModelLog(),)
    return replace(log, models=(*others, replace(last, **known)))


def _unknown(what: str, log: CompilerLog) -> ModelError:
    version = log.version or "(not printed)"
    return ModelError(
        f"edgetpu_compiler {version}: {what} is not known here; "
        "logs of versions 2.0 to 16.0 are: report it, or compile by hand and submit the result"
    )

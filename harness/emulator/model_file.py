"""Reads a model file, of whichever format it says it is, into the emulator's graph form."""

from pathlib import Path

from harness.emulator.graph import Model
from harness.emulator.pte import read_pte
from harness.emulator.tflite import read_tflite
from harness.errors import ModelError


def read_model(source: Path | bytes, *, where: str = "model") -> Model:
    """Read a `.tflite` or a `.pte`.

    Args:
        source: the file, or its content.
        where: what to call the model in messages when `source` is bytes.

    Raises:
        ModelError: the file cannot be read, is broken, or exceeds a limit.
    """
    if isinstance(source, bytes):
        return (
            read_pte(source, where=where)
            if is_program(source)
            else read_tflite(source, where=where)
        )
    return read_pte(source) if is_program(_head(source)) else read_tflite(source)


def is_program(head: bytes) -> bool:
    """Whether a file's first bytes are those of an ExecuTorch program."""
    return head[4:6] == b"ET"


def runs_on(path: Path) -> str:
    """The runtime that a file is for.

    Raises:
        ModelError: the file cannot be read.
    """
    return "executorch" if is_program(_head(path)) else "litert"


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(8)
    except OSError as error:
        raise ModelError(f"{path}: {error.strerror}") from error

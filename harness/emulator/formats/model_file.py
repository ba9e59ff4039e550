"""Reads a model file, of whichever format it says it is, into the emulator's graph form."""

from pathlib import Path

from harness.emulator.formats.model_content import content_of
from harness.emulator.formats.pte import read_pte
from harness.emulator.formats.tflite import read_tflite
from harness.emulator.graph import Model
from harness.errors import UsageError
from harness.host.plain_files import open_plain


def read_model(source: Path | bytes, *, where: str = "model") -> Model:
    """Read a `.tflite` or a `.pte`.

    Args:
        source: the file, or its content.
        where: what to call the model in messages when `source` is bytes.

    Raises:
        UsageError: the file cannot be read.
        ModelError: it is broken, or exceeds a limit.
    """
    content, where = content_of(source, where)
    return (read_pte if is_program(content) else read_tflite)(content, where=where)


def is_program(head: bytes) -> bool:
    """Whether a file's first bytes are those of an ExecuTorch program."""
    return head[4:6] == b"ET"


def runs_on(path: Path) -> str:
    """The runtime that a file is for.

    Raises:
        UsageError: the file cannot be read.
    """
    try:
        with open_plain(path) as stream:
            return "executorch" if is_program(stream.read(8)) else "litert"
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error

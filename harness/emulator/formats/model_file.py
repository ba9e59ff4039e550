"""Reads a model file, of whichever format it says it is, into the emulator's graph form.

Other distributions add formats through the entry-point group ``edgefarm.formats``; each entry
points to a `Format`. A file whose format is ours is read without loading any of them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from harness.emulator.formats.model_content import content_of
from harness.emulator.formats.pte import read_pte
from harness.emulator.formats.tflite import read_tflite
from harness.emulator.graph import Model
from harness.errors import UsageError
from harness.host.plain_files import open_plain
from harness.host.plug_ins import with_additions

GROUP = "edgefarm.formats"
_HEAD_BYTES = 64
"""Within these a format's mark must lie."""


class Read(Protocol):
    """Reads the content of a file, which is untrusted."""

    def __call__(self, source: bytes, *, where: str) -> Model:
        """Raise ModelError, naming `where`, when the content is broken."""


Expose = Callable[[bytes, str], tuple[bytes, tuple[int, ...]]]
"""From a file's content, and what to call it in messages, to the same model with every computed
tensor as an output, and the indices of these tensors in the original's main graph."""


@dataclass(frozen=True)
class Format:
    """A format of lowered models.

    Attributes:
        name: of its suffix without the dot, e.g. ``tflite``.
        runtime: of artifacts in it, as `harness.target.Target.runtime` has it.
        offset, mark: the bytes that every such file has there, within its first 64.
        read: makes the emulator's graphs of it.
        expose: None where a file cannot be rewritten so: then only outputs are compared.
    """

    name: str
    runtime: str
    offset: int
    mark: bytes
    read: Read
    expose: Expose | None = None

    @property
    def suffix(self) -> str:
        """Of its files, e.g. ``.tflite``."""
        return f".{self.name}"

    def marks(self, head: bytes) -> bool:
        """Whether a file's first bytes are those of this format."""
        return bool(self.mark) and head[self.offset :].startswith(self.mark)


TFLITE = Format("tflite", "litert", 4, b"TFL3", read_tflite)
PTE = Format("pte", "executorch", 4, b"ET", read_pte)
FORMATS = {one.name: one for one in (TFLITE, PTE)}


def all_formats() -> dict[str, Format]:
    """The table, and what installed distributions add to it.

    Raises:
        UsageError: one of those cannot be loaded, is no format, or takes a name that is in use.
    """
    return with_additions(FORMATS, GROUP, Format)


def format_of(head: bytes) -> Format:
    """The format that a file's first bytes tell; TFLite, whose reader says what is wrong, where
    they tell none.

    Raises:
        UsageError: as `all_formats`.
    """
    for one in FORMATS.values():
        if one.marks(head):
            return one
    return next((one for one in all_formats().values() if one.marks(head)), TFLITE)


def read_model(source: Path | bytes, *, where: str = "model") -> Model:
    """Read a model file of any known format.

    Args:
        source: the file, or its content.
        where: what to call the model in messages when `source` is bytes.

    Raises:
        UsageError: the file cannot be read.
        ModelError: it is broken, or exceeds a limit.
    """
    content, where = content_of(source, where)
    return format_of(content[:_HEAD_BYTES]).read(content, where=where)


def format_of_file(path: Path) -> Format:
    """The format that a file is in.

    Raises:
        UsageError: the file cannot be read.
    """
    try:
        with open_plain(path) as stream:
            return format_of(stream.read(_HEAD_BYTES))
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error


def is_lowered(suffix: str) -> bool:
    """Whether files of that suffix are lowered models, no PyTorch ones."""
    name = suffix.removeprefix(".")
    if name == suffix or suffix in (".pt2", ".py"):
        return False
    return name in FORMATS or name in all_formats()

"""The syntax of MODEL and DATA references, and Python functions that they name."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import UsageError
from harness.host.plain_files import odd_kind
from harness.sources.hints import with_hint
from harness.sources.other_formats import data_hint, model_hint
from harness.sources.user_code import import_file

ZOO_PREFIX = "zoo:"


@dataclass(frozen=True)
class Reference:
    """A parsed reference.

    Attributes:
        kind: ``zoo``, ``python``, or the suffix of the file (``.tflite``); ``folder``.
        path: absolute; None for the zoo.
        name: of the zoo entry or of the function; "" for plain files.
    """

    kind: str
    path: Path | None
    name: str = ""

    def __str__(self) -> str:
        if self.path is None:
            return ZOO_PREFIX + self.name
        return f"{self.path}:{self.name}" if self.name else str(self.path)


def parse_reference(text: str, *, what: str, suffixes: tuple[str, ...], folder: bool) -> Reference:
    """Parse ``zoo:NAME``, ``path/file.py:function``, a file with one of `suffixes`, or a folder.

    Raises:
        UsageError: no such file, wrong suffix or bad syntax; the message names what is expected.
    """
    from harness.sources.zoo import zoo_names

    hint = data_hint if what == "data" else model_hint
    check_readable(str(Path(text).absolute()), what)
    expected = f"expected {_one_of(suffixes, folder=folder)}"
    if text.startswith(ZOO_PREFIX):
        name = text.removeprefix(ZOO_PREFIX)
        if name not in zoo_names():
            raise UsageError(
                f"{what} {text!r}: no such zoo entry; one of: {', '.join(zoo_names())}"
            )
        return Reference("zoo", None, name)
    file, colon, function = text.rpartition(":")
    if colon and file.endswith(".py"):
        if not function.isidentifier():
            raise UsageError(f"{what} {text!r}: {function!r} is not a function name; {expected}")
        return Reference("python", _existing(file, what), function)
    if text.endswith(".py"):
        raise UsageError(f"{what} {text!r}: name the function too, e.g. {text}:model")
    path = _existing(text, what)
    if path.is_dir():
        if folder:
            return Reference("folder", path)
        raise UsageError(with_hint(f"{what} {text!r}: is a folder; {expected}", hint(path)))
    if path.suffix not in suffixes:
        said = f"{what} {text!r}: suffix {path.suffix!r} is not known; {expected}"
        raise UsageError(with_hint(said, hint(path)))
    return Reference(path.suffix, path)


def check_readable(text: str, what: str) -> None:
    """Raise UsageError for text, such as a file's name, that is not UTF-8: results could not
    name it."""
    try:
        text.encode()
    except UnicodeEncodeError:
        shown = text.encode(errors="backslashreplace").decode()
        raise UsageError(f"{what} {shown!r}: not UTF-8; rename it") from None


def _one_of(suffixes: tuple[str, ...], *, folder: bool) -> str:
    files = [f"a {suffix} file" for suffix in suffixes]
    parts = ["zoo:NAME", "path/file.py:function", *files, *(["a folder of images"] * folder)]
    return ", ".join(parts[:-1]) + " or " + parts[-1]


def _existing(file: str, what: str) -> Path:
    path = Path(file).expanduser().absolute()
    try:
        odd = odd_kind(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        raise UsageError(f"{what} {file!r}: no such file") from None
    except (OSError, ValueError) as error:
        said = error.strerror if isinstance(error, OSError) else error
        raise UsageError(f"{what} {file!r}: cannot be read: {said}") from error
    if odd:
        raise UsageError(f"{what} {file!r}: is {odd}; expected an ordinary file or a folder")
    return path


def load_function(reference: Reference) -> Callable[[], Any]:
    """Import the file of a ``python`` reference and return the function. It runs the user's code:
    call it in an isolated process only.

    Raises:
        UsageError: the file has no such function.
    """
    if reference.path is None:
        raise ValueError(f"{reference} names no file")
    module = import_file(reference.path)
    function: Callable[[], Any] | None = getattr(module, reference.name, None)
    if not callable(function):
        functions = [
            name for name, value in vars(module).items() if _is_own(value, module.__name__)
        ]
        raise UsageError(
            f"{reference.path} has no function {reference.name!r}; "
            f"it has: {', '.join(functions) or 'none'}"
        )
    return function


def _is_own(value: object, module: str) -> bool:
    return callable(value) and getattr(value, "__module__", None) == module

"""A folder for each class, with the pictures of that class inside: a common layout of images."""

import os
import stat
from pathlib import Path

from PIL import Image

from harness.errors import UsageError
from harness.host.plain_files import odd_kind

_PARTS = {"train", "val", "valid", "validation", "test"}
_MOST_NAMED = 12


def class_folders(folder: Path) -> tuple[list[dict[str, str]], tuple[str, ...]]:
    """The pictures and their classes, as the rows of a ``labels.csv``, and a note that names them.

    Raises:
        UsageError: there are no folders of pictures; says what the layout must be.
    """
    names = sorted(entry.name for entry in folder.iterdir() if _is_open_folder(entry))
    found = {name: _pictures(folder / name) for name in names}
    if names and set(map(str.lower, names)) <= _PARTS:
        raise UsageError(
            f"data {folder}: has the parts {', '.join(names)}, not classes; name one of them, e.g. "
            f"{folder / names[-1]}"
        )
    if not any(found.values()):
        raise UsageError(
            f"data {folder}: neither labels.csv nor folders of pictures are in it. Put each "
            "class's pictures in a folder of its own (cat/1.jpg, dog/1.jpg), or write labels.csv: "
            "the line file,label, then a line for each picture (1.jpg,0); the label may be left out"
        )
    if empty := [name for name in names if not found[name]]:
        raise UsageError(
            f"data {folder}: folder {empty[0]!r} has no picture, but every folder is a class; "
            "move it away, or list the pictures in labels.csv"
        )
    rows = [
        {"file": str(picture.relative_to(folder)), "label": str(label)}
        for label, name in enumerate(names)
        for picture in found[name]
    ]
    named = ", ".join(f"{label} = {name}" for label, name in enumerate(names[:_MOST_NAMED]))
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    note = f"classes by the names of the folders, in order: {named}{more}"
    return rows, (note.encode("utf-8", "backslashreplace").decode(),)


def _is_open_folder(entry: Path) -> bool:
    return entry.is_dir() and not entry.name.startswith(".")


def _pictures(folder: Path) -> list[Path]:
    """Files under a folder whose suffix is a picture's, in order."""
    known = Image.registered_extensions()
    return sorted(
        Path(where, name)
        for where, _folders, names in os.walk(folder)
        for name in names
        if Path(name).suffix.lower() in known and _is_file(Path(where, name))
    )


def _is_file(place: Path) -> bool:
    """Whether a name is that of a file, and not a folder's.

    Raises:
        UsageError: it is a named pipe or the like, or a link that leads nowhere: a class must not
            lose a picture without a word.
    """
    try:
        mode = place.stat().st_mode
    except OSError as error:
        raise UsageError(f"{place}: cannot be read: {error.strerror}") from error
    if odd := odd_kind(mode):
        raise UsageError(f"{place}: is {odd}; expected a picture, an ordinary file")
    return stat.S_ISREG(mode)

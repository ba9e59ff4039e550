"""A folder of images as data: the pictures, what their classes are, and optionally ``data.toml``.

``labels.csv`` has a header with ``file`` and optionally ``label`` (class, an integer) and
``group``. Without it, each folder inside is a class: their names in order are classes 0, 1, …,
which is torchvision's rule too, and the run says which.

Each picture is read as RGB (or grey, when the model takes one channel), the middle of it is cut out
in the model's aspect ratio, resized (bilinear) to the model's size, and becomes
``(pixel / 255 - mean) / std``. ``data.toml`` gives ``mean`` and ``std``, one number or one for each
channel; without it they are 0 and 1.
"""

import csv
import io
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from harness.errors import UsageError
from harness.host.plain_files import open_plain, read_plain
from harness.model import Model
from harness.sources.class_folders import class_folders
from harness.sources.dataset import Dataset

_COLUMNS = {"file", "label", "group"}
_MOST_TABLE_BYTES = 256 << 20


@dataclass(frozen=True)
class _Shape:
    channels: int
    height: int
    width: int
    channels_last: bool


def load_images(folder: Path, model: Model) -> Dataset:
    """Read a folder of images for a model with one image input (NCHW, or NHWC in a ``.tflite``).

    Raises:
        UsageError: the classes are not told, a row, a picture or ``data.toml`` is broken, or the
            model takes no image.
    """
    shape = _image_shape(model)
    table = folder / "labels.csv"
    rows, named = (_read_rows(table), ()) if table.exists() else class_folders(folder)
    mean, std, notes = _normalization(folder / "data.toml", shape.channels)
    arrays = [_read_image(folder, row["file"], shape, mean, std) for row in rows]
    labels = _column(rows, "label")
    groups = _column(rows, "group")
    try:
        classes = None if labels is None else np.array([int(label) for label in labels])
    except ValueError as error:
        raise UsageError(
            f"{folder / 'labels.csv'}: a label is not an integer: {error}; classes are 0, 1, …"
        ) from error
    return Dataset(
        inputs=(np.stack(arrays),),
        labels=classes,
        groups=None if groups is None else np.array(groups),
        notes=(*notes, *named),
    )


def _image_shape(model: Model) -> _Shape:
    shape = model.inputs[0].shape if len(model.inputs) == 1 else ()
    if len(shape) == 4 and shape[1] in {1, 3}:
        return _Shape(shape[1], shape[2], shape[3], channels_last=False)
    if len(shape) == 4 and shape[3] in {1, 3}:
        return _Shape(shape[3], shape[1], shape[2], channels_last=True)
    raise UsageError(
        f"{model.reference}: a folder of images needs a model with one input of 1 or 3 channels; "
        f"it takes {', '.join(str(wanted.shape) for wanted in model.inputs)}"
    )


def _read_rows(path: Path) -> list[dict[str, str]]:
    try:
        text = read_plain(path, _MOST_TABLE_BYTES).decode("utf-8-sig")
        reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
        columns = set(reader.fieldnames or ())
        if "file" not in columns or not columns <= _COLUMNS:
            raise UsageError(
                f"{path}: columns are {', '.join(sorted(columns)) or '(none)'}; "
                "expected file and optionally label, group"
            )
        rows = list(reader)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: not a CSV file: {error}") from error
    for number, row in enumerate(rows, start=2):
        if None in row or None in row.values():
            raise UsageError(f"{path}: line {number}: expected {len(columns)} values")
    if not rows:
        raise UsageError(f"{path}: lists no image")
    return rows


def _column(rows: list[dict[str, str]], name: str) -> list[str] | None:
    return [row[name] for row in rows] if name in rows[0] else None


def _normalization(
    path: Path, channels: int
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], tuple[str, ...]]:
    """(channels,) mean and std, and a note when they are only the defaults."""
    if not path.exists():
        note = "pixels were scaled to 0..1 only; give mean and std in data.toml if the model needs"
        return np.zeros(channels, np.float32), np.ones(channels, np.float32), (note,)
    try:
        values = tomllib.loads(read_plain(path).decode())
        if unknown := values.keys() - {"mean", "std"}:
            raise ValueError(f"unknown key {sorted(unknown)[0]!r}; known: mean, std")
        mean, std = (
            np.broadcast_to(np.asarray(values.get(key, default), np.float32), (channels,))
            for key, default in (("mean", 0.0), ("std", 1.0))
        )
        if not (np.isfinite(mean).all() and np.isfinite(std).all() and (std > 0).all()):
            raise ValueError("mean and std must be finite, and std positive")
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, TypeError) as error:  # TOMLDecodeError is a ValueError
        raise UsageError(f"{path}: {error}") from error
    return mean, std, ()


def _read_image(
    folder: Path, name: str, shape: _Shape, mean: npt.NDArray[Any], std: npt.NDArray[Any]
) -> npt.NDArray[np.float32]:
    path = folder / name
    try:
        with open_plain(path) as stream, Image.open(stream) as opened:
            picture = ImageOps.exif_transpose(opened).convert("L" if shape.channels == 1 else "RGB")
        fitted = ImageOps.fit(picture, (shape.width, shape.height), Image.Resampling.BILINEAR)
    except FileNotFoundError as error:
        raise UsageError(f"{folder / 'labels.csv'}: no such image: {name}") from error
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        said = (error.strerror if isinstance(error, OSError) else None) or error
        raise UsageError(f"{path}: not a readable image: {said}") from error
    pixels = np.asarray(fitted, np.float32).reshape(shape.height, shape.width, shape.channels)
    x = ((pixels / np.float32(255)) - mean) / std
    return x if shape.channels_last else np.ascontiguousarray(x.transpose(2, 0, 1))

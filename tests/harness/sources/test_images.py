"""A folder of images as data."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.errors import UsageError
from harness.model import Model, ModelInput
from harness.sources.data import load_data


def taking(*shape: int) -> Model:
    return Model("m", "m", "0" * 64, (ModelInput(shape, "float32"),))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two pictures of 8x4: red with a blue left quarter, and grey."""
    pixels = np.zeros((4, 8, 3), np.uint8)
    pixels[..., 0] = 255
    pixels[:, :2] = (0, 0, 255)
    Image.fromarray(pixels).save(tmp_path / "red.png")
    Image.new("L", (8, 4), 51).save(tmp_path / "grey.png")
    (tmp_path / "labels.csv").write_text("file,label,group\nred.png,3,a\ngrey.png,0,b\n")
    return tmp_path


def test_pictures_are_cropped_to_the_models_shape_and_scaled(folder: Path) -> None:
    data = load_data(str(folder), taking(1, 3, 4, 4))
    assert data.inputs[0].shape == (2, 3, 4, 4)
    np.testing.assert_array_equal(
        data.inputs[0][0], np.stack([np.ones((4, 4)), *np.zeros((2, 4, 4))])
    )
    np.testing.assert_allclose(data.inputs[0][1], 0.2)
    assert data.labels is not None
    assert data.labels.tolist() == [3, 0]
    assert data.groups is not None
    assert data.groups.tolist() == ["a", "b"]
    assert "0..1" in data.notes[0]


def test_the_layout_is_the_models(folder: Path) -> None:
    first = load_data(str(folder), taking(1, 3, 2, 4)).inputs[0]
    last = load_data(str(folder), taking(1, 2, 4, 3)).inputs[0]
    np.testing.assert_array_equal(np.moveaxis(last, -1, 1), first)
    assert load_data(str(folder), taking(1, 1, 4, 4)).inputs[0].shape == (2, 1, 4, 4)


def test_normalization_comes_from_data_toml(folder: Path) -> None:
    (folder / "data.toml").write_text("mean = [0.5, 0.2, 0.0]\nstd = 0.5\n")
    data = load_data(str(folder), taking(1, 3, 4, 4))
    np.testing.assert_allclose(data.inputs[0][1][:, 0, 0], [-0.6, 0.0, 0.4], atol=1e-6)
    assert data.notes == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mean = [1, 2]", "broadcast"),
        ("std = 0", "std positive"),
        ("mean = 'x'", r"data\.toml"),
        ("norm = 1", "unknown key 'norm'; known: mean, std"),
        ("mean = ", r"data\.toml"),
    ],
)
def test_a_broken_data_toml_is_named(folder: Path, text: str, message: str) -> None:
    (folder / "data.toml").write_text(text)
    with pytest.raises(UsageError, match=message):
        load_data(str(folder), taking(1, 3, 4, 4))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name\nred.png\n", "columns are name; expected file and optionally label, group"),
        ("", r"columns are \(none\)"),
        ("file\n", "lists no image"),
        ("file,label\nred.png\n", "line 2: expected 2 values"),
        ("file,label\nred.png,cat\n", "a label is not an integer: .*'cat'"),
        ("file\nabsent.png\n", r"no such image: absent\.png"),
        ("file\nlabels.csv\n", r"labels\.csv: not a readable image"),
        ("file,label\nred.png,-1\n", "sample 0: -1 is < 0"),
    ],
)
def test_a_broken_table_is_named(folder: Path, text: str, message: str) -> None:
    (folder / "labels.csv").write_text(text)
    with pytest.raises(UsageError, match=message):
        load_data(str(folder), taking(1, 3, 4, 4))


def test_a_table_is_needed_and_a_model_of_images(folder: Path) -> None:
    with pytest.raises(UsageError, match="needs a model with one input of 1 or 3 channels"):
        load_data(str(folder), taking(1, 12))
    (folder / "labels.csv").unlink()
    with pytest.raises(UsageError, match=r"neither labels\.csv nor folders .*file,label"):
        load_data(str(folder), taking(1, 3, 4, 4))


@pytest.fixture
def classes(tmp_path: Path) -> Path:
    """Three pictures in folders: cat has one, dog has two, one of them further inside."""
    for place, grey in (("dog/b.png", 255), ("cat/a.JPG", 0), ("dog/more/c.png", 51)):
        path = tmp_path / "pets" / place
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4), grey).save(path)
    (tmp_path / "pets/dog/notes.txt").write_text("not a picture")
    (tmp_path / "pets/.cache").mkdir()
    return tmp_path / "pets"


def test_folders_are_classes_in_the_order_of_their_names(classes: Path) -> None:
    data = load_data(str(classes), taking(1, 1, 4, 4))
    assert data.labels is not None
    assert data.labels.tolist() == [0, 1, 1]
    np.testing.assert_allclose(data.inputs[0][:, 0, 0, 0], [0, 1, 0.2], atol=1e-6)
    assert data.notes[-1].endswith("in order: 0 = cat, 1 = dog")


def test_folders_that_are_no_classes_are_told(classes: Path, tmp_path: Path) -> None:
    (classes / "empty").mkdir()
    with pytest.raises(UsageError, match="folder 'empty' has no picture"):
        load_data(str(classes), taking(1, 1, 4, 4))
    (classes / "empty").rmdir()
    (tmp_path / "all").mkdir()
    classes.rename(tmp_path / "all" / "train")
    with pytest.raises(UsageError, match="has the parts train, not classes; name one of them"):
        load_data(str(tmp_path / "all"), taking(1, 1, 4, 4))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (os.mkfifo, "is a named pipe"),
        (lambda path: path.symlink_to("/dev/zero"), "is a device"),
        (lambda path: path.symlink_to("/dev/tty"), "is a device"),
        (lambda path: path.symlink_to("nowhere"), "cannot be read: No such file"),
        (lambda path: path.symlink_to(path), "cannot be read: "),
        (lambda path: socket.socket(socket.AF_UNIX).bind(str(path)), "is a socket"),
        (lambda path: path.open("wb").truncate(1 << 40), "not a readable image"),
    ],
)
def test_a_picture_of_a_class_that_is_none_ends_at_once(
    classes: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], object], said: str
) -> None:
    monkeypatch.chdir(classes)  # a socket's name must be short
    make(Path("cat/odd.png"))
    with pytest.raises(UsageError, match=f"odd.png: {said}"):
        load_data(str(classes), taking(1, 1, 4, 4))


def test_a_decompression_bomb_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with pytest.raises(UsageError, match=r"not a readable image: .*decompression bomb"):
        load_data(str(folder), taking(1, 3, 4, 4))

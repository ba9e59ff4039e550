"""Names that stand for a pipe, a device or a socket are refused; nobody waits for them."""

import os
import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from farm.nightly.plan import load_plan
from farm.toml_file import read_text
from harness.artifact import load_artifact, sha256_file
from harness.emulator.formats.model_content import read_content
from harness.emulator.formats.model_file import format_of_file
from harness.errors import HarnessError, UsageError
from harness.host.plain_files import open_plain, read_plain
from harness.judge.limits import load_limits
from harness.model import Model, ModelInput
from harness.recipe import load_recipe
from harness.records import load_run
from harness.sources.data import parse_data
from harness.sources.images import load_images
from harness.sources.models import parse_model
from harness.sources.npz import read_npz

IMAGE_MODEL = Model("net", "net", "", (ModelInput((1, 3, 4, 4), "float32"),))


def fifo(path: Path) -> None:
    os.mkfifo(path)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def terminal(path: Path) -> None:
    path.symlink_to("/dev/tty")


def listening(path: Path) -> None:
    folder = os.open(path.parent, os.O_PATH)  # a socket's path has to be short
    try:
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(f"/proc/self/fd/{folder}/{path.name}")
    finally:
        os.close(folder)


KINDS = [(fifo, "a named pipe"), (device, "a device"), (terminal, "a device")]
READERS: list[tuple[str, Callable[[Path], object]]] = [
    ("limits.toml", load_limits),
    ("recipe.json", lambda path: load_recipe(str(path))),
    ("farm.toml", read_text),
    ("nightly.toml", load_plan),
    ("run.json", load_run),
    ("m.tflite.json", lambda path: load_artifact(path.with_suffix(""))),
    ("m.tflite", lambda path: parse_model(str(path))),
    ("m.pt2", lambda path: parse_model(str(path))),
    ("net.py", lambda path: parse_model(f"{path}:model")),
    ("m.tflite", format_of_file),
    ("m.pte", read_content),
    ("data.npz", lambda path: parse_data(str(path))),
    ("data.npz", read_npz),
    ("data", lambda path: parse_data(str(path))),
    ("source.py", lambda path: parse_data(f"{path}:batches")),
    ("labels.csv", lambda path: load_images(path.parent, IMAGE_MODEL)),
    ("data.toml", lambda path: load_images(path.parent, IMAGE_MODEL)),
    ("0.png", lambda path: load_images(path.parent, IMAGE_MODEL)),
]


@pytest.mark.parametrize(("make", "said"), [*KINDS, (listening, "a socket")])
@pytest.mark.parametrize(("name", "read"), READERS)
def test_only_ordinary_files_are_read(
    tmp_path: Path,
    make: Callable[[Path], None],
    said: str,
    name: str,
    read: Callable[[Path], object],
) -> None:
    if name in {"data.toml", "0.png"}:
        (tmp_path / "labels.csv").write_text("file,label\n0.png,0\n")
    make(tmp_path / name)
    with pytest.raises(HarnessError, match=said if name != "nightly.toml" else f"{said}|no such"):
        read(tmp_path / name)


def test_a_picture_that_is_named_from_elsewhere_is_looked_at_too(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("file,label\n/dev/zero,0\n")
    with pytest.raises(UsageError, match="is a device"):
        load_images(tmp_path, IMAGE_MODEL)


def test_an_ordinary_folder_of_images_is_read_as_before(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_bytes(b"\xef\xbb\xbffile,label\r\n0.png,1\r\n")
    (tmp_path / "data.toml").write_bytes(b"mean = 0.5\r\nstd = 0.5\r\n")
    Image.new("RGB", (4, 4), (255, 255, 255)).save(tmp_path / "0.png")
    found = load_images(tmp_path, IMAGE_MODEL)
    assert found.labels is not None
    assert found.labels.tolist() == [1]
    assert np.array_equal(found.inputs[0], np.ones((1, 3, 4, 4), np.float32))


def test_what_took_a_files_place_meanwhile_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ordinary = tmp_path / "file"
    ordinary.write_text("x")
    status = ordinary.stat()
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.setattr(Path, "stat", lambda _self: status)
    with pytest.raises(OSError, match="a named pipe"):
        open_plain(tmp_path / "pipe")


def test_no_more_is_read_than_was_expected(tmp_path: Path) -> None:
    with (tmp_path / "limits.toml").open("wb") as stream:
        stream.truncate(1 << 40)  # takes no room
    with pytest.raises(UsageError, match="more than 16777216 bytes"):
        load_limits(tmp_path / "limits.toml")
    (tmp_path / "small").write_bytes(b"abc")
    assert read_plain(tmp_path / "small", 3) == b"abc"
    with pytest.raises(OSError, match="more than 2 bytes"):
        read_plain(tmp_path / "small", 2)


def test_a_digest_waits_for_nobody(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="a named pipe"):
        sha256_file(tmp_path / "pipe")
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


def test_the_command_does_not_wait_either(tmp_path: Path) -> None:
    """In a process of its own, so that a wait would be seen; nobody ever writes to the pipe."""
    os.mkfifo(tmp_path / "m.tflite")
    ended = subprocess.run(
        [sys.executable, "-m", "harness.cli", "emulate", "m.tflite", "--profile", "litert-ref",
         "--inputs", "m.tflite", "--out", "out.npz"],
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert ended.returncode == 2
    assert "is a named pipe" in ended.stderr

"""The empty library: the system's own loader and tools judge it."""

import ctypes
import subprocess
from pathlib import Path

import pytest

from targets.hexagon.elf import empty_shared_object


def test_the_loader_opens_it(tmp_path: Path) -> None:
    path = tmp_path / "libNothing.so"
    path.write_bytes(empty_shared_object(path.name))
    library = ctypes.CDLL(str(path))
    with pytest.raises(AttributeError):
        _ = library.anything


def test_it_has_its_soname(tmp_path: Path) -> None:
    path = tmp_path / "x.so"
    path.write_bytes(empty_shared_object("libQnnLpai.so"))
    shown = subprocess.run(["readelf", "-d", path], capture_output=True, text=True, check=True)
    assert "SONAME" in shown.stdout
    assert "[libQnnLpai.so]" in shown.stdout
    assert not shown.stderr

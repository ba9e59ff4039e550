"""What killed processes leave in the temporary folder goes, and nothing else does."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from harness.host.scratch import remove_abandoned, scratch_folder

HOLDS = """
import time
from harness.host.scratch import scratch_folder
with scratch_folder() as folder:
    (folder / "inside").mkdir()
    (folder / "inside" / "file").touch()
    print(folder, flush=True)
    time.sleep(600)
"""
LONG_AGO = 1_000_000_000


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


def test_it_is_private_and_goes_at_the_end() -> None:
    with pytest.raises(ZeroDivisionError), scratch_folder() as folder:  # noqa: PT012  the body raises
        assert folder.stat().st_mode & 0o777 == 0o700
        (folder / "file").touch()
        raise ZeroDivisionError
    assert not folder.exists()


def test_a_killed_owners_folder_goes_and_a_living_ones_stays(temporary: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", HOLDS], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    folder = Path(child.stdout.readline().strip())
    with child.stdout:
        assert folder.parent == temporary
        os.utime(folder, (LONG_AGO, LONG_AGO))
        assert remove_abandoned() == 0
        child.kill()
        child.wait()
    with scratch_folder() as ours:
        os.utime(ours, (LONG_AGO, LONG_AGO))
        assert remove_abandoned() == 1
        assert list(temporary.iterdir()) == [ours]


def test_what_is_young_not_ours_or_a_link_stays(temporary: Path) -> None:
    kept = temporary / "kept"
    names = ("edgefarm-scratch-young", "edgefarm-scratch-theirs", "edgefarm-else", "kept")
    for name in names:
        (temporary / name).mkdir()
        if not name.endswith("young"):
            os.utime(temporary / name, (LONG_AGO, LONG_AGO))
    if os.getuid() == 0:
        os.chown(temporary / "edgefarm-scratch-theirs", 65534, 65534)
    else:
        (temporary / "edgefarm-scratch-theirs").rmdir()
    (temporary / "edgefarm-scratch-link").symlink_to(kept)
    (temporary / "edgefarm-scratch-file").touch()
    before = set(temporary.iterdir())
    assert remove_abandoned() == 0
    assert set(temporary.iterdir()) == before

"""A request's digests: of what a submitter named, if it can be read at all."""

import os
from pathlib import Path

import pytest

from farm.inventory import load_inventory
from harness.errors import UsageError
from tests.farm.jobs_in import request


@pytest.mark.parametrize("digest", ["content", "preparation"])
def test_what_cannot_be_read_in_a_folder_is_named(tmp_path: Path, digest: str) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "a.png").symlink_to("nowhere")
    (tmp_path / "b.png").touch()
    asked = request(data=str(tmp_path))
    with pytest.raises(UsageError, match=r"a\.png: cannot be read: No such file"):
        getattr(asked, digest)()
    (tmp_path / "more" / "a.png").unlink()
    assert getattr(asked, digest)()


def test_an_inventory_that_is_no_file_is_told(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "farm.toml")
    with pytest.raises(UsageError) as told:
        load_inventory(tmp_path / "farm.toml")
    assert str(told.value) == (
        f"{tmp_path / 'farm.toml'}: cannot be read: is a named pipe; expected an ordinary file"
    )

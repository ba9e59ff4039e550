"""The cache by content: entries appear whole or not at all."""

import os
import time
from pathlib import Path

import pytest

from harness.host.cache import Cache, cache_folder, content_key


def test_an_entry_appears_when_it_is_whole(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    key = content_key({"a": 1})
    with cache.fill("things", key) as folder:
        (folder / "file").write_text("content")
        assert not cache.entry("things", key).exists()
    assert (cache.entry("things", key) / "file").read_text() == "content"


def test_a_failed_entry_leaves_nothing(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    with pytest.raises(RuntimeError), cache.fill("things", "k") as folder:  # noqa: PT012  the block is what fails
        (folder / "file").touch()
        raise RuntimeError
    assert list((tmp_path / "things").iterdir()) == []


def test_the_first_of_two_that_fill_the_same_entry_stays(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    with cache.fill("things", "k") as slow:
        (slow / "file").write_text("slow")
        with cache.fill("things", "k") as quick:
            (quick / "file").write_text("quick")
    assert (cache.entry("things", "k") / "file").read_text() == "quick"
    assert len(list((tmp_path / "things").iterdir())) == 1


def test_keys_depend_on_values_not_on_order() -> None:
    assert content_key({"a": 1, "b": 2}) == content_key({"b": 2, "a": 1})
    assert content_key({"a": 1}) != content_key({"a": 2})


def test_the_folder_can_be_chosen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EDGEFARM_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path


def test_what_a_killed_process_left_is_cleared_after_a_day(tmp_path: Path) -> None:
    for name, age_s in (("old", 90_000), ("new", 60)):
        folder = tmp_path / "things" / f".filling-{name}"
        folder.mkdir(parents=True)
        os.utime(folder, (time.time() - age_s,) * 2)
    with Cache(tmp_path).fill("things", "k"):
        pass
    assert sorted(path.name for path in (tmp_path / "things").iterdir()) == [".filling-new", "k"]

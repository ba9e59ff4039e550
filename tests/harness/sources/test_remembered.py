"""What is known of a model is taken from the cache only where nothing else can have changed it."""

from pathlib import Path

import pytest

from harness.model import Model, ModelInput
from harness.sources.references import Reference
from harness.sources.remembered import remembered

ZOO = Reference("zoo", None, "digits-cnn")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EDGEFARM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


class Describing:
    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> Model:
        self.count += 1
        return Model("first", "first", "f" * 64, (ModelInput((1, 2), "float32"),))


def test_a_model_of_the_zoo_is_described_once(cache: Path) -> None:
    describe = Describing()
    first, again = (remembered(text, ZOO, describe) for text in ("first", "again"))
    assert describe.count == 1
    assert (first.reference, again.reference) == ("first", "again")
    assert again.inputs == first.inputs
    [kept] = cache.glob("models/*/model.json")
    kept.write_text("{}")
    remembered("first", ZOO, describe)
    assert describe.count == 2


def test_a_program_is_known_by_its_content(tmp_path: Path) -> None:
    file, describe = tmp_path / "net.pt2", Describing()
    file.write_bytes(b"one")
    for _ in range(2):
        remembered("net.pt2", Reference(".pt2", file), describe)
    assert describe.count == 1
    file.write_bytes(b"two")
    remembered("net.pt2", Reference(".pt2", file), describe)
    assert describe.count == 2


def test_a_python_file_may_give_another_model_each_time(tmp_path: Path) -> None:
    describe = Describing()
    for _ in range(2):
        remembered("net.py:f", Reference("python", tmp_path / "net.py", "f"), describe)
    assert describe.count == 2

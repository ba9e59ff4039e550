"""Files that leave sizes open get them by name; what does not fit is refused by name."""

from pathlib import Path

import numpy as np
import pytest

from harness.emulator.formats.tflite import read_tflite
from harness.errors import ModelError, UsageError
from harness.host.cache import Cache
from harness.model import Model, ModelInput
from harness.sources.data import check
from harness.sources.dataset import Dataset
from harness.sources.open_shapes import open_hint, parse_shapes, with_shapes
from tests.oracle.control import invoke, open_shapes
from tests.oracle.models import conv


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cache:
    monkeypatch.setenv("EDGEFARM_CACHE", str(tmp_path / "cache"))
    return Cache(tmp_path / "cache")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "open.tflite"
    path.write_bytes(open_shapes())
    return path


def test_every_size_follows_and_the_numbers_are_the_resized_ones(file: Path, cache: Cache) -> None:
    fixed = with_shapes(file, ["in0=2,6,5,3"], cache)
    assert fixed.name == file.name
    graph = read_tflite(fixed).main
    assert [t.shape for t in graph.tensors if t.data is None] == [
        (2, 6, 5, 3), (2, 6, 5, 8), (2, 8), (2, 5),
    ]  # fmt: skip
    assert not any(tensor.free_axes for tensor in graph.tensors)
    x = np.random.default_rng(0).integers(-128, 128, (2, 6, 5, 3), np.int8)
    [[got]] = invoke(fixed.read_bytes(), [[x]])
    [[resized]] = invoke(file.read_bytes(), [[x]])
    np.testing.assert_array_equal(got, resized)
    assert with_shapes(file, [], cache) == file


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            ["in0=2,6,5,4"],
            r"open\.tflite: in0 \('t0'\) takes \?,\?,\?,3, \? being open; got",
        ),
        (["in0=6,5,3"], r"takes \?,\?,\?,3"),
        (["in1=1,1,1,3"], r"has 1 inputs, no in1"),
        (["in0=1,x,1,3"], r"--shape in0=1,x,1,3: expected e\.g\. in0=1,224,224,3"),
        (["1,2"], "expected e"),
        (["in0=0,1,1,3"], "at least 1"),
        (["in0=1,1,1,3", "in0=1,2,2,3"], "given before"),
    ],
)
def test_what_does_not_fit_is_refused(
    file: Path, cache: Cache, given: list[str], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        with_shapes(file, given, cache)


def test_only_open_files_have_shapes_to_give(tmp_path: Path, cache: Cache) -> None:
    closed = tmp_path / "closed.tflite"
    closed.write_bytes(conv(shape=(1, 6, 6, 3), channels=2).data)
    with pytest.raises(UsageError, match="takes 1,6,6,3"):
        with_shapes(closed, ["in0=1,8,8,3"], cache)
    with pytest.raises(UsageError, match=r"is for \.tflite files"):
        with_shapes(tmp_path / "model.pte", ["in0=1,8,8,3"], cache)
    assert open_hint(closed) == open_hint(tmp_path / "absent.tflite") == ""


def test_sizes_that_the_model_cannot_have_are_the_models_fault(
    tmp_path: Path, cache: Cache
) -> None:
    path = tmp_path / "open.tflite"
    path.write_bytes(open_shapes(free=[1, 2, 3]))
    with pytest.raises(ModelError, match=r"open\.tflite: cannot have these sizes: "):
        with_shapes(path, ["in0=1,6,6,7"], cache)


def test_the_hint_names_the_file_the_input_and_the_option(file: Path) -> None:
    said = open_hint(file)
    assert "open.tflite leaves sizes of in0 ('t0') open, which takes ?,?,?,3" in said
    assert "--shape in0=1,224,224,3" in said
    model = Model(
        "m", "m", "0" * 64, (ModelInput((1, 1, 1, 3), "int8", True, free_axes=(0, 1, 2)),)
    )
    with pytest.raises(UsageError, match=r"leaves these sizes open: .* --shape in0=1,6,5,3"):
        check(Dataset((np.zeros((4, 6, 5, 3), np.int8),)), model, "x.npz")
    assert parse_shapes(["in0=1,6,5,3", "in12=4"]) == {0: (1, 6, 5, 3), 12: (4,)}

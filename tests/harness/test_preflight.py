"""What is told before minutes of work; each of these would have been found after the run."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from harness.device import Device
from harness.errors import UsageError
from harness.judge.limits import AccuracyLimits, Limits
from harness.model import Model, ModelInput, ModelOutput
from harness.preflight import check_choices, check_labels
from harness.recipe import RECIPES
from harness.sources.dataset import Dataset
from targets import get_target

HOST = get_target("host-litert")
INT8 = RECIPES["static_wi8_ai8"]


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("net.py", "net.tflite", "data.npz"):
        Path(name).touch()


def test_right_choices_pass() -> None:
    check_choices(HOST, "net.py:make", "data.npz", INT8)
    check_choices(HOST, "net.tflite", None, None, device=Device("here", "local", ("host-litert",)))


@pytest.mark.parametrize(
    ("model", "data", "message"),
    [
        ("absent.py:make", "data.npz", r"absent\.py"),
        ("net.py:make", "absent.npz", r"absent\.npz"),
    ],
)
def test_references_are_looked_at_first(model: str, data: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        check_choices(HOST, model, data, INT8)


def test_recipe_chip_and_device_must_be_the_targets() -> None:
    other, recipe = get_target("host-executorch"), RECIPES["static_wi8_ai16"]
    with pytest.raises(UsageError, match="does not take recipe static_wi8_ai16"):
        check_choices(other, "net.py:make", "data.npz", recipe)
    with pytest.raises(UsageError, match="leave out --soc SM8650"):
        check_choices(HOST, "net.py:make", "data.npz", INT8, soc="SM8650")
    with pytest.raises(UsageError, match="device pi does not run host-litert; it runs: x"):
        check_choices(HOST, "net.py:make", None, INT8, device=Device("pi", "local", ("x",)))


def test_a_package_that_is_missing_is_named_with_its_extra() -> None:
    lacking = replace(HOST, needs=("litert", "torch", "no_such_package"))
    with pytest.raises(UsageError, match=r"no_such_package; .*edgefarm\[litert\]"):
        check_choices(lacking, "net.py:make", "data.npz", INT8)
    check_choices(HOST, "net.tflite", "data.npz", None)  # nothing is converted


def model(*outputs: tuple[int, ...]) -> Model:
    described = tuple(ModelOutput(f"out{i}", x, "float32") for i, x in enumerate(outputs))
    return Model("m", "m", "0" * 64, (ModelInput((1, 3), "float32"),), outputs=described)


def labelled(*labels: int) -> Dataset:
    return Dataset((np.zeros((len(labels), 3), np.float32),), np.array(labels))


def test_labels_are_classes_of_the_model() -> None:
    check_labels(labelled(0, 9), model((1, 10)), Limits(), "x.npz")
    with pytest.raises(UsageError, match=r"labels: class 11 of sample 1 .* 10 classes \(0 to 9"):
        check_labels(labelled(0, 11), model((1, 10)), Limits(), "x.npz")
    with pytest.raises(UsageError, match="1000 classes"):
        check_labels(labelled(1000), model((1, 1000, 1, 1)), Limits(), "x.npz")


def test_any_output_may_hold_the_classes() -> None:
    check_labels(labelled(0, 11), model((1, 4), (1, 20)), Limits(), "x.npz")
    with pytest.raises(UsageError, match=r"labels: class 11"):
        check_labels(labelled(0, 11), model((1, 4), (1, 1), (1, 4, 8, 8)), Limits(), "x.npz")


@pytest.mark.parametrize("name", ["min_top1", "min_top5", "max_drop_vs_float"])
def test_a_limit_on_labels_needs_labels(name: str) -> None:
    limits = Limits(accuracy=AccuracyLimits(**{name: 0.5}))
    with pytest.raises(UsageError, match=rf"accuracy\.{name} needs labels, and x\.npz has none"):
        check_labels(Dataset((np.zeros((2, 3)),)), model((1, 10)), limits, "x.npz")
    check_labels(labelled(0), model((1, 10)), limits, "x.npz")

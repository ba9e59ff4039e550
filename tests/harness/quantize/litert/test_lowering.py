"""Lowering to LiteRT, with the real converter, quantizer and runtime."""

import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from harness.artifact import Artifact, load_artifact
from harness.errors import UsageError
from harness.host.cache import Cache
from harness.model import Model
from harness.quantize.lower import lower
from harness.recipe import RECIPES, Recipe, Scheme
from harness.sources.models import open_model
from harness.sources.split import Split
from tests.harness.quantize.conftest import run
from tests.harness.quantize.targets import EXECUTORCH, LITERT

pytestmark = pytest.mark.slow

BOUNDARY = {
    "float": "float32",
    "dynamic_wi8_afp32": "float32",
    "weight_only_wi8_afp32": "float32",
    "static_wi8_ai8": "int8",
    "static_wi8_ai8_per_tensor": "int8",
    "static_wi8_ai16": "int16",
}


def operators(path: Path) -> Counter[str]:
    names = {value: name for name, value in vars(schema.BuiltinOperator).items() if name.isupper()}
    model = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
    return Counter(
        names[model.operatorCodes[op.opcodeIndex].builtinCode]
        for op in model.subgraphs[0].operators
    )


def weight_scales(artifact: Artifact) -> list[int]:
    """How many scales the weights of each convolution have."""
    model = schema.ModelT.InitFromPackedBuf(artifact.path.read_bytes(), 0)
    graph = model.subgraphs[0]
    return [
        len(graph.tensors[op.inputs[1]].quantization.scale)
        for op in graph.operators
        if model.operatorCodes[op.opcodeIndex].builtinCode == schema.BuiltinOperator.CONV_2D
    ]


@pytest.mark.parametrize("recipe", list(RECIPES))
def test_every_recipe_keeps_the_accuracy_of_the_digits(
    recipe: str, digits: Model, digits_data: Split, cache: Cache
) -> None:
    artifact = lower(LITERT, digits, RECIPES[recipe], digits_data.calibration, cache=cache)

    manifest = artifact.manifest
    assert [spec.dtype for spec in (*manifest.inputs, *manifest.outputs)] == [BOUNDARY[recipe]] * 2
    assert manifest.inputs[0].shape == (1, 8, 8, 1)
    assert manifest.inputs[0].permutation == (0, 2, 3, 1)
    assert manifest.notes == ()
    assert (manifest.recipe, manifest.target) == (recipe, "test-litert")
    assert manifest.tool_versions["litert-quantizer"]
    assert load_artifact(artifact.path) == artifact
    if recipe.startswith("static"):
        assert not {"QUANTIZE", "DEQUANTIZE"} & operators(artifact.path).keys()

    classes = run(artifact, digits_data.evaluation[0][:100]).argmax(axis=1)
    assert digits_data.labels is not None
    assert (classes == digits_data.labels[:100]).mean() >= 0.97


def test_granularity_is_that_of_the_recipe(digits: Model, digits_data: Split, cache: Cache) -> None:
    by_channel, by_tensor = (
        lower(LITERT, digits, RECIPES[name], digits_data.calibration, cache=cache)
        for name in ("static_wi8_ai8", "static_wi8_ai8_per_tensor")
    )
    assert min(weight_scales(by_channel)) > 1
    assert set(weight_scales(by_tensor)) == {1}


def test_ranges_do_not_depend_on_the_order_of_the_samples(
    digits: Model, digits_data: Split, cache: Cache
) -> None:
    recipe = RECIPES["static_wi8_ai8"]
    forward = digits_data.calibration
    backward = tuple(x[::-1] for x in forward)
    one = lower(LITERT, digits, recipe, forward, cache=cache)
    other = lower(LITERT, digits, recipe, backward, cache=cache)
    assert one.path != other.path
    assert one.manifest.sha256 == other.manifest.sha256


def test_what_is_in_the_cache_is_not_made_again(
    digits: Model, digits_data: Split, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = RECIPES["dynamic_wi8_afp32"]
    made = lower(LITERT, digits, recipe, digits_data.calibration, cache=cache)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("nothing may be lowered")

    monkeypatch.setattr("harness.quantize.lower.run_isolated", refuse)
    assert lower(LITERT, digits, recipe, digits_data.calibration, cache=cache) == made
    second = lower(
        replace(LITERT, name="second"), digits, recipe, digits_data.calibration, cache=cache
    )
    assert second.manifest == replace(made.manifest, target="second")
    assert load_artifact(second.path) == second
    with pytest.raises(AssertionError, match="nothing may be lowered"):
        lower(
            LITERT, digits, RECIPES["static_wi8_ai8"], (np.zeros((1, 1, 8, 8), "f4"),), cache=cache
        )


TWO_INPUTS = """
import torch

class Both(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 4, 3)

    def forward(self, row, image, other):
        mixed = self.conv(image) + row[:, :4, None, None] - self.conv(other)
        return mixed.amax((2, 3)), mixed

def make():
    torch.manual_seed(0)
    return Both(), (torch.zeros(1, 5), torch.zeros(1, 3, 6, 7), torch.zeros(1, 3, 6, 7))
"""


def test_several_inputs_and_outputs_keep_their_order_and_layout(
    tmp_path: Path, cache: Cache
) -> None:
    (tmp_path / "both.py").write_text(TWO_INPUTS)
    model = open_model(f"{tmp_path / 'both.py'}:make")
    rng = np.random.default_rng(0)
    samples = tuple(
        rng.normal(size=(4, *wanted.shape[1:])).astype(np.float32) for wanted in model.inputs
    )
    exact = lower(LITERT, model, RECIPES["float"], samples, cache=cache)
    coarse = lower(LITERT, model, RECIPES["static_wi8_ai8"], samples, cache=cache)
    assert [spec.permutation for spec in exact.manifest.inputs] == [
        None,
        (0, 2, 3, 1),
        (0, 2, 3, 1),
    ]
    assert [spec.permutation for spec in exact.manifest.outputs] == [None, (0, 2, 3, 1)]
    expected = run(exact, *samples)
    error = np.abs(run(coarse, *samples) - expected)
    assert error.max() < 0.05 * np.ptp(expected)
    swapped = run(exact, samples[0], samples[2], samples[1])
    assert np.abs(swapped - expected).max() > 0.5


@pytest.mark.parametrize("signed", [True, False])
def test_a_float_tflite_is_quantized(
    signed: bool, tmp_path: Path, digits: Model, digits_data: Split, cache: Cache
) -> None:
    source = lower(LITERT, digits, RECIPES["float"], digits_data.calibration, cache=cache)
    path = tmp_path / "float.tflite"
    shutil.copyfile(source.path, path)
    if not signed:
        drop_signatures(path)
    model = open_model(str(path))
    assert model.inputs[0].shape == (1, 8, 8, 1)
    samples = np.moveaxis(digits_data.calibration[0], 1, -1)
    artifact = lower(LITERT, model, RECIPES["static_wi8_ai8"], (samples,), cache=cache)
    assert artifact.manifest.inputs[0].dtype == "int8"
    assert artifact.manifest.inputs[0].permutation is None


def drop_signatures(path: Path) -> None:
    import flatbuffers

    model = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
    model.signatureDefs = []
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    path.write_bytes(builder.Output())


def test_a_quantized_tflite_passes_through(
    tmp_path: Path, digits: Model, digits_data: Split, cache: Cache
) -> None:
    recipe = RECIPES["static_wi8_ai8"]
    source = lower(LITERT, digits, recipe, digits_data.calibration, cache=cache)
    path = tmp_path / "quantized.tflite"
    shutil.copyfile(source.path, path)
    model = open_model(str(path))
    samples = (np.moveaxis(digits_data.calibration[0], 1, -1),)
    assert model.quantized

    artifact = lower(LITERT, model, None, samples, cache=cache)
    assert artifact.manifest.sha256 == source.manifest.sha256
    assert artifact.manifest.recipe == ""
    assert artifact.manifest.inputs[0].quantization == source.manifest.inputs[0].quantization
    with pytest.raises(UsageError, match="quantized already; leave out the recipe"):
        lower(LITERT, model, recipe, samples, cache=cache)
    with pytest.raises(UsageError, match="or lowers PyTorch models"):
        lower(EXECUTORCH, model, None, samples, cache=cache)


def test_recipes_that_do_not_fit_are_refused(
    digits: Model, digits_data: Split, cache: Cache
) -> None:
    samples = digits_data.calibration
    narrow = replace(LITERT, recipes=("float",))
    with pytest.raises(UsageError, match="does not take recipe static_wi8_ai16; it takes: float"):
        lower(narrow, digits, RECIPES["static_wi8_ai16"], samples, cache=cache)
    with pytest.raises(UsageError, match="name a recipe: float, "):
        lower(LITERT, digits, None, samples, cache=cache)
    odd = Recipe("odd", Scheme("static", 4, 8))
    assert lower(LITERT, digits, odd, samples, cache=cache).manifest.recipe == "odd"


def test_efficientnet_lite0_keeps_its_operators_and_its_accuracy(cache: Cache) -> None:
    """Measured: 18 of 20 photos right in float and in int8."""
    from harness.sources.data import load_data
    from harness.sources.split import split

    model = open_model("zoo:efficientnet-lite0")
    parts = split(load_data("zoo:efficientnet-lite0", model))
    artifact = lower(LITERT, model, RECIPES["static_wi8_ai8"], parts.calibration, cache=cache)
    assert operators(artifact.path) == {
        "CONV_2D": 33,
        "DEPTHWISE_CONV_2D": 16,
        "ADD": 9,
        "MEAN": 1,
        "FULLY_CONNECTED": 1,
    }
    assert artifact.manifest.bytes < 5_500_000
    classes = run(artifact, *parts.evaluation).argmax(axis=1)
    assert parts.labels is not None
    assert (classes == parts.labels).sum() >= 17

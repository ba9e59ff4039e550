"""Lowering to ExecuTorch, with the real exporter, partitioner and runtime."""

from pathlib import Path

import numpy as np
import pytest

from harness.artifact import manifest_path, save_artifact
from harness.errors import ModelError, UsageError
from harness.host.cache import Cache
from harness.host.progress import no_progress
from harness.model import Model
from harness.quantize.checks import check_recipe
from harness.quantize.lower import lower
from harness.quantize.trial import REFERENCE, run_executorch, run_once
from harness.recipe import RECIPES, Recipe, Scheme
from harness.sources.models import open_model
from harness.sources.split import Split
from tests.harness.quantize.conftest import run
from tests.harness.quantize.targets import EXECUTORCH, LITERT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.mark.parametrize("recipe", ["float", "static_wi8_ai8", "dynamic_wi8_afp32"])
def test_recipes_keep_the_accuracy_of_the_digits(
    recipe: str, digits: Model, digits_data: Split, cache: Cache
) -> None:
    artifact = lower(EXECUTORCH, digits, RECIPES[recipe], digits_data.calibration, cache=cache)

    manifest = artifact.manifest
    boundary = "int8" if recipe.startswith("static") else "float32"
    assert [spec.dtype for spec in (*manifest.inputs, *manifest.outputs)] == [boundary] * 2
    assert manifest.inputs[0].shape == (1, 1, 8, 8)
    assert manifest.inputs[0].permutation is None
    if recipe.startswith("dynamic"):
        (note,) = manifest.notes
        assert "4 of 7 layers quantized" in note
        assert "a convolution that pads" in note
    else:
        assert manifest.notes == (), "XNNPACK takes every operator of this model"
    assert manifest.tool_versions["executorch"]
    classes = run(artifact, digits_data.evaluation[0][:100]).argmax(axis=1)
    assert digits_data.labels is not None
    assert (classes == digits_data.labels[:100]).mean() >= 0.97


def test_a_program_that_is_wrong_is_refused(
    digits: Model, digits_data: Split, cache: Cache, tmp_path: Path
) -> None:
    """A lowering may run well and yet be wrong, as XNNPACK's dynamic convolutions were."""
    artifact = lower(
        EXECUTORCH, digits, RECIPES["static_wi8_ai8"], digits_data.calibration, cache=cache
    )
    samples = tmp_path / "samples.npz"
    np.savez(samples, in0=digits_data.calibration[0])
    reference = artifact.path.parent / REFERENCE
    right = np.load(reference)["out0"]
    run_once(run_executorch, artifact, samples, no_progress)
    np.savez(reference, out0=-right)
    try:
        with pytest.raises(ModelError, match=r"digits-cnn, recipe static_wi8_ai8 .*cosine -1"):
            run_once(run_executorch, artifact, samples, no_progress)
    finally:
        np.savez(reference, out0=right)


@pytest.mark.parametrize(
    "recipe",
    [
        RECIPES["weight_only_wi8_afp32"],
        RECIPES["static_wi8_ai16"],
        Recipe("w4", Scheme("static", 4, 8)),
    ],
)
def test_recipes_without_a_counterpart_are_refused(
    recipe: Recipe, digits: Model, digits_data: Split, cache: Cache
) -> None:
    with pytest.raises(UsageError, match=f"recipe {recipe.name}: (XNNPACK|weight_bits 4)"):
        lower(EXECUTORCH, digits, recipe, digits_data.calibration, cache=cache)


def test_a_program_that_was_made_before_is_taken_with_its_manifest(
    digits: Model, digits_data: Split, cache: Cache, tmp_path: Path
) -> None:
    recipe = RECIPES["static_wi8_ai8"]
    made = lower(EXECUTORCH, digits, recipe, digits_data.calibration, cache=cache)
    kept = save_artifact(made, tmp_path)
    again = open_model(str(kept.path))
    assert (again.quantized, again.recipe) == (True, recipe.name)
    assert again.inputs[0].shape == (1, 1, 8, 8)
    assert again.inputs[0].quantized
    one = tuple(x[:1] for x in digits_data.evaluation)
    taken = lower(EXECUTORCH, again, None, one, cache=cache)
    assert taken.manifest.sha256 == made.manifest.sha256
    assert taken.manifest.inputs == made.manifest.inputs
    assert (taken.manifest.recipe, taken.manifest.model) == (recipe.name, str(kept.path))

    with pytest.raises(UsageError, match=r"runs on targets with \.pte files"):
        check_recipe(LITERT, again, None)
    manifest_path(kept.path).unlink()
    with pytest.raises(UsageError, match=r"model\.pte\.json is not beside it.*`edgefarm verify`"):
        open_model(str(kept.path))

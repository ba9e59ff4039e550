"""The step that addresses a cause is one that the target takes, and its command runs as it is."""

import shlex

import pytest

from harness.errors import UsageError
from harness.judge.diagnosis import check_diagnosable
from harness.judge.diagnosis.records import Cause
from harness.judge.diagnosis.remedies import command, remedy
from harness.quantize.checks import check_listed
from harness.quantize.techniques import all_techniques
from harness.recipe import RECIPES, load_recipe
from targets import get_target

CAUSES: tuple[Cause, ...] = (
    "weight-range-ratio",
    "weight-outlier",
    "activation-range-ratio",
    "activation-outlier",
    "clipped",
    "bias-shift",
    "saturated",
    "few-bits",
)


def _remedy(cause: Cause, recipe: str, target: str, of_weights: float = 0.0) -> tuple[str, str]:
    return remedy(
        cause,
        module="block.conv",
        convolution=True,
        of_weights=of_weights,
        recipe=load_recipe(recipe),
        target=get_target(target),
        spelled=recipe,
    )


@pytest.mark.parametrize("target", ["host-litert", "arm-neon-executorch", "edge-tpu"])
@pytest.mark.parametrize("cause", CAUSES)
def test_every_remedy_is_a_recipe_of_the_target(cause: Cause, target: str) -> None:
    for of_weights in (0.0, 1.0):
        step, recipe = _remedy(cause, "static_wi8_ai8", target, of_weights)
        assert step in {*all_techniques(), *RECIPES}
        check_listed(get_target(target), load_recipe(recipe))
        words = shlex.split(command("net.py:model", target, recipe, "data.npz"))
        assert words[words.index("--recipe") + 1] == recipe


def test_a_step_that_is_there_is_not_named_again() -> None:
    first = _remedy("activation-outlier", "static_wi8_ai8", "host-litert")
    assert first == (
        "cross_layer_equalization",
        "static_wi8_ai8 + cross_layer_equalization",
    )
    second, recipe = _remedy("activation-outlier", first[1], "host-litert")
    assert second != first[0]
    assert recipe.startswith(first[1])


def test_what_clips_is_left_out() -> None:
    step, recipe = _remedy(
        "clipped", "static_wi8_ai8 + cross_layer_equalization + percentile(upper=90.0)", "edge-tpu"
    )
    assert (step, recipe) == (
        "without percentile",
        "static_wi8_ai8 + cross_layer_equalization",
    )


def test_one_step_chooses_ranges() -> None:
    _, recipe = _remedy("saturated", "static_wi8_ai8 + percentile(upper=99.9)", "host-litert")
    assert "percentile" not in recipe
    assert " + " in recipe


def test_files_and_float_have_nothing_to_diagnose() -> None:
    with pytest.raises(UsageError, match=r"needs the float model in PyTorch.*its recipe"):
        check_diagnosable("model.tflite", None)
    with pytest.raises(UsageError, match="needs the float model in PyTorch"):
        check_diagnosable("model.pte", RECIPES["static_wi8_ai8"])
    with pytest.raises(UsageError, match="--recipe is missing"):
        check_diagnosable("net.py:model", None)
    with pytest.raises(UsageError, match="quantizes nothing"):
        check_diagnosable("net.py:model", RECIPES["float"])

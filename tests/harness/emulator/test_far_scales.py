"""Scales far apart: nothing is promised exact that the runtime does not compute."""

from collections.abc import Iterator

import pytest

from harness.emulator.formats.tflite import read_tflite
from harness.emulator.interpreter import emulate
from harness.emulator.profiles import get_profile
from tests.oracle.catalogue import draw
from tests.oracle.far_scales import rescaled, subtractions
from tests.oracle.models import Model
from tests.oracle.runtimes import Kernels, Request, run_all

PROFILES: dict[Kernels, str] = {
    "reference": "litert-ref",
    "builtin": "litert-builtin-x86",
    "xnnpack": "litert-xnnpack-x86",
}
FAMILIES = (
    "CONV_2D-int8-pc",
    "CONV_2D-int16-pc",
    "DEPTHWISE_CONV_2D-uint8-pt",
    "FULLY_CONNECTED-int8-pt",
    "FULLY_CONNECTED-int16-pc",
    "TRANSPOSE_CONV-int16",
    "BATCH_MATMUL-int16",
    "SUB-int8",
    "SUB-int16",
    "MUL-int8",
    "MUL-uint8",
    "DIV-int8",
    "RELU-int8",
    "RELU6-uint8",
    "LEAKY_RELU-int16",
    "PRELU-int8",
    "HARD_SWISH-int8",
    "LOGISTIC-int16",
    "SOFTMAX-uint8",
    "MEAN-int8",
    "SUM-uint8",
    "REDUCE_PROD-int16",
    "RSQRT-int8",
    "SQRT-int16",
    "QUANTIZE-int8-int8",
    "QUANTIZE-uint8-int16",
    "QUANTIZE-float32-int16",
)
POWERS = (-40, -29, -20, -12, 12, 20, 29, 40)


def compared(models: list[Model]) -> Iterator[tuple[str, str, bool]]:
    """(model and kernels, promise, whether all is equal) of what the runtime takes."""
    requests = [
        (made, Request(made.data, made.sample(1), kernels, all_tensors=False))
        for made in models
        for kernels in PROFILES
    ]
    for (made, request), answer in zip(
        requests, run_all([request for _, request in requests]), strict=True
    ):
        if answer.error:
            continue
        graph = read_tflite(request.model).main
        found = emulate(graph, get_profile(PROFILES[request.kernels]), request.inputs)
        (output,) = graph.outputs
        expected = found.outputs[0]
        equal = expected is not None and bool((expected == answer.tensors[output]).all())
        yield f"{made.name} {request.kernels}", found.promises[output], equal


@pytest.mark.parametrize("which", ["in", "out"])
def test_what_is_promised_exact_is_equal_however_far_scales_lie_apart(which: str) -> None:
    drawn = [draw(family, 1, seed=5)[0] for family in FAMILIES]
    far = [rescaled(made, power, which) for made in drawn for power in POWERS]  # type: ignore[arg-type]
    results = list(compared([made for made in far if made is not None]))
    assert len(results) > 200
    assert not [name for name, promise, equal in results if promise == "exact" and not equal]
    assert {"exact", "assumed"} <= {promise for _, promise, _ in results}


def test_scales_near_each_other_keep_their_promise() -> None:
    results = list(compared([draw(family, 1, seed=5)[0] for family in FAMILIES]))
    assert {(promise, equal) for _, promise, equal in results} == {("exact", True)}


def test_a_subtraction_to_a_tiny_scale_is_exact() -> None:
    models = [made for _, made in subtractions()]
    results = list(compared(models))
    assert len(results) == len(models) * len(PROFILES) == 108
    loose = {name for name, promise, equal in results if (promise, equal) != ("exact", True)}
    assert all("int16" in name and "reference" not in name for name in loose)
    assert len(loose) <= 12


def test_on_other_machines_a_subtraction_to_a_tiny_scale_is_assumed() -> None:
    _, made = next(subtractions())
    graph = read_tflite(made.data).main
    found = emulate(graph, get_profile("litert-xnnpack-arm@cortex-a76"), made.sample(0))
    assert found.promises[graph.outputs[0]] == "assumed"

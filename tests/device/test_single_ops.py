"""Single ops on virtual boards, where aarch64 computes in float32 or has kernels of its own."""

import numpy as np
import pytest

from farm.transports import connect
from harness.device import Device
from harness.emulator.interpreter import emulate
from harness.emulator.profiles import get_profile
from harness.emulator.tflite import read_tflite
from tests.oracle.catalogue import draw
from tests.oracle.runtimes import Kernels, Request, run_on

pytestmark = pytest.mark.slow

FAMILIES = (
    "ARG_MAX-int8",
    "CONCATENATION-uint8",
    "EQUAL-int8",
    "REDUCE_MAX-int8",
    "REDUCE_PROD-int8",
    "RESIZE_BILINEAR-int8",
    "RESIZE_BILINEAR-uint8",
    "RESIZE_NEAREST_NEIGHBOR-uint8",
    "STRIDED_SLICE-int8",
    "SUM-int8",
    "SUM-uint8",
)
PROFILES: dict[str, Kernels] = {
    "litert-ref-arm": "reference",
    "litert-builtin-arm": "builtin",
    "litert-xnnpack-arm@cortex-a76": "xnnpack",
}


@pytest.mark.parametrize("profile", PROFILES)
def test_equal_bit_for_bit_on_aarch64(profile: str, cortex_a76: Device) -> None:
    models = [model for family in FAMILIES for model in draw(family, 4)]
    requests = [Request(m.data, m.sample(0), PROFILES[profile]) for m in models]
    with connect(cortex_a76) as transport:
        answers = run_on(transport, requests)
    for model, request, answer in zip(models, requests, answers, strict=True):
        assert answer.error == "", model.name
        graph = read_tflite(model.data).main
        emulation = emulate(graph, get_profile(profile), request.inputs)
        (output,), (expected,) = graph.outputs, emulation.outputs
        assert expected is not None, model.name
        assert emulation.promises[output] == "exact", model.name
        got = answer.tensors[output].reshape(expected.shape)
        assert np.array_equal(expected, got), model.name

"""Single ops on virtual boards, where aarch64 computes in float32 or has kernels of its own."""

import numpy as np
import pytest

from farm.transports import connect
from harness.device import Device
from harness.emulator.interpreter import emulate
from harness.emulator.profiles import get_profile
from harness.emulator.tflite import read_tflite
from tests.harness.emulator.test_recurrent import LSTMS, SVDFS, samples
from tests.oracle import recurrent
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
    "TRANSPOSE_CONV-int8",
    "TRANSPOSE_CONV-uint8",
    "TRANSPOSE_CONV-int16-narrow",
    "LOG_SOFTMAX-int8",
    "LOG_SOFTMAX-uint8",
    "SOFTMAX-int16",
    "EXP-int16",
    "LOG-int16",
    "RSQRT-int16",
    "LOGISTIC-2^-12-int16",
    "TANH-2^-11-int16",
    "CONV_2D-int16-pc-narrow",
    "FULLY_CONNECTED-int16-pc-narrow",
    "FULLY_CONNECTED-int16-pt-narrow",
    "QUANTIZE-int16-int8",
)
PLAIN_LSTMS = ("plain", "odd sizes", "coupled gates", "time major", "clipped")
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


def test_recurrent_ops_on_aarch64(cortex_a76: Device) -> None:
    models = [recurrent.lstm(0, **LSTMS[name]) for name in PLAIN_LSTMS]
    models += [recurrent.svdf(0, **sizes) for sizes in SVDFS.values()]
    inputs = [samples(model, 1)[0] for model in models]
    requests = [Request(m, (x,), "builtin") for m, x in zip(models, inputs, strict=True)]
    with connect(cortex_a76) as transport:
        answers = run_on(transport, requests)
    for model, x, answer in zip(models, inputs, answers, strict=True):
        graph = read_tflite(model).main
        emulation = emulate(graph, get_profile("litert-builtin-arm"), [x])
        (output,), (expected,) = graph.outputs, emulation.outputs
        assert emulation.promises[output] == "exact"
        assert np.array_equal(answer.tensors[output], expected)

"""Element-wise ops on both virtual cores: what their vector code does otherwise than on x86."""

import numpy as np
import pytest

from farm.transports import connect
from harness.device import Device
from harness.emulator.interpreter import emulate
from harness.emulator.profiles import get_profile
from harness.emulator.tflite import read_tflite
from tests.oracle.catalogue import draw
from tests.oracle.runtimes import Kernels, Request, run_on

MODELS = 2
FAMILIES = (
    "MUL-int8",
    "MUL-uint8",
    "HARD_SWISH-int8",
    "HARD_SWISH-uint8",
    "LEAKY_RELU-int8",
    "LEAKY_RELU-int16",
    "LOGISTIC-int8",
    "TANH-int8",
    "ELU-int8",
    "GELU-approximate-int8",
    "RSQRT-int8",
)

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("core", ["cortex_a53", "cortex_a76"])
def test_equal_bit_for_bit(core: str, request: pytest.FixtureRequest) -> None:
    device: Device = request.getfixturevalue(core)
    profiles: dict[str, Kernels] = {
        "litert-builtin-arm": "builtin",
        f"litert-xnnpack-arm@{device.core}": "xnnpack",
    }
    models = [model for family in FAMILIES for model in draw(family, MODELS)]
    # Two with products on ties, where S5 and S6 differ.
    models += [draw("MUL-int8", 4, 6)[3], draw("MUL-uint8", 4, 7)[3]]
    cases = [(name, model) for name in profiles for model in models]
    requests = [Request(m.data, m.sample(0), profiles[name]) for name, m in cases]
    with connect(device) as transport:
        answers = run_on(transport, requests)
    for (name, model), answer in zip(cases, answers, strict=True):
        assert answer.error == "", model.name
        graph = read_tflite(model.data).main
        emulation = emulate(graph, get_profile(name), model.sample(0))
        (output,), (expected,) = graph.outputs, emulation.outputs
        assert emulation.promises[output] == "exact", model.name
        assert expected is not None
        got = answer.tensors[output].reshape(expected.shape)
        assert np.array_equal(expected, got), (name, model.name)

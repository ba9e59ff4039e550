"""Hybrid ops on both virtual cores: with dot products the kernels round otherwise."""

import numpy as np
import pytest

from farm.transports import connect
from harness.device import Device
from harness.emulator.interpreter import emulate
from harness.emulator.profiles import get_profile
from harness.emulator.tflite import read_tflite
from tests.oracle.catalogue import draw
from tests.oracle.hybrid_families import around_dot_products, hybrid_families, rows_on_ties
from tests.oracle.runtimes import Kernels, Request, run_on

pytestmark = pytest.mark.slow

PROFILES: dict[str, Kernels] = {
    "litert-ref-arm": "reference",
    "litert-builtin-arm": "builtin",
    "litert-xnnpack-arm": "xnnpack",
}


@pytest.mark.parametrize("core", ["cortex_a53", "cortex_a76"])
def test_equal_bit_for_bit(core: str, request: pytest.FixtureRequest) -> None:
    device: Device = request.getfixturevalue(core)
    models = [m for family in hybrid_families() for m in draw(family, 3)]
    cases = [(m, m.sample(0)) for m in models]
    cases += [(m, x) for m in around_dot_products() for x in (m.sample(0), rows_on_ties(m))]
    work = [(name, m, x) for name in PROFILES for m, x in cases]
    with connect(device) as transport:
        answers = run_on(transport, [Request(m.data, x, PROFILES[name]) for name, m, x in work])
    for (name, model, x), answer in zip(work, answers, strict=True):
        assert answer.error == "", model.name
        profile = get_profile(f"{name}@{device.core}")
        graph = read_tflite(model.data).main
        emulation = emulate(graph, profile, x)
        (output,), (expected,) = graph.outputs, emulation.outputs
        assert expected is not None, model.name
        assert emulation.promises[output] == "exact", model.name
        got = answer.tensors[output].reshape(expected.shape)
        np.testing.assert_array_equal(expected, got, err_msg=f"{profile.name}: {model.name}")

"""What the core is too small for, the definition computes: a limit of speed is no error."""

import tracemalloc
from typing import Any

import numpy as np
import pytest

from harness.emulator import core
from harness.emulator.formats.tflite import read_tflite
from harness.emulator.interpreter import emulate
from harness.emulator.profiles import get_profile
from tests.oracle import elementwise, models
from tests.oracle.models import Model

LARGE = (1, 33, 33, 1280)
"""Over 2^20 elements: more than a window of the core holds."""


def pooled(op: str, dtype: str, shape: tuple[int, int, int, int] = LARGE) -> Model:
    kernel = (shape[1], shape[2])
    return elementwise.pool(
        op, shape=shape, kernel=kernel, stride=(1, 1), padding="VALID", dtype=dtype
    )


def averaged(dtype: str) -> Model:
    return elementwise.reduce("MEAN", shape=LARGE, dtype=dtype, same_quant=True)


def run(made: Model, monkeypatch: pytest.MonkeyPatch, *, level: str = "") -> Any:
    monkeypatch.setenv("EDGEFARM_CORE", level)
    graph = read_tflite(made.data).main
    found = emulate(graph, get_profile("litert-builtin-x86"), made.sample(0))
    assert found.promises[graph.outputs[0]] == "exact"
    return found.outputs[0]


@pytest.mark.skipif(core.level() is None, reason="the core is not built")
@pytest.mark.parametrize(
    "made",
    [
        pooled("AVERAGE_POOL_2D", "int8"),
        pooled("MAX_POOL_2D", "uint8"),
        averaged("int8"),
        averaged("uint8"),
        models.conv(shape=LARGE, kernel=(33, 33), channels=2, padding="VALID"),
        models.depthwise(shape=LARGE, kernel=(33, 33), padding="VALID"),
        models.fully_connected(depth=(1 << 20) + 8, channels=2),
    ],
    ids=lambda made: made.name.split("-")[0],
)
def test_windows_beyond_the_core_are_left_to_the_definition(
    made: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.testing.assert_array_equal(run(made, monkeypatch), run(made, monkeypatch, level="none"))


def test_a_large_window_needs_no_memory_for_each_of_its_places(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = elementwise.pool("MAX_POOL_2D", shape=(1, 96, 96, 16), kernel=(48, 48), stride=(1, 1))
    graph, samples = read_tflite(made.data).main, made.sample(0)
    monkeypatch.setenv("EDGEFARM_CORE", "none")
    tracemalloc.start()
    emulate(graph, get_profile("litert-builtin-x86"), samples)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100 * samples[0].nbytes

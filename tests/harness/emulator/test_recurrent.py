"""LSTM and SVDF over several invocations, against the runtime: int8 bit for bit, floats in ULP."""

from typing import Any

import numpy as np
import pytest

from harness.emulator.formats.tflite import read_tflite
from harness.emulator.interpreter import Emulator, emulate
from harness.emulator.profiles import get_profile
from harness.verify.verification import judge_nodes
from tests.harness.emulator.test_control import KERNELS
from tests.oracle import recurrent
from tests.oracle.build import Array
from tests.oracle.control import invoke

LSTMS: dict[str, dict[str, Any]] = {
    "plain": {},
    "one feature": {"sizes": (1, 3, 3), "batch": 1, "time": 1},
    "odd sizes": {"sizes": (17, 33, 33), "batch": 3, "time": 4},
    "blocks of 16": {"sizes": (16, 16, 16)},
    "time major": {"time_major": True, "sizes": (8, 15, 15)},
    "coupled gates": {"coupled": True},
    "peepholes": {"peephole": True, "sizes": (3, 17, 17)},
    "coupled, peepholes": {"coupled": True, "peephole": True},
    "projection": {"projection": True, "sizes": (5, 17, 9)},
    "clipped": {"clip": 0.5},
    "clipped projection": {"projection": True, "sizes": (5, 17, 9), "clip": 0.4},
    "normalized": {"norm": True, "sizes": (5, 16, 16)},
    "a fine cell": {"cell_power": -15},
    "a coarse cell": {"cell_power": -9},
}
SVDFS: dict[str, dict[str, Any]] = {
    "plain": {},
    "rank 1": {"rank": 1, "units": 16, "memory": 8, "features": 16},
    "no bias": {"bias": False, "batch": 1},
    "odd sizes": {"features": 33, "units": 5, "rank": 3, "memory": 9, "batch": 3},
    "no memory": {"memory": 1},
}


def samples(model: bytes, calls: int) -> list[Array]:
    tensor = read_tflite(model).main.tensors[read_tflite(model).main.inputs[0]]
    rng = np.random.default_rng(3)
    if tensor.dtype == "float32":
        return [rng.normal(0, 1, tensor.shape).astype(np.float32) for _ in range(calls)]
    extremes = [np.full(tensor.shape, value, np.int8) for value in (-128, 127)]
    return [rng.integers(-128, 128, tensor.shape).astype(np.int8) for _ in range(calls)] + extremes


def run(model: bytes, profile: str) -> tuple[list[Array], list[Array], str]:
    """The runtime's outputs, the emulator's, and what it promises."""
    inputs, graph = samples(model, 3), read_tflite(model).main
    emulator = Emulator(graph, get_profile(profile))
    runs = [emulator.run([x]) for x in inputs]
    expected = [y for (y,) in invoke(model, [[x] for x in inputs], KERNELS[profile])]
    outputs = [r.outputs[0] for r in runs]
    assert not any(r.unknown for r in runs), runs[0].unknown
    return expected, [y for y in outputs if y is not None], runs[-1].promises[graph.outputs[0]]


@pytest.mark.parametrize("profile", KERNELS)
@pytest.mark.parametrize("name", LSTMS)
def test_an_int8_lstm(name: str, profile: str) -> None:
    for seed in range(2):
        expected, got, promise = run(recurrent.lstm(seed, **LSTMS[name]), profile)
        assert promise == "exact"
        assert len({y.tobytes() for y in expected}) > 1
        for want, y in zip(expected, got, strict=True):
            np.testing.assert_array_equal(y, want)


@pytest.mark.parametrize("profile", KERNELS)
@pytest.mark.parametrize("name", SVDFS)
def test_an_int8_svdf(name: str, profile: str) -> None:
    for seed in range(2):
        expected, got, promise = run(recurrent.svdf(seed, **SVDFS[name]), profile)
        assert promise == "exact"
        assert len({y.tobytes() for y in expected}) > 1
        for want, y in zip(expected, got, strict=True):
            np.testing.assert_array_equal(y, want)


@pytest.mark.parametrize("kind", ["float", "hybrid"])
@pytest.mark.parametrize("name", [n for n in LSTMS if "cell" not in n])
def test_a_float_lstm_is_close(name: str, kind: str) -> None:
    expected, got, promise = run(recurrent.lstm(1, kind=kind, **LSTMS[name]), "litert-ref")
    assert promise == "float"
    for want, y in zip(expected, got, strict=True):
        np.testing.assert_allclose(y, want, atol=1e-5 if kind == "float" else 0.02)


@pytest.mark.parametrize("kind", ["float", "hybrid"])
@pytest.mark.parametrize("name", SVDFS)
def test_a_float_svdf_is_close(name: str, kind: str) -> None:
    expected, got, promise = run(recurrent.svdf(1, kind=kind, **SVDFS[name]), "litert-ref")
    assert promise == "float"
    for want, y in zip(expected, got, strict=True):
        np.testing.assert_allclose(y, want, atol=1e-5 if kind == "float" else 0.02)


def test_the_state_starts_anew_with_each_emulator() -> None:
    model = recurrent.lstm()
    graph, (x, *_) = read_tflite(model).main, samples(model, 1)
    twice = [emulate(graph, get_profile("litert-ref"), [x]).outputs[0] for _ in range(2)]
    np.testing.assert_array_equal(twice[0], twice[1])
    one = Emulator(graph, get_profile("litert-ref"))
    kept = [one.run([x]).outputs[0] for _ in range(2)]
    np.testing.assert_array_equal(kept[0], twice[0])
    assert not np.array_equal(kept[1], kept[0])


def test_a_node_with_a_state_is_judged_over_all_invocations() -> None:
    model = recurrent.lstm()
    graph, inputs = read_tflite(model).main, samples(model, 3)
    outputs = [y for (y,) in invoke(model, [[x] for x in inputs])]
    got = {graph.inputs[0]: np.concatenate(inputs), graph.outputs[0]: np.concatenate(outputs)}
    (one,) = judge_nodes(graph, get_profile("litert-ref"), got)
    assert (one.promise, one.differing, one.elements) == ("exact", 0, got[graph.outputs[0]].size)
    got[graph.outputs[0]] = np.concatenate(outputs[::-1])
    assert judge_nodes(graph, get_profile("litert-ref"), got)[0].differing

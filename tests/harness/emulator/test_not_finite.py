"""NaN, infinities and values beyond int32: nothing is promised exact that the runtime does not
compute."""

from pathlib import Path

import numpy as np
import pytest

from harness.emulator.formats.model_file import read_model
from harness.emulator.formats.tflite import read_tflite
from harness.emulator.interpreter import Emulation, emulate
from harness.emulator.profiles import get_profile
from tests.oracle.build import Array, Builder, options, per_tensor
from tests.oracle.runtimes import Kernels, Request, run_all

PROFILES: dict[Kernels, str] = {
    "reference": "litert-ref",
    "builtin": "litert-builtin-x86",
    "xnnpack": "litert-xnnpack-x86",
}
SIZE = 19
"""Two whole blocks of 8 and a rest."""
ORDINARY = np.linspace(-3, 3, SIZE, dtype=np.float32)
HOSTILE = (np.nan, np.inf, -np.inf, 1e10, -1e10, 1e30, -1e30, 2.0**31, -(2.0**31), 1e-40, -0.0)
PLACES = (0, 7, SIZE - 1)
INSIDE = (-1e10, -np.inf, 1e-40, -0.0)
"""What a QUANTIZE with a zero point of 0 or more promises exactly in every kernel."""


def quantize(dtype: str, zero_point: int) -> bytes:
    made = Builder()
    x = made.tensor([SIZE], "float32")
    y = made.tensor([SIZE], dtype, per_tensor(0.5, zero_point))
    made.op("QUANTIZE", [x], [y])
    return made.finish([x], [y])


@pytest.mark.slow
def test_the_portable_quantize_converts_to_int64(tmp_path: Path) -> None:
    pytest.importorskip("executorch.kernels.quantized")  # registers the kernel
    exir = pytest.importorskip("executorch.exir")
    runtime = pytest.importorskip("executorch.runtime")
    import torch

    class Quantize(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            quantize = torch.ops.quantized_decomposed.quantize_per_tensor.default
            return quantize(x, 0.05, -5, -128, 127, torch.int8)

    config = exir.EdgeCompileConfig(_check_ir_validity=False)
    program = torch.export.export(Quantize(), (torch.zeros(1, 12),))
    file = tmp_path / "quantize.pte"
    file.write_bytes(exir.to_edge(program, compile_config=config).to_executorch().buffer)
    x = [-np.inf, 1e10, -1e10, -1e30, 1.1e8, 4.5e17, -4.7e17, 0.025, -0.025, 0.075, 6.6, -0.0]
    method = runtime.Runtime.get().load_program(str(file)).load_method("forward")
    graph = read_model(file).main
    for hostile in (0.0, np.nan, np.inf, 1e30, 4.7e17):
        given = np.array([[*x[:-1], hostile]], np.float32)
        emulation = emulate(graph, get_profile("executorch-xnnpack-x86"), (given,))
        if hostile:
            assert emulation.outputs == (None,)
        else:
            (told,) = method.execute([torch.from_numpy(given)])
            np.testing.assert_array_equal(emulation.outputs[0], told.numpy())
            assert emulation.promises[graph.outputs[0]] == "exact"


def pick(op: str) -> bytes:
    made = Builder()
    x, axis = made.tensor([SIZE], "float32"), made.constant(np.array([0], np.int32), "int32")
    if op.startswith("ARG"):
        y = made.tensor([], "int32")
        axis = made.constant(np.array(0, np.int32), "int32")
        kind = options(op.title().replace("_", ""), outputType=2)
        made.op(op, [x, axis], [y], kind)
        return made.finish([x], [y])
    if op == "TOPK_V2":
        count = made.constant(np.array(4, np.int32), "int32")
        y, places = made.tensor([4], "float32"), made.tensor([4], "int32")
        made.op(op, [x, count], [y, places])
        return made.finish([x], [y, places])
    y = made.tensor([1], "float32")
    made.op(op, [x, axis], [y], options("Reducer", keepDims=True))
    return made.finish([x], [y])


def layer() -> bytes:
    made = Builder()
    weights = np.random.default_rng(0).integers(-127, 127, (5, SIZE))
    x, y = made.tensor([1, SIZE], "float32"), made.tensor([1, 5], "float32")
    w = made.constant(weights, "int8", per_tensor(0.01))
    made.op("FULLY_CONNECTED", [x, w, -1], [y], options("FullyConnected"))
    return made.finish([x], [y])


MODELS = {
    **{f"QUANTIZE {d} {z}": quantize(d, z) for d, z in [("int8", 0), ("int8", -5), ("uint8", 9)]},
    "QUANTIZE int16 0": quantize("int16", 0),
    **{op: pick(op) for op in ("ARG_MAX", "ARG_MIN", "REDUCE_MAX", "REDUCE_MIN", "TOPK_V2")},
    "FULLY_CONNECTED": layer(),
}


def with_value(name: str, value: float, place: int) -> Array:
    x = ORDINARY.copy()
    x[place] = value
    if name == "FULLY_CONNECTED":
        x = np.where(np.abs(value) < 1e-30, np.float32(value), x)[np.newaxis]
    return np.asarray(x, np.float32)


def emulated(name: str, kernels: Kernels, x: Array) -> Emulation:
    return emulate(read_tflite(MODELS[name]).main, get_profile(PROFILES[kernels]), (x,))


def test_what_is_promised_exact_is_what_the_runtime_gives() -> None:
    cases = [
        (name, value, Request(model, (with_value(name, value, p),), kernels, all_tensors=False))
        for name, model in MODELS.items()
        for kernels in PROFILES
        for value in HOSTILE
        for p in PLACES
    ]
    answers = run_all([request for *_, request in cases])
    wrong, exact = [], 0
    for (name, value, request), answer in zip(cases, answers, strict=True):
        assert not answer.error, answer.error
        found = emulated(name, request.kernels, request.inputs[0])
        outputs = read_tflite(request.model).main.outputs
        for index, y in zip(outputs, found.outputs, strict=True):
            if found.promises[index] != "exact":
                continue
            exact += 1
            if y is None or not np.array_equal(y.reshape(-1), answer.tensors[index].reshape(-1)):
                wrong.append((name, request.kernels, value))
    assert not wrong
    assert exact > len(cases) // 2  # the promise is withdrawn for what differs, not for all


@pytest.mark.parametrize("value", INSIDE)
@pytest.mark.parametrize("kernels", PROFILES)
def test_far_below_is_the_lowest_integer(kernels: Kernels, value: float) -> None:
    x = with_value("QUANTIZE uint8 9", value, 3)
    (y,) = emulated("QUANTIZE uint8 9", kernels, x).outputs
    assert y is not None
    assert y[3] == (0 if value < -1 else 9)


@pytest.mark.parametrize("order", [1, -1])
def test_one_sample_without_a_definition_leaves_no_part_of_the_output(order: int) -> None:
    samples = [ORDINARY, with_value("QUANTIZE int8 0", np.nan, 3)][::order]
    found = emulated("QUANTIZE int8 0", "reference", np.concatenate(samples))
    assert found.outputs == (None,)
    assert set(found.promises.values()) == {"exact", "unknown"}
    assert "NaN" in found.unknown[0].reason

"""Ops that move, compare and cast: files that contradict themselves, and where machines differ."""

import numpy as np
import pytest

from harness.emulator.formats.tflite import read_tflite
from harness.emulator.interpreter import emulate
from harness.emulator.profiles import get_profile
from harness.errors import ModelError
from tests.oracle import elementwise
from tests.oracle.build import Array, Builder, options, per_tensor
from tests.oracle.moves import single


def run(data: bytes, inputs: tuple[Array, ...], profile: str = "litert-ref") -> Array | None:
    return emulate(read_tflite(data).main, get_profile(profile), inputs).outputs[0]


@pytest.mark.parametrize(
    ("op", "constants", "made"),
    [
        ("STRIDED_SLICE", [[0], [3], [0]], options("StridedSlice")),
        ("STRIDED_SLICE", [[9], [10], [1]], options("StridedSlice", shrinkAxisMask=1)),
        ("SPLIT_V", [[5, -1], 0], options("SplitV", numSplits=1)),
        ("GATHER", [[4]], options("Gather")),
        ("GATHER", [[-1]], options("Gather")),
        ("TILE", [[1 << 28]], None),
        ("BROADCAST_TO", [[1 << 14, 1 << 14, 4]], None),
        ("REVERSE_V2", [[1]], None),
        ("MIRROR_PAD", [[[5, 0]]], options("MirrorPad")),
    ],
)
def test_what_cannot_be_is_a_model_error(op: str, constants: list[object], made: object) -> None:
    model = single(
        op, 0, "int8", [(4,)], [(4,)], constants=[(c, "int32") for c in constants], made=made
    )
    with pytest.raises(ModelError, match=op):
        run(model.data, model.sample(0))


def test_division_by_zero_is_a_model_error() -> None:
    model = single("FLOOR_DIV", 0, "int32", [(3,)], [(3,)], constants=[([1, 0, 2], "int32")])
    with pytest.raises(ModelError, match="division by 0"):
        run(model.data, model.sample(0))


def test_a_float_that_no_integer_holds_becomes_the_nearest() -> None:
    builder = Builder()
    x, y = builder.tensor((4,), "float32"), builder.tensor((4,), "int8")
    builder.op("CAST", [x], [y], options("Cast", inDataType=0, outDataType=9))
    values = np.array([-1e9, -1.9, np.inf, np.nan], np.float32)
    found = run(builder.finish([x], [y]), (values,))
    assert found is not None
    assert found.tolist() == [-128, -1, 127, 127]


def test_scales_of_one_and_more_are_not_compared() -> None:
    builder = Builder()
    inputs = [builder.tensor((2,), "int8", per_tensor(1.0)) for _ in range(2)]
    result = builder.tensor((2,), "bool")
    builder.op("LESS", inputs, [result], options("Less"))
    x = np.array([1, 2], np.int8)
    assert run(builder.finish(inputs, [result]), (x, x)) is None


def test_the_reference_kernels_round_a_resize_otherwise_on_aarch64() -> None:
    model = elementwise.resize(
        "RESIZE_BILINEAR", 4, shape=(1, 2, 3, 16), size=(13, 8), half_pixel=True, dtype="uint8"
    )
    x = (np.random.default_rng(3).integers(0, 256, (40, 2, 3, 16), np.uint8),)
    here, there = (run(model.data, x, name) for name in ("litert-ref", "litert-ref-arm"))
    assert here is not None
    assert there is not None
    assert 0 < np.mean(here != there) < 0.01
    assert np.abs(here.astype(int) - there).max() == 1

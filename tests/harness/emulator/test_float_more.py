"""Volumes, spectra, running sums and detections: float ops, close to the runtime's."""

from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from harness.emulator.formats.tflite import read_tflite
from harness.emulator.interpreter import emulate
from harness.emulator.profiles import get_profile
from harness.judge.compare import compare_tensor
from tests.oracle.build import Builder, options, per_tensor
from tests.oracle.runtimes import run

RNG = np.random.default_rng(5)
Array = Any


def check(content: bytes, inputs: list[Array]) -> list[Array]:
    """The emulator's outputs, once they are close to the runtime's."""
    graph = read_tflite(content).main
    emulation = emulate(graph, get_profile("litert-ref"), inputs)
    answer = run(content, inputs, "reference")
    assert answer.error == ""
    for index, y in zip(graph.outputs, emulation.outputs, strict=True):
        assert y is not None
        assert emulation.promises[index] == "float"
        np.testing.assert_allclose(answer.tensors[index].reshape(y.shape), y, rtol=1e-5, atol=1e-5)
    return [np.asarray(y) for y in emulation.outputs]


def normal(*shape: int) -> Array:
    return RNG.standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize(
    ("padding", "stride", "dilation", "activation"),
    [("SAME", 1, 1, "NONE"), ("VALID", 2, 1, "RELU"), ("SAME", 2, 1, "RELU6"),
     ("VALID", 1, 2, "NONE"), ("SAME", 1, 2, "NONE")],
)  # fmt: skip
def test_conv3d(padding: str, stride: int, dilation: int, activation: str) -> None:
    builder = Builder()
    x = builder.tensor([1, 7, 6, 5, 3], "float32")
    w = builder.constant(normal(3, 2, 3, 3, 4), "float32")
    bias = builder.constant(normal(4), "float32")

    def output(size: int, window: int) -> int:
        extent = (window - 1) * dilation + 1
        return -(-size // stride) if padding == "SAME" else (size - extent) // stride + 1

    sizes = [output(size, window) for size, window in ((7, 3), (6, 2), (5, 3))]
    y = builder.tensor([1, *sizes, 4], "float32")
    axes = {f"stride{a}": stride for a in "DHW"} | {f"dilation{a}Factor": dilation for a in "DHW"}
    made = options(
        "Conv3D",
        padding=getattr(schema.Padding, padding),
        fusedActivationFunction=getattr(schema.ActivationFunctionType, activation),
        **axes,
    )
    builder.op("CONV_3D", [x, w, bias], [y], made)
    check(builder.finish([x], [y]), [normal(1, 7, 6, 5, 3)])


@pytest.mark.parametrize("exclusive", [False, True])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_running_sums(*, exclusive: bool, reverse: bool, axis: int) -> None:
    builder = Builder()
    x = builder.tensor([2, 3, 5], "float32")
    along = builder.constant(np.array([axis]), "int32", shape=[])
    y = builder.tensor([2, 3, 5], "float32")
    made = options("Cumsum", exclusive=exclusive, reverse=reverse)
    builder.op("CUMSUM", [x, along], [y], made)
    check(builder.finish([x], [y]), [normal(2, 3, 5)])


@pytest.mark.parametrize("part", ["COMPLEX_ABS", "REAL", "IMAG"])
@pytest.mark.parametrize(("shape", "lengths"), [((2, 8, 16), (8, 16)), ((1, 9, 20), (4, 16))])
def test_spectra(part: str, shape: tuple[int, ...], lengths: tuple[int, int]) -> None:
    builder = Builder()
    x = builder.tensor(shape, "float32")
    length = builder.constant(np.array(lengths), "int32")
    made = [shape[0], lengths[0], lengths[1] // 2 + 1]
    spectrum, y = builder.tensor(made, "complex64"), builder.tensor(made, "float32")
    builder.op("RFFT2D", [x, length], [spectrum], options("Rfft2d"))
    builder.op(part, [spectrum], [y])
    check(builder.finish([x], [y]), [normal(*shape)])


def test_complex_tensors_are_compared_by_their_parts() -> None:
    x = np.array([1 + 2j, 3 - 4j], np.complex64)
    same = compare_tensor("x", x, x.copy(), "float")
    assert (same.elements, same.differing) == (4, 0)
    other = compare_tensor("x", x, x + np.complex64(1j), "float")
    assert other.differing == 2


def detector(*, regular: bool, dtype: str, classes: int = 3, per_box: int = 2) -> Builder:
    boxes, most = 12, 5
    builder = Builder()
    quants = (per_tensor(0.05, 128), per_tensor(1 / 256, 0), per_tensor(0.01, 0))
    quants = quants if dtype == "uint8" else (None, None, None)
    codes = builder.tensor([1, boxes, 4], dtype, quants[0])
    scores = builder.tensor([1, boxes, classes + 1], dtype, quants[1])
    centres = RNG.random((boxes, 2)) * 0.6 + 0.2
    anchors = np.concatenate([centres, np.full((boxes, 2), 0.3)], axis=1)
    if dtype == "uint8":
        anchors = np.rint(anchors / 0.01).astype(np.uint8)
    anchor = builder.constant(anchors.astype(dtype), dtype, quants[2])
    shapes = ([1, most * per_box, 4], [1, most * per_box], [1, most * per_box], [1])
    outputs = [builder.tensor(shape, "float32") for shape in shapes]
    settings = {
        "max_detections": most, "max_classes_per_detection": per_box, "detections_per_class": 4,
        "use_regular_nms": regular, "nms_score_threshold": 0.3, "nms_iou_threshold": 0.4,
        "num_classes": classes, "y_scale": 10.0, "x_scale": 10.0, "h_scale": 5.0, "w_scale": 5.0,
    }  # fmt: skip
    builder.op("TFLite_Detection_PostProcess", [codes, scores, anchor], outputs, settings)
    return builder


@pytest.mark.parametrize("regular", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_detections(*, regular: bool, dtype: str) -> None:
    content = detector(regular=regular, dtype=dtype).finish([0, 1], [3, 4, 5, 6])
    if dtype == "uint8":
        inputs = [RNG.integers(0, 256, s).astype(np.uint8) for s in ((1, 12, 4), (1, 12, 4))]
    else:
        inputs = [normal(1, 12, 4), RNG.random((1, 12, 4)).astype(np.float32)]
    graph = read_tflite(content).main
    answer = run(content, inputs, "reference")
    assert answer.error == ""
    *found, count = emulate(graph, get_profile("litert-ref"), inputs).outputs
    np.testing.assert_array_equal(count, answer.tensors[6])
    kept = int(count[0]) * (1 if regular else 2)
    assert kept > 1
    for index, y in zip((3, 4, 5), found, strict=True):
        got = answer.tensors[index]
        np.testing.assert_allclose(got[:, :kept], y[:, :kept], rtol=1e-6, atol=1e-6)


def test_detections_without_options_are_unknown() -> None:
    builder = detector(regular=False, dtype="float32")
    builder.ops[0].customOptions = None
    graph = read_tflite(builder.finish([0, 1], [3, 4, 5, 6])).main
    inputs = [normal(1, 12, 4), normal(1, 12, 4)]
    emulation = emulate(graph, get_profile("litert-ref"), inputs)
    assert emulation.outputs[0] is None
    assert "options cannot be read" in emulation.unknown[0].reason

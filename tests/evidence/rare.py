"""Dtypes and shapes of which the drawn families make no model."""

from collections.abc import Iterator

import numpy as np

from tests.oracle import models
from tests.oracle.build import Builder, Quant, options, per_tensor
from tests.oracle.far_scales import subtractions
from tests.oracle.models import Model, model
from tests.oracle.moves import single

_SHAPE = (2, 3, 17)
_MOVED = ("int32", "int64", "float32", "bool", "float16")
_ORDERS = {
    "LESS": "Less",
    "LESS_EQUAL": "LessEqual",
    "GREATER": "Greater",
    "GREATER_EQUAL": "GreaterEqual",
}


def rare_models() -> Iterator[tuple[str, Model]]:
    """Each with the name of its family."""
    for dtype in _MOVED:
        yield f"RESHAPE-{dtype}", _reshape(dtype)
        yield f"PAD-{dtype}", _pad(dtype)
        yield f"CONCATENATION-{dtype}", _concatenation(dtype)
    for op, kind in _ORDERS.items():
        shapes = [_SHAPE, _SHAPE]
        made = options(kind)
        yield (
            f"{op}-int16",
            single(op, 0, "int16", shapes, [_SHAPE], made=made, result_dtype="bool"),
        )
    for dtype in ("uint8", "int64", "float32"):
        places = [(int(np.prod(_SHAPE)), len(_SHAPE))]
        yield f"WHERE-{dtype}", single("WHERE", 0, dtype, [_SHAPE], places, result_dtype="int64")
    yield "FILL-int64", _fill()
    for dtype in ("int8", "int16"):
        yield f"QUANTIZE-int32-{dtype}", _requantize(dtype)
    for dtype in ("int32", "int64", "float32"):
        yield f"RANGE-{dtype}", _range(dtype)
    for dtype in ("int8", "uint8"):
        yield f"DEQUANTIZE-{dtype}-pc", _dequantize(dtype)
    for dtype, made in subtractions():
        yield f"SUB-far-{dtype}", made
    for seed, per_channel in enumerate((True, False)):
        kind = "pc" if per_channel else "pt"
        yield f"CONV_2D-grouped-int16-{kind}-narrow", _grouped(seed, per_channel=per_channel)


def _reshape(dtype: str) -> Model:
    made = options("Reshape", newShape=[17, 6])
    constants = [([17, 6], "int32")]
    return single("RESHAPE", 0, dtype, [_SHAPE], [(17, 6)], constants=constants, made=made)


def _pad(dtype: str) -> Model:
    widths = [([[0, 1], [2, 0], [1, 1]], "int32")]
    return single("PAD", 0, dtype, [_SHAPE], [(3, 5, 19)], constants=widths, made=options("Pad"))


def _concatenation(dtype: str) -> Model:
    made = options("Concatenation", axis=1, fusedActivationFunction=0)
    return single("CONCATENATION", 0, dtype, [_SHAPE, (2, 1, 17)], [(2, 4, 17)], made=made)


def _fill() -> Model:
    builder = Builder()
    size, value = builder.constant(_SHAPE, "int64"), builder.tensor((), "int32")
    result = builder.tensor(_SHAPE, "int32")
    builder.op("FILL", [size, value], [result])
    return model("fill-int64", builder, [value], [result])


def _requantize(target: str) -> Model:
    """Over the whole range of both, and a little beyond that of the target."""
    builder, fine = Builder(), 0.03 if target == "int8" else 0.03 / 256
    x = builder.tensor(_SHAPE, "int32", per_tensor(2e-9))
    result = builder.tensor(_SHAPE, target, per_tensor(fine, 3 if target == "int8" else 0))
    builder.op("QUANTIZE", [x], [result], options("Quantize"))
    return model(f"quantize-int32-{target}", builder, [x], [result])


def _range(dtype: str) -> Model:
    """Of constants; beside a computed tensor, for a graph of constants alone is none."""
    builder = Builder()
    values = (0.3, 4.1, 0.7) if dtype == "float32" else (-3, 9, 2)
    limits = [builder.constant(value, dtype, shape=()) for value in values]
    x, steps = (builder.tensor((6,), dtype) for _ in range(2))
    result = builder.tensor((6,), "bool")
    builder.op("RANGE", limits, [steps])
    builder.op("LESS", [x, steps], [result], options("Less"))
    return model(f"range-{dtype}", builder, [x], [steps, result])


def _dequantize(dtype: str) -> Model:
    rng, builder = np.random.default_rng(0), Builder()
    scales = tuple(float(s) for s in rng.uniform(0.002, 0.2, _SHAPE[-1]))
    zero_points = tuple(int(z) for z in rng.integers(0, 9, len(scales)))
    x = builder.tensor(_SHAPE, dtype, Quant(scales, zero_points, axis=2))
    result = builder.tensor(_SHAPE, "float32")
    builder.op("DEQUANTIZE", [x], [result], options("Dequantize"), version=5)
    return model(f"dequantize-{dtype}-pc", builder, [x], [result])


def _grouped(seed: int, *, per_channel: bool) -> Model:
    return models.conv(
        seed,
        shape=(2, 7, 6, 6),
        channels=24,
        groups=3,
        dtype="int16",
        per_channel=per_channel,
        style="sharp",
        narrow=True,
    )

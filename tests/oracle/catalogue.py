"""Draws of single-op models, each parameter chosen at random by seed: as many as are wanted.

CONV_2D and DEPTHWISE_CONV_2D always have a bias: without one the first is refused and the optimized
kernels of the second end the process (LiteRT 2.3.0).

`FAMILIES` maps a family's name to a function of (random generator, seed, style) that makes one
model.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from tests.oracle import elementwise, models
from tests.oracle.blockwise import blockwise_families
from tests.oracle.four_bits import four_bit_families
from tests.oracle.hybrid_families import hybrid_families
from tests.oracle.hybrid_families import transpose_conv as hybrid_transpose_conv
from tests.oracle.logic import logic_families
from tests.oracle.matmul import matmul_families
from tests.oracle.models import Model, Style
from tests.oracle.moves import move_families
from tests.oracle.narrow_weights import narrowed
from tests.oracle.plain import plain_families
from tests.oracle.transformers import transformer_families
from tests.oracle.transposed import transpose_conv
from tests.oracle.unary import unary_families

CHANNELS = (1, 3, 5, 8, 15, 16, 17, 33)
MANY = (65, 97, 131)
FOR_BIAS: tuple[Style, ...] = ("sharp", "ties")
"""Styles where each channel has an accumulator of its own choice: many channels, no clamp."""

ACTIVATIONS = ("NONE", "RELU", "RELU6", "RELU_N1_TO_1")
EIGHT_BIT = ("int8", "uint8")
INTEGERS = ("int8", "uint8", "int16")
PADDINGS = ("SAME", "VALID")

STYLES: tuple[Style, ...] = ("dyadic", "random", "wide")
WEIGHTED_STYLES: tuple[Style, ...] = ("sharp", "ties", "random", "wide", "dyadic")
WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV")

Maker = Callable[[np.random.Generator, int, Style], Model]


def _pick(rng: np.random.Generator, values: Any) -> Any:
    return values[int(rng.integers(len(values)))]


def _pair(rng: np.random.Generator, values: Any) -> tuple[int, int]:
    return _pick(rng, values), _pick(rng, values)


def _image(rng: np.random.Generator, low: int = 6, high: int = 12) -> tuple[int, int, int, int]:
    height, width = (int(n) for n in rng.integers(low, high, 2))
    return _pick(rng, (1, 1, 2, 3)), height, width, _pick(rng, CHANNELS)


def _window(rng: np.random.Generator) -> dict[str, Any]:
    """Kernel, stride, dilation and padding that fit an image of 6 x 6; a stride other than 1
    excludes dilation, as in the runtimes."""
    kernel = _pick(rng, ((1, 1), (3, 3), (2, 3), (3, 1), (5, 5)))
    stride = _pick(rng, ((1, 1), (1, 1), (2, 2), (1, 2), (3, 2)))
    dilation = (
        _pick(rng, ((1, 1), (2, 2), (1, 2))) if stride == (1, 1) and max(kernel) < 4 else (1, 1)
    )
    return {
        "kernel": kernel,
        "stride": stride,
        "dilation": dilation,
        "padding": _pick(rng, PADDINGS),
    }


def _conv(dtype: str, per_channel: bool, *, narrow: bool = False) -> Maker:
    def make(rng: np.random.Generator, seed: int, style: Style) -> Model:
        return models.conv(
            seed,
            shape=_image(rng),
            channels=_pick(rng, MANY if style in FOR_BIAS else CHANNELS),
            dtype=dtype,
            per_channel=per_channel,
            activation="NONE" if style in FOR_BIAS else _pick(rng, ACTIVATIONS),
            style=style,
            narrow=narrow,
            **_window(rng),
        )

    return make


def _grouped_conv(dtype: str, per_channel: bool) -> Maker:
    def make(rng: np.random.Generator, seed: int, style: Style) -> Model:
        groups, window = _pick(rng, (2, 3, 8)), _window(rng)
        inputs, outputs = (groups * _pick(rng, (1, 2, 5)) for _ in range(2))
        return models.conv(
            seed,
            shape=(*_image(rng)[:3], inputs),
            channels=outputs * (8 if style in FOR_BIAS else 1),
            groups=groups,
            dtype=dtype,
            per_channel=per_channel,
            style=style,
            **window,
        )

    return make


def _depthwise(dtype: str, per_channel: bool) -> Maker:
    def make(rng: np.random.Generator, seed: int, style: Style) -> Model:
        shape = _image(rng)
        if style in FOR_BIAS:
            shape = (*shape[:3], _pick(rng, MANY))
        return models.depthwise(
            seed,
            shape=shape,
            multiplier=_pick(rng, (1, 1, 1, 2, 3, 8)),
            dtype=dtype,
            per_channel=per_channel,
            activation="NONE" if style in FOR_BIAS else _pick(rng, ACTIVATIONS),
            style=style,
            **_window(rng),
        )

    return make


def _fully_connected(dtype: str, per_channel: bool, *, narrow: bool = False) -> Maker:
    def make(rng: np.random.Generator, seed: int, style: Style) -> Model:
        batch = _pick(rng, (1, 1, 2, 3, 4, 5, 9))
        leading = _pick(rng, ((), (), (1,), (2, 1)))
        return models.fully_connected(
            seed,
            batch=batch,
            leading=leading,
            keep_dims=bool(leading) and bool(rng.integers(2)),
            depth=_pick(rng, (1, 3, 4, 5, 8, 16, 17, 33, 64, 100)),
            channels=_pick(rng, MANY if style in FOR_BIAS else CHANNELS),
            dtype=dtype,
            per_channel=per_channel,
            activation="NONE" if style in FOR_BIAS else _pick(rng, ACTIVATIONS),
            style=style,
            narrow=narrow,
            bias=style in FOR_BIAS or bool(rng.integers(3)),
        )

    return make


def _transpose_conv(dtype: str, *, narrow: bool = False) -> Maker:
    def make(rng: np.random.Generator, seed: int, style: Style) -> Model:
        return transpose_conv(
            seed,
            shape=_image(rng, 2, 6),
            channels=_pick(rng, MANY if style in FOR_BIAS else CHANNELS),
            kernel=_pair(rng, (2, 3, 4)),
            stride=_pair(rng, (1, 2)),
            padding=_pick(rng, PADDINGS),
            dtype=dtype,
            per_channel=bool(rng.integers(2)),
            style=style,
            narrow=narrow,
            bias=style in FOR_BIAS or bool(rng.integers(3)),
        )

    return make


def _shape(rng: np.random.Generator) -> tuple[int, ...]:
    rank = int(rng.integers(1, 5))
    return (*(int(n) for n in rng.integers(1, 6, rank - 1)), _pick(rng, CHANNELS))


def _binary(op: str, dtype: str) -> Maker:
    def make(rng: np.random.Generator, seed: int, style: Style) -> Model:
        shape = _shape(rng)
        other = tuple(1 if rng.integers(3) == 0 else n for n in shape)
        other = other[int(rng.integers(len(shape))) :] if rng.integers(3) == 0 else other
        return elementwise.binary(
            op,
            seed,
            shape=shape,
            other=other if rng.integers(2) else None,
            dtype=dtype,
            activation=_pick(rng, ACTIVATIONS) if op in ("ADD", "SUB", "MUL") else "NONE",
            style=style,
            constant=bool(rng.integers(3) == 0),
        )

    return make


def _product_to_bytes(output: str) -> Maker:
    def make(rng: np.random.Generator, seed: int, _style: Style) -> Model:
        shape = _shape(rng)
        activation = _pick(rng, ACTIVATIONS)
        return elementwise.product(
            seed, shape=shape, other=shape, dtype="int16", output=output, activation=activation
        )

    return make


def _powers_of_two(op: str) -> Maker:
    def make(rng: np.random.Generator, seed: int, _style: Style) -> Model:
        shape = _shape(rng)
        shifts = _pick(rng, ((0, 0), (0, 1), (3, 0), (0, 7)))
        return elementwise.powers_of_two(
            op, seed, shape=shape, shifts=shifts, activation=_pick(rng, ACTIVATIONS)
        )

    return make


def _unary(op: str, dtype: str, **fixed: Any) -> Maker:
    def make(rng: np.random.Generator, seed: int, style: Style) -> Model:
        return elementwise.unary(op, seed, shape=_shape(rng), dtype=dtype, style=style, **fixed)

    return make


def _softmax(dtype: str) -> Maker:
    def make(rng: np.random.Generator, seed: int, style: Style) -> Model:
        shape, beta = (*_shape(rng)[:-1], 7, _pick(rng, CHANNELS)), _pick(rng, (1.0, 1.0, 0.5, 2.0))
        scale = float(rng.uniform(0.01, 0.1)) * (1 / 256 if dtype == "int16" else 1)
        return elementwise.softmax(
            seed, beta=beta, shape=shape, dtype=dtype, style=style, input_scale=scale
        )

    return make


def _leaky_relu(dtype: str) -> Maker:
    def make(rng: np.random.Generator, seed: int, style: Style) -> Model:
        alpha = _pick(rng, (0.1, 0.25, 0.01, 1.5, -0.5))
        return elementwise.leaky_relu(
            seed, alpha=alpha, shape=_shape(rng), dtype=dtype, style=style
        )

    return make


def _pool(op: str, dtype: str) -> Maker:
    def make(rng: np.random.Generator, seed: int, style: Style) -> Model:
        return elementwise.pool(
            op,
            seed,
            shape=_image(rng),
            kernel=_pair(rng, (1, 2, 3, 5)),
            stride=_pair(rng, (1, 2, 3)),
            padding=_pick(rng, PADDINGS),
            activation=_pick(rng, ACTIVATIONS),
            dtype=dtype,
            style=style,
        )

    return make


def _reduce(op: str, dtype: str) -> Maker:
    def make(rng: np.random.Generator, seed: int, style: Style) -> Model:
        shape = _image(rng)
        axes = _pick(
            rng, ((1, 2), (1, 2), (2, 1), (3,), (1,), (1, 2, 3), (0, 3), (-1,), (0, 1, 2, 3))
        )
        return elementwise.reduce(
            op,
            seed,
            shape=shape,
            axes=axes,
            keep_dims=bool(rng.integers(2)),
            dtype=dtype,
            style=style,
            same_quant=bool(rng.integers(3) == 0),
        )

    return make


def _quantize(source: str, target: str) -> Maker:
    def make(rng: np.random.Generator, seed: int, style: Style) -> Model:
        shape = (*_shape(rng)[:-1], 33)
        return elementwise.quantize(source, target, seed, shape=shape, style=style)

    return make


def _pad(dtype: str) -> Maker:
    def make(rng: np.random.Generator, seed: int, _style: Style) -> Model:
        shape = _shape(rng)
        pads = [_pair(rng, (0, 1, 2)) for _ in shape]
        return elementwise.pad(seed, shape=shape, pads=pads, dtype=dtype)

    return make


def _concatenation(dtype: str) -> Maker:
    def make(rng: np.random.Generator, seed: int, style: Style) -> Model:
        base, axis, count = _shape(rng), 0, _pick(rng, (1, 2, 3, 4))
        axis = int(rng.integers(len(base)))
        shapes = [
            tuple(int(rng.integers(1, 6)) if i == axis else n for i, n in enumerate(base))
            for _ in range(count)
        ]
        same = dtype != "uint8" or bool(rng.integers(2))
        return elementwise.concatenation(
            seed, shapes=shapes, axis=axis, dtype=dtype, style=style, same_quant=same
        )

    return make


def _reshape(dtype: str) -> Maker:
    def make(rng: np.random.Generator, seed: int, _style: Style) -> Model:
        shape = _shape(rng)
        target = (int(np.prod(shape)),) if rng.integers(2) else shape[::-1]
        return elementwise.reshape(seed, shape=shape, target=target, dtype=dtype)

    return make


def _resize(op: str, dtype: str) -> Maker:
    def make(rng: np.random.Generator, seed: int, _style: Style) -> Model:
        align, half = _pick(rng, ((False, False), (True, False), (False, True)))
        shape, size = _image(rng, 2, 6), _pair(rng, (1, 2, 5, 8, 9, 13, 30))
        if half and rng.integers(4) == 0:  # a kernel of its own
            shape, size = (*shape[:3], 16), (shape[1] * 8, shape[2] * 8)
        return elementwise.resize(
            op,
            seed,
            shape=shape,
            size=size,
            align_corners=align,
            half_pixel=half,
            dtype=dtype,
        )

    return make


def _narrow_families() -> dict[str, Maker]:
    """int16 activations with an int32 bias."""
    made: dict[str, Maker] = {}
    for per_channel in (True, False):
        suffix = f"int16-{'pc' if per_channel else 'pt'}-narrow"
        made[f"CONV_2D-{suffix}"] = _conv("int16", per_channel, narrow=True)
        made[f"FULLY_CONNECTED-{suffix}"] = _fully_connected("int16", per_channel, narrow=True)
    made["TRANSPOSE_CONV-int16-narrow"] = _transpose_conv("int16", narrow=True)
    return made


def _narrow_weights() -> dict[str, Maker]:
    """int8 activations on weights of 4 and 2 bits."""
    made: dict[str, Maker] = {}
    for per_channel in (True, False):
        suffix = f"int8xint4-{'pc' if per_channel else 'pt'}"
        made[f"CONV_2D-{suffix}"] = narrowed(_conv("int8", per_channel), "int4")
        made[f"DEPTHWISE_CONV_2D-{suffix}"] = narrowed(_depthwise("int8", per_channel), "int4")
        made[f"FULLY_CONNECTED-{suffix}"] = narrowed(_fully_connected("int8", per_channel), "int4")
        made[f"FULLY_CONNECTED-{suffix.replace('t4', 't2')}"] = narrowed(
            _fully_connected("int8", per_channel), "int2"
        )
    made["CONV_2D-grouped-int8xint4-pc"] = narrowed(_grouped_conv("int8", True), "int4")
    return made


def _families() -> dict[str, Maker]:
    made: dict[str, Maker] = {}
    for dtype, per_channel in (("int8", True), ("int8", False), ("uint8", False), ("int16", True)):
        suffix = f"{dtype}-{'pc' if per_channel else 'pt'}"
        made[f"CONV_2D-{suffix}"] = _conv(dtype, per_channel)
        made[f"CONV_2D-grouped-{suffix}"] = _grouped_conv(dtype, per_channel)
        made[f"DEPTHWISE_CONV_2D-{suffix}"] = _depthwise(dtype, per_channel)
        made[f"FULLY_CONNECTED-{suffix}"] = _fully_connected(dtype, per_channel)
    made["FULLY_CONNECTED-int16-pt"] = _fully_connected("int16", False)
    for dtype in INTEGERS:
        made[f"TRANSPOSE_CONV-{dtype}"] = _transpose_conv(dtype)
        for op in ("ADD", "SUB", "MUL", "MINIMUM", "MAXIMUM"):
            made[f"{op}-{dtype}"] = _binary(op, dtype)
        for op in ("LOGISTIC", "TANH", "RELU", "RELU6"):
            made[f"{op}-{dtype}"] = _unary(op, dtype)
        made[f"SOFTMAX-{dtype}"] = _softmax(dtype)
        made[f"LEAKY_RELU-{dtype}"] = _leaky_relu(dtype)
        for op in ("AVERAGE_POOL_2D", "MAX_POOL_2D"):
            made[f"{op}-{dtype}"] = _pool(op, dtype)
        for op in ("MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN"):
            made[f"{op}-{dtype}"] = _reduce(op, dtype)
        made[f"PAD-{dtype}"] = _pad(dtype)
        made[f"CONCATENATION-{dtype}"] = _concatenation(dtype)
        made[f"RESHAPE-{dtype}"] = _reshape(dtype)
        for op in ("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR"):
            made[f"{op}-{dtype}"] = _resize(op, dtype)
        for other in INTEGERS:
            if (dtype, other) != ("int16", "uint8"):
                made[f"QUANTIZE-{dtype}-{other}"] = _quantize(dtype, other)
        made[f"QUANTIZE-float32-{dtype}"] = _quantize("float32", dtype)
        made[f"DEQUANTIZE-{dtype}"] = _quantize(dtype, "float32")
    for dtype in EIGHT_BIT:
        for op in ("HARD_SWISH", "L2_NORMALIZATION", "LOG_SOFTMAX", "RELU_N1_TO_1"):
            made[f"{op}-{dtype}"] = _unary(op, dtype)
    made |= {f"{op}-pot-int16": _powers_of_two(op) for op in ("ADD", "SUB")}
    made |= {f"MUL-int16-to-{output}": _product_to_bytes(output) for output in EIGHT_BIT}
    made["SQUARED_DIFFERENCE-int8"] = _binary("SQUARED_DIFFERENCE", "int8")
    for op in ("LOGISTIC", "TANH"):
        made[f"{op}-2^-12-int16"] = _unary(op, "int16", input_scale=2**-12)
    made["TANH-2^-11-int16"] = _unary("TANH", "int16", input_scale=2**-11)
    made["RESIZE_NEAREST_NEIGHBOR-float32"] = _resize("RESIZE_NEAREST_NEIGHBOR", "float32")
    made["DEQUANTIZE-float16"] = _quantize("float16", "float32")
    made["EXP-int8"] = _unary("EXP", "int8", input_scale=0.02)
    return made


FAMILIES = (
    _families()
    | _narrow_families()
    | _narrow_weights()
    | four_bit_families()
    | move_families()
    | unary_families()
    | logic_families()
    | hybrid_families()
    | {"TRANSPOSE_CONV-hybrid-int8": hybrid_transpose_conv}
    | blockwise_families()
    | matmul_families()
    | transformer_families()
    | plain_families()
)


def draw(family: str, count: int, seed: int = 0) -> list[Model]:
    """That many models of a family, the styles in turn; the same ones for the same seed."""
    rng = np.random.default_rng([seed, *family.encode()])
    styles = WEIGHTED_STYLES if family.startswith(WEIGHTED) else STYLES
    return [
        FAMILIES[family](rng, seed * 1000 + number, styles[number % len(styles)])
        for number in range(count)
    ]

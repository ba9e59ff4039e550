"""Calls of portable kernels for `tests.oracle.kernels`: dtypes, shapes, places, ties, extremes."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from tests.oracle.build import Array
from tests.oracle.kernels import KernelBuilder

INTEGERS = ("uint8", "int8", "int16", "int32", "int64")
DTYPES = ("float32", "bool", *INTEGERS, "float64", "float16")
SHAPES = ((2, 3, 4), (5,), (1, 2, 3, 3))

Call = tuple[Any, ...]
"""The operator's name, then its arguments."""


class Values:
    """Draws of arrays."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)

    def drawn(self, shape: Sequence[int], dtype: str) -> Array:
        """Small values with many ties, and extremes; floats with zeros of both signs too."""
        if dtype == "bool":
            return self.rng.integers(0, 2, shape).astype(bool)
        if dtype.startswith("float"):
            values = self.rng.choice([-2.5, -1.5, -0.0, 0.0, 0.5, 1.0, 2.5, 3.25], shape)
            other = self.rng.normal(0, 40, shape)
            return np.asarray(np.where(self.rng.integers(0, 2, shape), values, other), dtype)
        info = np.iinfo(dtype)
        low = max(info.min, -9)
        values = self.rng.integers(low, 10, shape)
        extreme = self.rng.choice([info.min, info.max], shape)
        return np.asarray(np.where(self.rng.integers(0, 8, shape), values, extreme), dtype)

    def special(self, shape: Sequence[int]) -> Array:
        """Floats, a few of them infinite or not a number."""
        x = self.drawn(shape, "float32").reshape(-1)
        x[self.rng.integers(0, x.size, 3)] = np.inf, -np.inf, np.nan
        return x.reshape(shape)

    def indices(self, shape: Sequence[int], size: int, lowest: int = 0) -> Array:
        """Places along a dimension."""
        return self.rng.integers(lowest, size, shape).astype(np.int64)

    def distinct(self, shape: Sequence[int]) -> Array:
        """Floats of which no two are equal."""
        made = self.rng.permutation(int(np.prod(shape))) - 7.25
        return made.astype(np.float32).reshape(shape)


def moves(v: Values) -> Iterator[Call]:
    """What copies, for every dtype."""
    for dtype in DTYPES:
        yield from _rearranged(v, dtype)
        yield from _picked(v, dtype)
        yield from _images(v, dtype)


def _rearranged(v: Values, dtype: str) -> Iterator[Call]:
    x, y = v.drawn((2, 5, 4), dtype), v.drawn((2, 5, 4), dtype)
    yield "aten.select_copy.int", x, 1, -2
    yield "aten.slice_copy.Tensor", x, 1, 1, 4
    yield "aten.slice_copy.Tensor", x, -2, -4, 100, 2
    yield "aten.slice_copy.Tensor", x, 2, None, None, 3
    yield "aten.split_copy.Tensor", x, 2, 1
    yield "aten.split_with_sizes_copy.default", x, [1, 0, 4], 1
    yield "aten.unbind_copy.int", x, 2
    yield "aten.stack.default", [x, y], -1
    yield "aten.cat.default", [x, y, y], 1
    yield "aten.permute_copy.default", x, [2, 0, 1]
    yield "aten.transpose_copy.int", x, 0, -1
    yield "aten.t_copy.default", x[0]
    yield "aten.view_copy.default", x, [5, -1]
    yield "aten.unsqueeze_copy.default", x, 1
    yield "aten.squeeze_copy.dims", x[:1], [0]
    yield "aten.expand_copy.default", x[:, :1], [2, 6, 4]
    yield "aten.clone.default", x
    yield "aten.copy.default", x, y[:1]
    yield "aten.repeat.default", x, [2, 1, 3, 1]
    yield "aten.flip.default", x, [0, -1]
    yield "aten.roll.default", x, [1, -3], [0, 1]
    yield "aten.tril.default", x, -1
    yield "aten.diagonal_copy.default", x, 1, 1, 2
    yield "aten.unfold_copy.default", x, 1, 3, 2
    yield "aten.as_strided_copy.default", x, [3, 2], [4, 1], 5


def _picked(v: Values, dtype: str) -> Iterator[Call]:
    x, y = v.drawn((2, 5, 4), dtype), v.drawn((2, 5, 4), dtype)
    mask, number = v.drawn((2, 5, 4), "bool"), _number(x)
    yield "aten.index_select.default", x, 1, v.indices((3,), 5)
    yield "aten.index.Tensor", x, [None, v.indices((3,), 5, -5)]
    yield "aten.index.Tensor", x, [v.indices((3, 1), 2), None, v.indices((2,), 4)]
    yield "aten.index_put.default", x, [None, np.array([4, 0])], y[:, :2]
    yield "aten.gather.default", x, 1, v.indices((2, 3, 4), 5)
    yield "aten.scatter.src", x, 2, np.argsort(v.rng.random((2, 3, 4)), 2), y
    yield "aten.scatter.value", x, 1, v.indices((1, 3, 2), 5), number
    yield "aten.select_scatter.default", x, y[:, 0], 1, 3
    yield "aten.slice_scatter.default", x, y[:, :2], 1, 1, 4, 2
    yield "aten.masked_fill.Scalar", x, mask[:1], number
    yield "aten.masked_scatter.default", x, mask, y
    yield "aten.narrow_copy.default", x, 1, 2, 3
    yield "aten.where.self", mask, x, y[:, :1]
    yield "aten.full_like.default", x, number
    yield "aten.embedding.default", x[0], v.indices((2, 3), 5)


def _number(x: Array) -> bool | int | float:
    """One of the same kind."""
    return {"b": True, "f": 2.5}.get(x.dtype.kind, 7)


def _images(v: Values, dtype: str) -> Iterator[Call]:
    x, image = v.drawn((2, 5, 4), dtype), v.drawn((1, 8, 4, 6), dtype)
    yield "aten.constant_pad_nd.default", x, [1, 2, 0, 3], _number(x)
    yield "aten.pixel_shuffle.default", image, 2
    yield "aten.pixel_unshuffle.default", image, 2
    if dtype in {"float32", "uint8", "float64", "float16"}:
        yield "aten.upsample_nearest2d.vec", image, [7, 3], None
        yield "aten.upsample_nearest2d.vec", image, None, [1.5, 2.25]
    if dtype != "bool":
        yield "aten.reflection_pad1d.default", x, [2, 1]
        yield "aten.reflection_pad2d.default", image, [2, 1, 0, 3]
        yield "aten.reflection_pad3d.default", image[None], [2, 1, 0, 3, 1, 1]
        yield "aten.replication_pad1d.default", x, [1, 2]
        yield "aten.replication_pad2d.default", image, [1, 0, 2, 2]
        yield "aten.replication_pad3d.default", image[None], [1, 0, 2, 2, 1, 1]


def made_from_numbers(v: Values) -> Iterator[Call]:
    """What makes values: numbers are not tensors. A call that takes one, for a program without
    inputs has no sample."""
    for dtype in DTYPES:
        x = v.drawn((2, 3), dtype)
        yield "aten.fill.Scalar", x, _number(x)
    yield "aten.full.default", [2, 3], 1.5
    yield "aten.full.default", [2, 3], 7
    yield "aten.full.default", [4], True
    yield "aten.full.default", [], -3
    yield "aten.full.default", [2], float("-inf")
    yield "aten.zeros.default", [3]
    yield "aten.ones.default", [1, 2]
    yield "aten.scalar_tensor.default", 0.1
    yield "aten.arange.default", 7
    yield "aten.arange.default", 2.75
    yield "aten.arange.start_step", 3, -8, -2
    yield "aten.arange.start_step", 0.3, 2.0, 0.1


def choices(v: Values) -> Iterator[Call]:
    """Comparisons, extremes and what rounds nothing, for every dtype."""
    for dtype in DTYPES:
        for shape in SHAPES:
            x, y = v.drawn(shape, dtype), v.drawn((*shape[:-1], 1), dtype)
            number = {"b": True, "f": 0.5}.get(x.dtype.kind, 3)
            for name in ("eq", "ne", "lt", "le", "gt", "ge"):
                yield f"aten.{name}.Tensor", x, y
                yield f"aten.{name}.Scalar", x, number
            for name in ("logical_and", "logical_or", "logical_xor", "maximum", "minimum"):
                yield f"aten.{name}.default", x, y
            yield "aten.logical_not.default", x
            yield "aten.any.dim", x, -1
            yield "aten.any.dims", x, [0], True
            yield "aten.any.default", x
            yield "aten.amax.default", x, [0]
            yield "aten.amin.default", x, [-1], True
            yield "aten.max.dim", x, 0
            yield "aten.min.dim", x, -1, True
            yield "aten.max.default", x
            yield "aten.min.default", x
            if dtype == "bool":
                continue
            yield "aten.argmax.default", x, 0
            yield "aten.argmin.default", x, -1, True
            yield "aten.argmax.default", x
            yield "aten.clamp.default", x, number - 2, number
            yield "aten.clamp.default", x, None, number
            yield "aten.clamp.Tensor", x, y, None
            for name in ("abs", "neg", "sign", "relu", "isnan", "isinf"):
                yield f"aten.{name}.default", x
            yield "aten.hardtanh.default", x, number - 2, number
            yield "aten.round.default", x
            if dtype not in {"int32", "int64"}:  # these go through floats
                for name in ("floor", "ceil", "trunc"):
                    yield f"aten.{name}.default", x
    x = v.special((4, 5))
    for name in ("isnan", "isinf", "relu", "sign", "abs", "floor"):
        yield f"aten.{name}.default", x
    yield "aten.maximum.default", x, v.special((4, 5))
    yield "aten.amax.default", x, [1]
    yield "aten.min.dim", x, 0
    yield "aten.argmax.default", x, 1
    yield "aten.clamp.default", x, -1, 1
    for dtype in DTYPES:
        if dtype != "bool":
            image = v.drawn((1, 2, 7, 6), dtype)
            yield "aten.max_pool2d_with_indices.default", image, [3, 2], [2, 2], [1, 1]
    image = v.drawn((1, 2, 7, 6), "float32")
    yield "aten.max_pool2d_with_indices.default", image, [3, 2], [2, 2], [1, 1]
    yield "aten.max_pool2d_with_indices.default", image, [2, 2], [2, 2], [0, 0], [2, 1], True
    yield "aten.max_pool2d_with_indices.default", v.special((1, 1, 5, 5)), [3, 3], [1, 1], [1, 1]


def integers(v: Values) -> Iterator[Call]:
    """Arithmetic of integers, which wraps; operands of two dtypes too."""
    pairs = [(d, d) for d in INTEGERS] + [("uint8", "int8"), ("int32", "int64"), ("bool", "int16")]
    for first, second in pairs:
        x, y = v.drawn((2, 3, 4), first), v.drawn((3, 1), second)
        small = np.where(y == 0, 1, np.clip(y, 1, 5)).astype(second)
        yield "aten.add.Tensor", x, y
        yield "aten.mul.Tensor", x, y
        yield "aten.floor_divide.default", x, small
        yield "aten.div.Tensor_mode", x, small, {"rounding_mode": "trunc"}
        yield "aten.div.Tensor_mode", x, small, {"rounding_mode": "floor"}
        yield "aten.remainder.Tensor", x, small
        yield "aten.fmod.Tensor", x, small
        yield "aten.bitwise_and.Tensor", x, y
        yield "aten.bitwise_or.Tensor", x, y
        yield "aten.bitwise_xor.Tensor", x, y
        yield "aten.bitwise_not.default", x
        yield "aten.eq.Tensor", x, y
        yield "aten.maximum.default", x, y
        yield "aten.where.self", v.drawn((3, 4), "bool"), x, y
        if first == "bool":
            continue
        yield "aten.sub.Tensor", x, y
        yield "aten.add.Scalar", x, 3, 2
        yield "aten.sub.Scalar", x, 100
        yield "aten.rsub.Scalar", x, 5, 3
        yield "aten.mul.Scalar", x, 3
        yield "aten.remainder.Scalar", x, 3
        yield "aten.fmod.Scalar", x, 3
        yield "aten.bitwise_and.Scalar", x, 6
        yield "aten.sum.dim_IntList", x, [1, 2]
        yield "aten.sum.dim_IntList", x, None, True
        yield "aten.prod.dim_int", x, 1
        yield "aten.prod.default", x[:, 0]
        yield "aten.cumsum.default", x, 1
        yield "aten.index_put.default", x, [v.indices((5,), 2)], x[0], True
        yield "aten.scatter_add.default", x, 2, v.indices((2, 3, 4), 4), v.drawn((2, 3, 4), first)
    yield "aten.cumsum.default", v.drawn((3, 50), "float32"), 1
    yield "aten.cumsum.default", v.drawn((3, 50), "bool"), 0
    yield "aten.sum.dim_IntList", v.drawn((3, 50), "bool"), [1]


def casts(v: Values) -> Iterator[Call]:
    """From every dtype to every other, with what the other does not hold."""
    import torch

    for source in DTYPES:
        x = v.drawn((40,), source)
        if x.dtype.kind == "f":
            with np.errstate(over="ignore"):
                x[:6] = np.asarray([np.nan, np.inf, -np.inf, -70000, 3e4, 200.7]).astype(source)
        for target in DTYPES:
            dtype = getattr(torch, target)
            yield "dim_order_ops._to_dim_order_copy.default", x, {"dtype": dtype}


def quantized(v: Values) -> Iterator[Call]:
    """From floats to 8 bits and back, beside the delegate."""
    import executorch.kernels.quantized  # noqa: F401  registers them

    library = "quantized_decomposed"
    for dtype in ("int8", "uint8"):
        x, y, limits = v.drawn((40,), "float32"), v.drawn((40,), dtype), np.iinfo(dtype)
        ends = int(limits.min), int(limits.max), _torch(dtype)
        yield f"{library}.quantize_per_tensor.default", x, 0.37, 3, *ends
        yield f"{library}.dequantize_per_tensor.default", y, 0.37, 3, *ends


def floats(v: Values) -> Iterator[Call]:
    """What is close, not exact."""
    x, y = v.drawn((2, 3, 4), "float32"), v.drawn((3, 1), "float32") + np.float32(0.7)
    positive = np.abs(x) + np.float32(0.1)
    for name in (
        *("acos", "asin", "atanh"),
        *("asinh", "atan", "cos", "erf", "exp", "expm1", "sigmoid", "sin", "tan", "tanh"),
    ):
        yield f"aten.{name}.default", np.clip(x, -0.9, 0.9)
    for name in ("acosh", "log", "log10", "log1p", "log2", "reciprocal", "rsqrt", "sqrt"):
        yield f"aten.{name}.default", positive + 1
    for name in ("cosh", "sinh", "exp"):
        yield f"aten.{name}.default", v.indices((3, 2), 5)
    yield "aten.add.Tensor", x, y, {"alpha": 2}
    yield "aten.sub.Scalar", x, 0.3, 2
    yield "aten.rsub.Scalar", x, 0.3
    yield "aten.mul.Scalar", v.indices((4,), 9), 0.5
    yield "aten.add.Tensor", v.indices((3, 4), 9), y
    yield "aten.div.Tensor", x, y
    yield "aten.div.Tensor", v.indices((4,), 9), v.indices((4,), 9) + 1
    yield "aten.div.Scalar", x, 3
    yield "aten.div.Tensor_mode", x, y, {"rounding_mode": "trunc"}
    yield "aten.div.Tensor_mode", x, y, {"rounding_mode": "floor"}
    yield "aten.floor_divide.default", x, y
    yield "aten.remainder.Tensor", x, y
    yield "aten.fmod.Scalar", x, 0.7
    yield "aten.pow.Tensor_Scalar", positive, 1.5
    yield "aten.pow.Scalar", 2.0, x
    yield "aten.pow.Tensor_Tensor", positive, y
    yield "aten.pow.Tensor_Scalar", v.indices((4,), 9), 3
    yield "aten.atan2.default", x, y
    yield "aten.elu.default", x, 1.3, 1.1, 0.9
    yield "aten.leaky_relu.default", x, 0.2
    yield "aten.gelu.default", x
    yield "aten.gelu.default", x, {"approximate": "tanh"}
    for name in ("floor", "ceil", "trunc"):
        yield f"aten.{name}.default", v.indices((5,), 9, -9)
    yield "aten.logit.default", np.clip(positive / 60, 0.01, 0.99), 0.1
    yield "aten.glu.default", x, -1
    yield "aten.var.dim", x, [1, 2]
    yield "aten.var.correction", x, [0], {"correction": 0, "keepdim": True}
    yield "aten.mean.default", x, {"dtype": _torch("float64")}
    yield "aten.sum.dim_IntList", x, [1], False, {"dtype": _torch("float64")}
    yield "aten.prod.default", positive
    yield "aten._softmax.default", x, 1, False
    yield "aten._log_softmax.default", x, 0, False
    yield "aten.scatter_add.default", x, 1, v.indices((2, 3, 4), 3), x
    yield "aten.index_put.default", x, [v.indices((5,), 2)], x[0], True
    yield "aten.mm.default", x[0], x[1].T.copy()
    yield "aten.bmm.default", x, np.ascontiguousarray(x.swapaxes(1, 2))
    yield "aten.addmm.default", y, x[0], x[1].T.copy(), {"beta": 0.5, "alpha": 2}
    yield "aten._cdist_forward.default", x, x + 1, 2.0, None
    yield from _float_images(v)


def _float_images(v: Values) -> Iterator[Call]:
    image, line = v.drawn((2, 4, 7, 6), "float32"), v.drawn((2, 4, 9), "float32")
    weights = v.drawn((6, 2, 3, 2), "float32")
    bias = v.drawn((6,), "float32")
    forward = [2, 1], [1, 0], [1, 2], False, [0, 0], 2
    yield "aten.convolution.default", image, weights, bias, *forward
    turned = [2, 3], [1, 0], [2, 1], True, [1, 0], 2
    yield "aten.convolution.default", image, v.drawn((4, 3, 3, 2), "float32"), bias, *turned
    yield (
        "aten.convolution.default",
        line,
        v.drawn((3, 4, 3), "float32"),
        None,
        [2],
        [1],
        [1],
        False,
        [0],
        1,
    )
    yield "aten.avg_pool2d.default", image, [3, 2], [2, 2], [1, 1]
    yield "aten.avg_pool2d.default", image, [3, 2], [2, 2], [1, 1], True, False
    yield "aten.avg_pool2d.default", image, [3, 3], [2, 2], [1, 1], True, True
    yield "aten.avg_pool2d.default", image, [2, 2], [2, 2], [0, 0], True, True, 3
    yield "aten._adaptive_avg_pool2d.default", image, [3, 5]
    yield "aten.upsample_bilinear2d.vec", image, [9, 4], False, None
    yield "aten.upsample_bilinear2d.vec", image, [9, 4], True, None
    yield "aten.upsample_bilinear2d.vec", image, None, False, [1.5, 2.0]
    grid = v.rng.uniform(-1.4, 1.4, (2, 3, 5, 2)).astype(np.float32)
    for mode in (0, 1):
        for border in (0, 1, 2):
            yield "aten.grid_sampler_2d.default", image, grid, mode, border, bool(border % 2)
    group = v.drawn((4,), "float32"), v.drawn((4,), "float32")
    yield "aten.native_group_norm.default", image, *group, 2, 4, 42, 2, 1e-5
    yield "aten.native_group_norm.default", image, None, None, 2, 4, 42, 4, 1e-5
    var = np.abs(group[1]) + np.float32(0.2)
    batch = "aten._native_batch_norm_legit_no_training.default"
    yield batch, image, *group, group[0], var, 0.1, 1e-5
    yield "aten._native_batch_norm_legit.no_stats", image, *group, True, 0.1, 1e-5
    yield "aten.native_layer_norm.default", image, [6], None, None, 1e-5


def _torch(name: str) -> Any:
    import torch

    return getattr(torch, name)


EXACT: dict[str, Callable[[Values], Iterator[Call]]] = {
    "moves": moves,
    "made-from-numbers": made_from_numbers,
    "choices": choices,
    "integers": integers,
    "casts": casts,
    "quantized": quantized,
}


def draw_kernels(family: Callable[[Values], Iterator[Call]], seed: int) -> KernelBuilder:
    """A program of a family's calls."""
    builder = KernelBuilder()
    for name, *arguments in family(Values(seed)):
        named = arguments.pop() if arguments and isinstance(arguments[-1], dict) else {}
        builder.call(name, *arguments, **named)
    return builder

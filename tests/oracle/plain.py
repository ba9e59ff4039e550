"""Draws of single-op models on values that are not quantized: sizes, positions, masks, caches."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from tests.oracle import elementwise
from tests.oracle.build import Builder, options
from tests.oracle.models import Model, Style, enum, model
from tests.oracle.moves import any_shape, pick, single

Rng = np.random.Generator
Maker = Callable[[Rng, int, Style], Model]

_BOTH = ("int32", "int64")
_ANY = ("int32", "int64", "float32", "bool", "float16")
_QUANTIZED = ("int8", "uint8", "int16")


def _pairwise(op: str, dtypes: Sequence[str]) -> Maker:
    """Of two tensors, the second may broadcast; a divisor is a constant of at least 2."""

    def make(rng: Rng, seed: int, _style: Style) -> Model:
        dtype, shape, builder = pick(rng, dtypes), any_shape(rng), Builder()
        other = shape if rng.integers(2) else tuple(1 if rng.integers(2) else n for n in shape)
        inputs = [builder.tensor(shape, dtype)]
        if op == "DIV":
            divisor = rng.integers(2, 100, other) * rng.choice((-1, 1), other)
            operands = [*inputs, builder.constant(divisor, dtype)]
        else:
            operands = inputs = [*inputs, builder.tensor(other, dtype)]
        result = builder.tensor(shape, "bool" if op == "EQUAL" else dtype)
        builder.op(op, operands, [result], version=2 if op == "DIV" else 1)
        return model(f"{op.lower()}-plain-{dtype}-{seed}", builder, inputs, [result])

    return make


def _alone(op: str, dtypes: Sequence[str]) -> Maker:
    def make(rng: Rng, seed: int, _style: Style) -> Model:
        shape = any_shape(rng)
        return single(op, seed, pick(rng, dtypes), [shape], [shape])

    return make


def _mean(rng: Rng, seed: int, _style: Style) -> Model:
    shape = any_shape(rng, 2, 4)
    axes = [int(a) for a in rng.permutation(len(shape))[: int(rng.integers(1, len(shape)))]]
    keep = bool(rng.integers(2))
    kept = [1 if i in axes else n for i, n in enumerate(shape) if keep or i not in axes]
    made = options("Reducer", keepDims=keep)
    return single(
        "MEAN", seed, pick(rng, _BOTH), [shape], [kept], constants=[(axes, "int32")], made=made
    )


def _cumsum(rng: Rng, seed: int, _style: Style) -> Model:
    shape = any_shape(rng)
    axis = int(rng.integers(-len(shape), len(shape)))
    made = options("Cumsum", exclusive=bool(rng.integers(2)), reverse=bool(rng.integers(2)))
    constants = [([axis], "int32")]
    return single(
        "CUMSUM", seed, pick(rng, _BOTH), [shape], [shape], constants=constants, made=made
    )


def _rank(dtype: str) -> Maker:
    return lambda rng, seed, _style: single(
        "RANK", seed, dtype, [any_shape(rng)], [()], result_dtype="int32"
    )


def _update(dtypes: Sequence[str]) -> Maker:
    """Boxes at places inside, and at some that stick out."""

    def make(rng: Rng, seed: int, _style: Style) -> Model:
        shape = any_shape(rng)
        box = [int(rng.integers(1, n + 1)) for n in shape]
        begin = [int(rng.integers(-1, n + 1)) for n in shape]
        kind = pick(rng, _BOTH)
        return single(
            "DYNAMIC_UPDATE_SLICE",
            seed,
            pick(rng, dtypes),
            [shape, box],
            [shape],
            constants=[(begin, kind)],
            version=2 if kind == "int64" else 1,
        )

    return make


def _nearest(rng: Rng, seed: int, _style: Style) -> Model:
    size = tuple(int(n) for n in rng.choice((1, 2, 5, 8, 9, 13), 2))
    shape = (pick(rng, (1, 2)), *(int(n) for n in rng.integers(2, 6, 2)), pick(rng, (1, 3, 8)))
    align, half = pick(rng, ((False, False), (True, False), (False, True)))
    return elementwise.resize(
        "RESIZE_NEAREST_NEIGHBOR",
        seed,
        shape=shape,
        size=size,
        align_corners=align,
        half_pixel=half,
        dtype=pick(rng, ("int32", "bool", "float16")),
    )


def _cast_halves(rng: Rng, seed: int, _style: Style) -> Model:
    shape, builder = any_shape(rng), Builder()
    target = pick(rng, (*_QUANTIZED, "int32", "int64", "float32", "bool"))
    x, result = builder.tensor(shape, "float16"), builder.tensor(shape, target)
    kinds = [enum("TensorType", t.upper()) for t in ("float16", target)]
    builder.op("CAST", [x], [result], options("Cast", inDataType=kinds[0], outDataType=kinds[1]))
    made = model(f"cast-float16-{target}-{seed}", builder, [x], [result])
    return replace(made, inputs=(replace(made.inputs[0], low=-400.0, high=400.0),))


def plain_families() -> dict[str, Maker]:
    """By name."""
    made: dict[str, Maker] = {f"{op}-plain": _pairwise(op, _BOTH) for op in ("MINIMUM", "MAXIMUM")}
    made |= {f"{op}-plain": _pairwise(op, ("int32",)) for op in ("DIV", "SQUARED_DIFFERENCE")}
    made |= {"EQUAL-plain-int16": _pairwise("EQUAL", ("int16",))}
    made |= {"NEG-plain": _alone("NEG", _BOTH), "ABS-plain": _alone("ABS", ("int32",))}
    made |= {"MEAN-plain": _mean, "CUMSUM-plain": _cumsum}
    made |= {"RESIZE_NEAREST_NEIGHBOR-plain": _nearest, "CAST-float16": _cast_halves}
    made |= {f"RANK-{dtype}": _rank(dtype) for dtype in (*_QUANTIZED, *_ANY)}
    for dtype in (*_QUANTIZED, "float16"):
        made[f"DYNAMIC_UPDATE_SLICE-{dtype}"] = _update((dtype,))
    made["DYNAMIC_UPDATE_SLICE-plain"] = _update(_ANY[:-1])
    return made

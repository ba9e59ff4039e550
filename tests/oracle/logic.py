"""Draws of single-op models that compare, choose, count or cast."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from tests.oracle.build import Builder, options
from tests.oracle.models import Draw, Model, Style, enum, model
from tests.oracle.moves import any_shape, pick, single

Rng = np.random.Generator
Maker = Callable[[Rng, int, Style], Model]

_QUANTIZED = ("int8", "uint8", "int16")
_COMPARISONS = {
    "EQUAL": "Equal",
    "NOT_EQUAL": "NotEqual",
    "LESS": "Less",
    "LESS_EQUAL": "LessEqual",
    "GREATER": "Greater",
    "GREATER_EQUAL": "GreaterEqual",
}


def _operands(rng: Rng) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """A shape, and it again or one that broadcasts to it."""
    shape = any_shape(rng)
    if rng.integers(2):
        return shape, shape
    return shape, tuple(1 if rng.integers(2) else n for n in shape)


def _compare(op: str, dtypes: Sequence[str]) -> Maker:
    def make(rng: Rng, seed: int, style: Style) -> Model:
        dtype, (shape, other) = pick(rng, dtypes), _operands(rng)
        draw, builder = Draw(seed, style), Builder()
        q = draw.quant(dtype, draw.scale(2e-3, 0.2) if style != "wide" else draw.scale() % 0.9)
        second = q if q is None or rng.integers(2) else draw.quant(dtype, min(q.scale[0] * 2, 0.9))
        inputs = [builder.tensor(shape, dtype, q), builder.tensor(other, dtype, second)]
        result = builder.tensor(shape, "bool")
        made = options(_COMPARISONS[op])
        builder.op(op, inputs, [result], made)
        name = f"{op.lower()}-{dtype}-{'x'.join(map(str, shape))}-{style}-{seed}"
        return model(name, builder, inputs, [result])

    return make


def _binary(op: str, dtypes: Sequence[str]) -> Maker:
    """Of plain values; the second operand of a division is a constant without zeros."""

    def make(rng: Rng, seed: int, _style: Style) -> Model:
        dtype, (shape, other) = pick(rng, dtypes), _operands(rng)
        builder = Builder()
        inputs = [builder.tensor(shape, dtype)]
        if op.startswith("FLOOR"):
            divisor = rng.integers(2, 100, other) * rng.choice((-1, 1), other)
            operands = [*inputs, builder.constant(divisor.astype(dtype), dtype)]
        else:
            operands = inputs = [*inputs, builder.tensor(other, dtype)]
        result = builder.tensor(shape, dtype)
        builder.op(op, operands, [result])
        return model(f"{op.lower()}-{dtype}-{seed}", builder, inputs, [result])

    return make


def _not(rng: Rng, seed: int, _style: Style) -> Model:
    shape = any_shape(rng)
    return single("LOGICAL_NOT", seed, "bool", [shape], [shape])


def _select(op: str, dtypes: Sequence[str]) -> Maker:
    def make(rng: Rng, seed: int, _style: Style) -> Model:
        dtype, shape = pick(rng, dtypes), any_shape(rng)
        draw, builder = Draw(seed, "random"), Builder()
        q = draw.quant(dtype)
        of_rows = (shape[:1], (), shape) if op == "SELECT" else (shape, (1,) * len(shape), (1,))
        inputs = [
            builder.tensor(pick(rng, of_rows), "bool"),
            builder.tensor(shape, dtype, q),
            builder.tensor(shape, dtype, q),
        ]
        result = builder.tensor(shape, dtype, q)
        builder.op(op, inputs, [result])
        return model(f"{op.lower()}-{dtype}-{seed}", builder, inputs, [result])

    return make


def _where(rng: Rng, seed: int, _style: Style) -> Model:
    shape = any_shape(rng)
    dtype = pick(rng, ("bool", "bool", "int32", "int8"))
    result = (int(np.prod(shape)), len(shape))
    return single("WHERE", seed, dtype, [shape], [result], result_dtype="int64")


def _cast(source: str) -> Maker:
    def make(rng: Rng, seed: int, _style: Style) -> Model:
        shape, builder = any_shape(rng), Builder()
        targets = ("int8", "uint8", "int16", "int32", "int64", "float32", "bool", "float16")
        target = pick(rng, tuple(t for t in targets if t != source))
        x, result = builder.tensor(shape, source), builder.tensor(shape, target)
        kinds = [enum("TensorType", t.upper()) for t in (source, target)]
        builder.op(
            "CAST", [x], [result], options("Cast", inDataType=kinds[0], outDataType=kinds[1])
        )
        made = model(f"cast-{source}-{target}-{seed}", builder, [x], [result])
        if source == "float32":
            made = replace(
                made, inputs=(replace(made.inputs[0], low=-400.0, high=400.0, step=1.0),)
            )
        return made

    return make


def _fill(rng: Rng, seed: int, _style: Style) -> Model:
    shape, dtype = any_shape(rng), pick(rng, ("int8", "int16", "int32", "int64", "float32", "bool"))
    builder = Builder()
    size, value = builder.constant(shape, "int32"), builder.tensor((), dtype)
    result = builder.tensor(shape, dtype)
    builder.op("FILL", [size, value], [result])
    return model(f"fill-{dtype}-{seed}", builder, [value], [result])


def _zeros(rng: Rng, seed: int, _style: Style) -> Model:
    shape = any_shape(rng)
    return single("ZEROS_LIKE", seed, pick(rng, ("int32", "int64", "float32")), [shape], [shape])


def _one_hot(rng: Rng, seed: int, _style: Style) -> Model:
    shape, depth = any_shape(rng, 1, 3), pick(rng, (1, 4, 9))
    axis = int(rng.integers(-1, len(shape) + 1))
    dtype = pick(rng, ("float32", "int8", "uint8", "int32", "int64", "bool"))
    builder = Builder()
    indices = builder.constant(rng.integers(-1, depth + 1, shape), pick(rng, ("int32", "int64")))
    fixed = [builder.constant(depth, "int32"), builder.constant(1, dtype)]
    off = builder.tensor((), dtype)
    end = len(shape) if axis < 0 else axis
    result = builder.tensor((*shape[:end], depth, *shape[end:]), dtype)
    builder.op("ONE_HOT", [indices, *fixed, off], [result], options("OneHot", axis=axis))
    return model(f"one_hot-{dtype}-{seed}", builder, [off], [result])


def _embedding(rng: Rng, seed: int, _style: Style) -> Model:
    rows, width = 7, pick(rng, (1, 5, 16))
    builder = Builder()
    indices = builder.constant(rng.integers(0, rows, 5), "int32")
    table = builder.tensor((rows, width), "float32")
    result = builder.tensor((5, width), "float32")
    builder.op("EMBEDDING_LOOKUP", [indices, table], [result])
    return model(f"embedding_lookup-{seed}", builder, [table], [result])


def _position(op: str, dtypes: Sequence[str]) -> Maker:
    kind = {"ARG_MAX": "ArgMax", "ARG_MIN": "ArgMin"}[op]

    def make(rng: Rng, seed: int, _style: Style) -> Model:
        shape, target = (
            (*any_shape(rng), pick(rng, (1, 15, 16, 17, 33, 50))),
            pick(rng, ("int32", "int64")),
        )
        axis = pick(rng, (-1, int(rng.integers(len(shape)))))
        result = [n for i, n in enumerate(shape) if i != axis % len(shape)]
        made = options(kind, outputType=enum("TensorType", target.upper()))
        constants = [([axis], pick(rng, ("int32", "int64")))]
        return single(
            op,
            seed,
            pick(rng, dtypes),
            [shape],
            [result],
            constants=constants,
            made=made,
            result_dtype=target,
        )

    return make


def _top(dtypes: Sequence[str]) -> Maker:
    def make(rng: Rng, seed: int, _style: Style) -> Model:
        draw, builder = Draw(seed, "random"), Builder()
        dtype, shape = pick(rng, dtypes), any_shape(rng)
        q, count = draw.quant(dtype), int(rng.integers(1, shape[-1] + 1))
        x = builder.tensor(shape, dtype, q)
        results = [
            builder.tensor((*shape[:-1], count), dtype, q),
            builder.tensor((*shape[:-1], count), "int32"),
        ]
        builder.op("TOPK_V2", [x, builder.constant(count, "int32")], results, options("TopKV2"))
        return model(f"topk_v2-{dtype}-{seed}", builder, [x], results)

    return make


def _reduce(op: str, dtypes: Sequence[str], *, powers: bool = False) -> Maker:
    """`powers`: the output's scale is near the input's to the power of the number of factors."""

    def make(rng: Rng, seed: int, style: Style) -> Model:
        dtype, shape = pick(rng, dtypes), any_shape(rng, 2, 4)
        shape = (*shape[:-1], pick(rng, (1, 3, 5))) if powers else shape
        axes = [int(a) for a in rng.permutation(len(shape))[: int(rng.integers(1, len(shape)))]]
        keep = bool(rng.integers(2))
        draw, builder = Draw(seed, style), Builder()
        q = out = draw.quant(dtype, draw.scale(0.01, 0.02)) if powers else None
        if powers:
            count = int(np.prod([shape[a] for a in axes]))
            out = draw.quant(dtype, float(max(draw.near(1.0) * 0.01 ** min(count, 4), 1e-9)))
        x = builder.tensor(shape, dtype, q)
        kept = [1 if i in axes else n for i, n in enumerate(shape) if keep or i not in axes]
        result = builder.tensor(kept, dtype, out)
        axis = builder.constant(axes, "int32")
        builder.op(op, [x, axis], [result], options("Reducer", keepDims=keep))
        name = f"{op.lower()}-{dtype}-{'x'.join(map(str, shape))}-axes{tuple(axes)}-{style}-{seed}"
        return model(name, builder, [x], [result])

    return make


def _comparison_families() -> dict[str, Maker]:
    made: dict[str, Maker] = {}
    for op in _COMPARISONS:
        equality = op.endswith("EQUAL") and not op.startswith(("LESS", "GREATER"))
        for dtype in _QUANTIZED if equality else ("int8", "uint8"):
            made[f"{op}-{dtype}"] = _compare(op, (dtype,))
        plain = ("int32", "int64", "float32", "bool" if equality else "int32")
        made[f"{op}-plain"] = _compare(op, plain)
    return made


def logic_families() -> dict[str, Maker]:
    """By family: op and dtype, or "plain" for those that are not quantized."""
    made = _comparison_families()
    for op in ("LOGICAL_AND", "LOGICAL_OR"):
        made[f"{op}-plain"] = _binary(op, ("bool",))
    made["LOGICAL_NOT-plain"] = _not
    for op in ("ADD", "SUB", "MUL"):
        made[f"{op}-plain"] = _binary(op, ("int32", "int64"))
    made["FLOOR_DIV-plain"] = _binary("FLOOR_DIV", ("int8", "int16", "int32", "float32"))
    made["FLOOR_MOD-plain"] = _binary("FLOOR_MOD", ("int8", "int16", "int32", "int64", "float32"))
    for op in ("SELECT", "SELECT_V2"):
        for dtype in _QUANTIZED:
            made[f"{op}-{dtype}"] = _select(op, (dtype,))
        made[f"{op}-plain"] = _select(op, ("int32", "int64", "float32", "bool"))
    for dtype in (*_QUANTIZED, "int32", "int64", "float32", "bool"):
        made[f"CAST-{dtype}"] = _cast(dtype)
    made |= {"WHERE-plain": _where, "FILL-plain": _fill, "ZEROS_LIKE-plain": _zeros}
    made |= {"ONE_HOT-plain": _one_hot, "EMBEDDING_LOOKUP-plain": _embedding}
    for op in ("ARG_MAX", "ARG_MIN"):
        for dtype in ("int8", "uint8"):
            made[f"{op}-{dtype}"] = _position(op, (dtype,))
        made[f"{op}-plain"] = _position(op, ("int32", "float32", "bool"))
    for dtype in _QUANTIZED:
        made[f"TOPK_V2-{dtype}"] = _top((dtype,))
    made["TOPK_V2-plain"] = _top(("int32", "int64", "float32"))
    for op in ("SUM", "REDUCE_PROD"):
        made[f"{op}-plain"] = _reduce(op, ("int32", "int64"))
    for op in ("REDUCE_MAX", "REDUCE_MIN"):
        made[f"{op}-plain"] = _reduce(op, ("int32", "int64", "float32"))
    for op in ("REDUCE_ANY", "REDUCE_ALL"):
        made[f"{op}-plain"] = _reduce(op, ("bool",))
    for dtype in ("int8", "int16"):
        made[f"REDUCE_PROD-{dtype}"] = _reduce("REDUCE_PROD", (dtype,), powers=True)
    return made

"""Models whose tensors between ops have 4 bits: float32 in and out, one op on int4 between."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from tests.oracle.build import Array, Builder, options
from tests.oracle.models import Draw, Input, Model, Style, model

Maker = Callable[[np.random.Generator, int, Style], Model]


@dataclass(frozen=True)
class _Move:
    """One op on int4: its output's shape, the values of its further inputs, its options."""

    shape: tuple[int, ...]
    more: tuple[Array, ...] = ()
    options: object = None
    twice: bool = False


def _gather(shape: tuple[int, int, int], rng: np.random.Generator) -> _Move:
    axis = int(rng.integers(3))
    indices = rng.integers(0, shape[axis], (2, 3)).astype(np.int32)
    made = options("Gather", axis=axis - 3 * int(rng.integers(2)))
    return _Move((*shape[:axis], 2, 3, *shape[axis + 1 :]), (indices,), made)


def _move(op: str, shape: tuple[int, int, int], rng: np.random.Generator) -> _Move:
    if op == "GATHER":
        return _gather(shape, rng)
    return _concatenation(shape, rng) if op == "CONCATENATION" else _reshaped(op, shape, rng)


def _concatenation(shape: tuple[int, int, int], rng: np.random.Generator) -> _Move:
    axis = int(rng.integers(3))
    joined = tuple(n * 2 if i == axis else n for i, n in enumerate(shape))
    return _Move(joined, (), options("Concatenation", axis=axis), twice=True)


def _reshaped(op: str, shape: tuple[int, int, int], rng: np.random.Generator) -> _Move:
    a, b, c = shape
    if op == "RESHAPE":
        return _Move((c, a * b), (np.array((c, a * b), np.int32),))
    if op == "SQUEEZE":
        kept = tuple(n for n in shape if n != 1) or ()
        return _Move(kept, (), options("Squeeze"))
    if op == "EXPAND_DIMS":
        return _Move((a, 1, b, c), (np.array(1, np.int32),))
    if op == "TRANSPOSE":
        order = rng.permutation(3)
        return _Move(tuple(shape[i] for i in order), (order.astype(np.int32),))
    begin = np.array([rng.integers(n) for n in shape], np.int32)
    size = np.array([rng.integers(1, n - b + 1) for n, b in zip(shape, begin, strict=True)])
    return _Move(tuple(int(n) for n in size), (begin, size.astype(np.int32)))


def _model(op: str) -> Maker:
    def make(rng: np.random.Generator, seed: int, style: Style) -> Model:
        draw, builder = Draw(seed, style), Builder()
        a, b = (int(n) for n in rng.integers(1, 5, 2))
        shape = (a, b, int(rng.choice((1, 3, 5, 8, 15, 16, 17, 33))))
        scale = replace(draw.quant("int8"), zero_point=(int(rng.integers(-8, 8)),))
        move = None if op in {"QUANTIZE", "CAST"} else _move(op, shape, rng)
        x, small = builder.tensor(shape, "float32"), builder.tensor(shape, "int4", scale)
        moved = small
        builder.op("CAST" if op == "CAST" else "QUANTIZE", [x], [small], version=3)
        if move is not None:
            moved = builder.tensor(move.shape, "int4", scale)
            more = [builder.constant(values, "int32") for values in move.more]
            inputs = [small, small] if move.twice else [small, *more]
            builder.op(op, inputs, [moved], move.options, version=1)
        y = builder.tensor(shape if move is None else move.shape, "float32")
        builder.op("CAST" if op == "CAST" else "DEQUANTIZE", [moved], [y], version=6)
        made = model(f"{op}-int4-{shape}-{style}-{seed}", builder, [x], [y])
        if op == "CAST":
            return replace(made, inputs=(Input(shape, "float32", 0, -12.0, 12.0, 1.0),))
        step = scale.scale[0]
        return replace(made, inputs=(Input(shape, "float32", 0, -20 * step, 20 * step, step),))

    return make


def four_bit_families() -> dict[str, Maker]:
    """By name."""
    moves = ("RESHAPE", "SQUEEZE", "EXPAND_DIMS", "TRANSPOSE", "SLICE", "CONCATENATION", "GATHER")
    return {f"{op}-int4": _model(op) for op in ("QUANTIZE", "CAST", *moves)}

"""Makers of single-op models of activations and elementary functions."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tests.oracle.build import Builder, options, per_tensor
from tests.oracle.models import Draw, Model, Style, model

_CHANNELS = (1, 3, 5, 8, 15, 16, 17, 33)


def _shape(rng: np.random.Generator) -> tuple[int, ...]:
    rank = int(rng.integers(1, 5))
    return (*(int(n) for n in rng.integers(1, 6, rank - 1)), int(rng.choice(_CHANNELS)))


def prelu(
    seed: int = 0,
    *,
    shape: Sequence[int] = (1, 5, 6, 7),
    slopes: Sequence[int] = (7,),
    dtype: str = "int8",
    style: Style = "random",
) -> Model:
    """PRELU with constant slopes; int8 ones for int16 inputs."""
    draw, builder = Draw(seed, style), Builder()
    q = draw.quant(dtype)
    assert q is not None
    x = builder.tensor(shape, dtype, q)
    stored = "int8" if dtype == "int16" else dtype
    zero = 0 if stored == "int8" else 120
    limits = np.iinfo(stored)
    values = draw.rng.integers(limits.min, limits.max, slopes, stored, endpoint=True)
    slope = builder.constant(values, stored, per_tensor(draw.scale(2**-8, 2**-5), zero))
    y = builder.tensor(shape, dtype, draw.quant(dtype, draw.coarser(q.scale[0])))
    builder.op("PRELU", [x, slope], [y])
    name = f"prelu-{dtype}-{'x'.join(map(str, shape))}-{'x'.join(map(str, slopes))}-{style}-{seed}"
    return model(name, builder, [x], [y])


def function(
    op: str,
    seed: int = 0,
    *,
    shape: Sequence[int] = (1, 5, 6, 7),
    dtype: str = "int8",
    style: Style = "random",
    made: Any = None,
    positive: bool = False,
) -> Model:
    """An elementary function; `positive`: of no input below zero, as some demand."""
    draw, builder = Draw(seed, style), Builder()
    q = draw.quant(dtype)
    assert q is not None
    if positive:
        q = per_tensor(q.scale[0], np.iinfo(dtype).min)
    x = builder.tensor(shape, dtype, q)
    y = builder.tensor(shape, dtype, draw.quant(dtype, draw.near(q.scale[0])))
    builder.op(op, [x], [y], made)
    return model(f"{op.lower()}-{dtype}-{style}-{seed}", builder, [x], [y])


Maker = Callable[[np.random.Generator, int, Style], Model]


def _function(op: str, dtype: str, made: Any = None, *, positive: bool = False) -> Maker:
    def make(rng: np.random.Generator, seed: int, style: Style) -> Model:
        return function(
            op, seed, shape=_shape(rng), dtype=dtype, style=style, made=made, positive=positive
        )

    return make


def _of_not_negative(op: str) -> Maker:
    """Of an int16 ABS, whose results are never below zero."""

    def make(rng: np.random.Generator, seed: int, style: Style) -> Model:
        draw, builder, shape = Draw(seed, style), Builder(), _shape(rng)
        q = draw.quant("int16")
        assert q is not None
        x, size = builder.tensor(shape, "int16", q), builder.tensor(shape, "int16", q)
        y = builder.tensor(shape, "int16", draw.quant("int16", draw.near(q.scale[0])))
        builder.op("ABS", [x], [size])
        builder.op(op, [size], [y])
        return model(f"{op.lower()}-int16-{style}-{seed}", builder, [x], [y])

    return make


def _prelu(dtype: str) -> Maker:
    def make(rng: np.random.Generator, seed: int, style: Style) -> Model:
        shape = (*_shape(rng)[:-1], 3, int(rng.choice(_CHANNELS)))
        slopes = shape if rng.integers(2) else shape[-1:]
        return prelu(seed, shape=shape, slopes=slopes, dtype=dtype, style=style)

    return make


def unary_families() -> dict[str, Maker]:
    """By name, as in the catalogue."""
    made: dict[str, Maker] = {}
    for dtype in ("int8", "uint8", "int16"):
        made[f"PRELU-{dtype}"] = _prelu(dtype)
    for op in ("ELU", "LOG", "NEG", "ABS"):
        made[f"{op}-int8"] = _function(op, "int8")
    made["ABS-int16"] = _function("ABS", "int16")
    made["NEG-int16"] = _function("NEG", "int16")
    for op in ("RSQRT", "SQRT"):
        made[f"{op}-int8"] = _function(op, "int8", positive=True)
        made[f"{op}-int16"] = _of_not_negative(op)
    for op in ("EXP", "LOG"):
        made[f"{op}-int16"] = _function(op, "int16")
    for approximate in (False, True):
        suffix = "-approximate" if approximate else ""
        made[f"GELU{suffix}-int16"] = _function(
            "GELU", "int16", options("Gelu", approximate=approximate)
        )
    for dtype in ("int8", "uint8"):
        for approximate in (False, True):
            suffix = "-approximate" if approximate else ""
            made[f"GELU{suffix}-{dtype}"] = _function(
                "GELU", dtype, options("Gelu", approximate=approximate)
            )
    return made

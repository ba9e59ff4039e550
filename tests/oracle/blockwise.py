"""Models whose 4- and 2-bit weights have a float16 scale for each block of a row."""

from collections.abc import Callable
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tests.oracle.build import Builder, options
from tests.oracle.hybrid import pack
from tests.oracle.models import Draw, Model, Style, activation_of, model

Maker = Callable[[np.random.Generator, int, Style], Model]

_BITS = {"int4": 4, "int2": 2}


def weights(
    builder: Builder,
    draw: Draw,
    shape: tuple[int, int],
    dtype: str,
    *,
    block: int,
    spread: float,
) -> int:
    """A constant matrix; the scales of its blocks lie within a factor of ``2 ** spread``."""
    high = 1 << (_BITS[dtype] - 1)
    values = draw.rng.integers(-high, high, shape)
    exponents = draw.rng.uniform(-spread, 0, (shape[0], shape[1] // block))
    scales = builder.constant((0.2 * 2.0**exponents).astype(np.float16), "float16")
    index = builder.constant(pack(values, _BITS[dtype]), dtype, shape=shape)
    details = schema.BlockwiseQuantizationT()
    details.scales, details.zeroPoints, details.blockSize = scales, -1, block
    stored = schema.QuantizationParametersT()
    stored.details = details
    stored.detailsType = schema.QuantizationDetails.BlockwiseQuantization
    builder.tensors[index].quantization = stored
    return index


def fully_connected(rng: np.random.Generator, seed: int, style: Style) -> Model:
    """FULLY_CONNECTED of float32 by int4, in shapes that both LiteRT's kernel and XNNPACK take."""

    def pick(values: Any) -> Any:
        return values[int(rng.integers(len(values)))]

    draw, builder = Draw(seed, style), Builder()
    block, rows, units = pick((32, 64, 96)), pick((1, 2, 3, 4, 9)), pick((4, 5, 8, 15, 16, 17, 33))
    depth = block * pick((1, 2, 3, 5))
    x, y = builder.tensor((rows, depth), "float32"), builder.tensor((rows, units), "float32")
    w = weights(builder, draw, (units, depth), "int4", block=block, spread=pick((2, 2, 9)))
    bias = draw.rng.normal(0, 2, units).astype(np.float32)
    b = builder.constant(bias, "float32") if rng.integers(3) else -1
    activation = pick(("NONE", "RELU", "RELU6", "RELU_N1_TO_1"))
    chosen = options("FullyConnected", fusedActivationFunction=activation_of(activation))
    builder.op("FULLY_CONNECTED", [x, w, b], [y], chosen, version=9)
    name = f"fc-blockwise-{rows}x{depth}-c{units}-b{block}-{activation}-{seed}"
    return model(name, builder, [x], [y])


def _embedding(dtype: str) -> Maker:
    def make(rng: np.random.Generator, seed: int, style: Style) -> Model:
        draw, builder = Draw(seed, style), Builder()
        block = int(rng.choice((4, 8, 32)))
        columns = block * int(rng.choice((1, 3, 5)))
        x, indices = builder.tensor((7,), "uint8"), builder.tensor((7,), "int32")
        y = builder.tensor((7, columns), "float32")
        table = weights(builder, draw, (256, columns), dtype, block=block, spread=4)
        builder.op("CAST", [x], [indices])
        builder.op("EMBEDDING_LOOKUP", [indices, table], [y], version=4)
        return model(f"embedding-blockwise-{dtype}-{columns}-b{block}-{seed}", builder, [x], [y])

    return make


def blockwise_families() -> dict[str, Maker]:
    """By name."""
    made = {f"EMBEDDING_LOOKUP-blockwise-{dtype}": _embedding(dtype) for dtype in _BITS}
    return made | {"FULLY_CONNECTED-blockwise-int4": fully_connected}

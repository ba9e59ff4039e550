"""Models of what transformers add to convolutional networks: DIV and integer embeddings."""

from collections.abc import Callable

import numpy as np

from tests.oracle.build import Builder, options
from tests.oracle.hybrid import weights
from tests.oracle.models import Draw, Model, Style, model

Maker = Callable[[np.random.Generator, int, Style], Model]


def _div(dtype: str) -> Maker:
    """A computed tensor over a constant without zeros, which a runtime refuses."""

    def make(rng: np.random.Generator, seed: int, style: Style) -> Model:
        draw, builder = Draw(seed, style), Builder()
        shape = tuple(int(n) for n in rng.choice((1, 3, 5, 17), 3))
        other = tuple(1 if rng.integers(3) == 0 else n for n in shape)
        s_1, s_2 = draw.scale(), draw.scale()
        q_1, q_2 = draw.quant(dtype, s_1), draw.quant(dtype, s_2)
        assert q_2 is not None
        out = draw.quant(dtype, s_1 / s_2 * draw.scale(0.02, 2))
        limits = np.iinfo(dtype)
        divisor = draw.rng.integers(limits.min, limits.max, other)
        divisor += divisor >= q_2.zero_point[0]
        x = builder.tensor(shape, dtype, q_1)
        y = builder.tensor(shape, dtype, out)
        builder.op(
            "DIV", [x, builder.constant(divisor, dtype, q_2)], [y], options("Div"), version=2
        )
        return model(f"div-{dtype}-{shape}-{other}-{style}-{seed}", builder, [x], [y])

    return make


def _embedding(dtype: str) -> Maker:
    """Rows by any uint8, which are cast to indices first."""

    def make(rng: np.random.Generator, seed: int, style: Style) -> Model:
        draw, builder = Draw(seed, style), Builder()
        columns = int(rng.choice((1, 5, 8, 17)))
        x = builder.tensor((7,), "uint8")
        indices, y = builder.tensor((7,), "int32"), builder.tensor((7, columns), "float32")
        axis = 0 if rng.integers(2) else None
        table = weights(builder, draw, (256, columns), dtype, axis)
        builder.op("CAST", [x], [indices])
        builder.op("EMBEDDING_LOOKUP", [indices, table], [y], version=4)
        return model(f"embedding-{dtype}-{columns}-{axis}-{style}-{seed}", builder, [x], [y])

    return make


def transformer_families() -> dict[str, Maker]:
    """By name."""
    made = {f"DIV-{dtype}": _div(dtype) for dtype in ("int8", "uint8", "int16")}
    made |= {f"EMBEDDING_LOOKUP-{dtype}": _embedding(dtype) for dtype in ("int8", "int4")}
    return made

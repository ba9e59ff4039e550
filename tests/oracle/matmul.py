"""Models of BATCH_MATMUL: static, hybrid and float, and how many of each are drawn."""

from collections.abc import Callable, Sequence

import numpy as np

from tests.oracle.build import Builder, options, per_tensor
from tests.oracle.hybrid import weights
from tests.oracle.models import Draw, Model, Style, model

Maker = Callable[[np.random.Generator, int, Style], Model]


def _shape(batches: Sequence[int], rows: int, columns: int, turned: bool) -> tuple[int, ...]:
    return (*batches, columns, rows) if turned else (*batches, rows, columns)


def batch_matmul(
    seed: int = 0,
    *,
    batches: tuple[Sequence[int], Sequence[int]] = ((2,), (2,)),
    size: tuple[int, int, int] = (4, 8, 5),
    adj: tuple[bool, bool] = (False, False),
    dtypes: tuple[str, str, str] = ("int8", "int8", "int8"),
    constant: bool = False,
    symmetric: bool = False,
    per_channel: bool = False,
    asymmetric_rows: bool = False,
    style: Style = "random",
) -> Model:
    """(…, rows, depth) times (…, depth, columns); `size` is (rows, depth, columns).

    Args:
        symmetric: a second factor with zero point 0.
        per_channel: a constant second factor with a scale for each column.
    """
    rows, depth, columns = size
    draw, builder = Draw(seed, style), Builder()
    left = _shape(batches[0], rows, depth, adj[0])
    right = _shape(batches[1], depth, columns, adj[1])
    q_x = draw.quant(dtypes[0])
    x = builder.tensor(left, dtypes[0], q_x)
    q_w = draw.quant(dtypes[1])
    if q_w is not None and symmetric:
        q_w = per_tensor(q_w.scale[0])
    if constant:
        axis = len(right) - (2 if adj[1] else 1)
        y = weights(builder, draw, right, dtypes[1], axis if per_channel else None)
        scale_w = builder.tensors[y].quantization.scale[0]
    else:
        y = builder.tensor(right, dtypes[1], q_w)
        scale_w = q_w.scale[0] if q_w is not None else 1.0
    q_out = None
    if dtypes[2] not in ("float32", "int32") and q_x is not None:
        product = q_x.scale[0] * float(scale_w) * 135.0 * np.sqrt(depth)
        if dtypes[0] == "int16":
            product /= 256 if dtypes[1] == "int8" else 1
        q_out = draw.quant(dtypes[2], draw.scale(product * 0.7, product * 1.4))
    out = builder.tensor(
        (*np.broadcast_shapes(tuple(batches[0]), tuple(batches[1])), rows, columns),
        dtypes[2],
        q_out,
    )
    builder.op(
        "BATCH_MATMUL",
        [x, y],
        [out],
        options("BatchMatMul", adjX=adj[0], adjY=adj[1], asymmetricQuantizeInputs=asymmetric_rows),
        version=4,
    )
    name = f"bmm-{'-'.join(dtypes)}-{list(batches[0])}-{list(batches[1])}-{size}-{adj}"
    name += f"-{'c' if constant else 'v'}{'0' if symmetric else ''}{'pc' if per_channel else ''}"
    name += f"{'-a' if asymmetric_rows else ''}-{style}-{seed}"
    return model(name, builder, [x] if constant else [x, y], [out])


def _draw(dtypes: tuple[str, str, str]) -> Maker:
    def make(rng: np.random.Generator, seed: int, style: Style) -> Model:
        hybrid = dtypes[:2] == ("float32", "int8")
        constant = hybrid or (dtypes[1] == "int8" and bool(rng.integers(2)))
        return batch_matmul(
            seed,
            batches=BATCHES[int(rng.integers(len(BATCHES)))],
            size=tuple(int(rng.choice((1, 3, 5, 8, 15, 16, 17, 33))) for _ in range(3)),
            adj=(bool(rng.integers(2)), bool(rng.integers(2))),
            dtypes=dtypes,
            constant=constant,
            symmetric=bool(rng.integers(2)) or dtypes[0] == "int16",
            per_channel=hybrid and bool(rng.integers(2)),
            asymmetric_rows=bool(rng.integers(2)),
            style=style,
        )

    return make


BATCHES: tuple[tuple[Sequence[int], Sequence[int]], ...] = (
    ((), ()),
    ((2,), (2,)),
    ((3,), ()),
    ((), (2,)),
    ((2, 3), (2, 3)),
    ((2, 1), (1, 3)),
    ((2, 3), (1, 3)),
)


def matmul_families() -> dict[str, Maker]:
    """By name."""
    int8, int16, real = "int8", "int16", "float32"
    return {
        "BATCH_MATMUL-int8": _draw((int8, int8, int8)),
        "BATCH_MATMUL-int8-int32": _draw((int8, int8, "int32")),
        "BATCH_MATMUL-int16": _draw((int16, int16, int16)),
        "BATCH_MATMUL-int16-int8": _draw((int16, int8, int16)),
        "BATCH_MATMUL-hybrid-int8": _draw((real, int8, real)),
    }

"""Draws of hybrid models for `tests.oracle.catalogue`."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tests.oracle import hybrid
from tests.oracle.build import Array
from tests.oracle.models import Model, Style

Maker = Callable[[np.random.Generator, int, Style], Model]

CHANNELS = (1, 3, 5, 8, 15, 16, 17, 33)
ACTIVATIONS = ("NONE", "RELU", "RELU6", "RELU_N1_TO_1")


def _pick(rng: np.random.Generator, values: Any) -> Any:
    return values[int(rng.integers(len(values)))]


def _fully_connected(dtype: str, per_channel: bool) -> Maker:
    def make(rng: np.random.Generator, seed: int, style: Style) -> Model:
        rows = _pick(rng, ((1,), (2,), (4,), (9,), (16,), (2, 3), (1, 8)))
        return hybrid.fully_connected(
            seed,
            rows=rows,
            keep_dims=len(rows) > 1 and bool(rng.integers(2)),
            depth=_pick(rng, (1, 3, 4, 8, 16, 17, 33, 64, 100)),
            channels=_pick(rng, CHANNELS),
            dtype=dtype,
            per_channel=per_channel,
            asymmetric=bool(rng.integers(2)),
            activation=_pick(rng, ACTIVATIONS),
            style=style,
            bias=bool(rng.integers(3)),
        )

    return make


def _window(rng: np.random.Generator) -> dict[str, Any]:
    kernel = _pick(rng, ((1, 1), (1, 1), (3, 3), (2, 3), (5, 5)))
    stride = _pick(rng, ((1, 1), (1, 1), (2, 2), (1, 2)))
    plain = stride == (1, 1) and 1 < max(kernel) < 4
    return {
        "kernel": kernel,
        "stride": stride,
        "dilation": _pick(rng, ((1, 1), (2, 2))) if plain else (1, 1),
        "padding": _pick(rng, ("SAME", "VALID")),
        "activation": _pick(rng, ACTIVATIONS),
    }


def _size(rng: np.random.Generator) -> tuple[int, int, int]:
    return _pick(rng, (1, 2, 3)), int(rng.integers(6, 9)), int(rng.integers(6, 9))


def _conv(dtype: str, per_channel: bool) -> Maker:
    def make(rng: np.random.Generator, seed: int, style: Style) -> Model:
        return hybrid.conv(
            seed,
            shape=(*_size(rng), _pick(rng, CHANNELS)),
            channels=_pick(rng, CHANNELS),
            dtype=dtype,
            per_channel=per_channel,
            style=style,
            **_window(rng),
        )

    return make


def _grouped(dtype: str) -> Maker:
    def make(rng: np.random.Generator, seed: int, style: Style) -> Model:
        groups = _pick(rng, (2, 3, 8))
        inputs, outputs = (groups * _pick(rng, (1, 2, 5)) for _ in range(2))
        shape = (*_size(rng), inputs)
        return hybrid.conv(
            seed,
            shape=shape,
            channels=outputs,
            groups=groups,
            dtype=dtype,
            style=style,
            **_window(rng),
        )

    return make


def _depthwise(rng: np.random.Generator, seed: int, style: Style) -> Model:
    channels = _pick(rng, CHANNELS)
    return hybrid.conv(
        seed,
        op="DEPTHWISE_CONV_2D",
        shape=(*_size(rng), channels),
        channels=channels * _pick(rng, (1, 1, 2, 3)),
        style=style,
        **_window(rng),
    )


def transpose_conv(rng: np.random.Generator, seed: int, style: Style) -> Model:
    """A draw of TRANSPOSE_CONV; no family of `hybrid_families`, all of which run on Arm too."""
    height, width = (int(n) for n in rng.integers(2, 6, 2))
    return hybrid.transpose_conv(
        seed,
        shape=(_pick(rng, (1, 2, 3)), height, width, _pick(rng, CHANNELS)),
        channels=_pick(rng, CHANNELS),
        kernel=(_pick(rng, (1, 2, 3, 4)), _pick(rng, (2, 3, 4))),
        stride=(_pick(rng, (1, 2)), _pick(rng, (1, 2))),
        padding=_pick(rng, ("SAME", "VALID")),
        per_channel=bool(rng.integers(2)),
        activation=_pick(rng, ACTIVATIONS),
        style=style,
        bias=bool(rng.integers(3)),
    )


def hybrid_families() -> dict[str, Maker]:
    """By name."""
    made: dict[str, Maker] = {"DEPTHWISE_CONV_2D-hybrid-int8-pc": _depthwise}
    made["CONV_2D-hybrid-grouped-int8-pc"] = _grouped("int8")
    for per_channel in (True, False):
        suffix = f"int8-{'pc' if per_channel else 'pt'}"
        made[f"FULLY_CONNECTED-hybrid-{suffix}"] = _fully_connected("int8", per_channel)
        made[f"CONV_2D-hybrid-{suffix}"] = _conv("int8", per_channel)
    for dtype in ("int4", "int2"):
        made[f"FULLY_CONNECTED-hybrid-{dtype}-pc"] = _fully_connected(dtype, True)
        made[f"FULLY_CONNECTED-hybrid-{dtype}-pt"] = _fully_connected(dtype, False)
    made["CONV_2D-hybrid-int4-pc"] = _conv("int4", True)
    made["CONV_2D-hybrid-int4-pt"] = _conv("int4", False)
    made["CONV_2D-hybrid-grouped-int4-pc"] = _grouped("int4")
    return made


def rows_on_ties(model: Model) -> tuple[Array, ...]:
    """Multiples of a half beside -127 and 128, which makes the step of a row 1, and what lies next
    below a half."""
    rng = np.random.default_rng(0)
    made = []
    for spec in model.inputs:
        x = (rng.integers(-253, 255, spec.shape) / 2).astype(np.float32)
        below = np.nextafter(np.float32(0.5), np.float32(0))
        x = np.where(rng.integers(0, 8, spec.shape) == 0, below, x)
        x[..., 0], x[..., -1] = -127, 128
        made.append(x)
    return tuple(made)


def around_dot_products() -> Iterator[Model]:
    """FULLY_CONNECTED beside the shapes that Arm's kernels with dot products take, and CONV_2D to
    one pixel and to more."""
    shapes = (
        ((4,), 16, 8),
        ((4,), 17, 8),
        ((4,), 16, 7),
        ((8,), 16, 6),
        ((2,), 128, 128),
        ((2,), 64, 128),
        ((3,), 128, 128),
        ((16,), 64, 32),
        ((16,), 16, 256),
        ((32,), 64, 64),
        ((32,), 64, 66),
    )
    for seed, (rows, depth, units) in enumerate(shapes):
        kind = {"per_channel": seed % 2 == 0, "asymmetric": seed % 3 == 0}
        yield hybrid.fully_connected(seed, rows=rows, depth=depth, channels=units, **kind)
    for batch, width in ((1, 3), (2, 3), (2, 4)):
        yield hybrid.conv(shape=(batch, 3, width, 5), channels=33, padding="VALID")
    for stride in ((1, 1), (2, 2)):
        yield hybrid.conv(shape=(2, 7, 7, 16), op="DEPTHWISE_CONV_2D", channels=16, stride=stride)

"""Models with one UNIDIRECTIONAL_SEQUENCE_LSTM or SVDF, which keep a state."""

from collections.abc import Sequence

import numpy as np

from tests.oracle.build import Array, Builder, Quant, options, per_tensor
from tests.oracle.models import activation_of

_FLOAT = ("float", "hybrid")
CELL_WEIGHTS, BIASES = 9, 12
"""Places of the first peephole's weights and of the first bias."""


class _Lstm:
    """The inputs of an LSTM in the making; absent ones are -1."""

    def __init__(self, seed: int, kind: str, sizes: tuple[int, int, int]) -> None:
        self.rng, self.kind, self.builder = np.random.default_rng(seed), kind, Builder()
        self.features, self.cells, self.outputs = sizes
        self.places = [-1] * 24

    def matrix(self, place: int, shape: Sequence[int]) -> None:
        values = self.rng.integers(-127, 128, shape)
        if self.kind == "float":
            reals = self.rng.normal(0, 0.3, shape)
            self.places[place] = self.builder.constant(reals, "float32")
        else:
            scale = float(self.rng.uniform(0.002, 0.006))
            self.places[place] = self.builder.constant(values, "int8", per_tensor(scale))

    def vector(self, place: int, size: int, dtype: str, scale: float, spread: int) -> None:
        if self.kind == "hybrid" and CELL_WEIGHTS <= place < BIASES:
            self.matrix(place, (size,))
        elif self.kind in _FLOAT:
            values: Array = self.rng.normal(0, 0.3, size)
            self.places[place] = self.builder.constant(values, "float32")
        else:
            values = self.rng.integers(-spread, spread + 1, size)
            self.places[place] = self.builder.constant(values, dtype, per_tensor(scale))

    def state(self, place: int, size: int, batch: int, dtype: str, quant: Quant | None) -> None:
        self.places[place] = self.builder.tensor((batch, size), dtype, quant, variable=True)


def lstm(
    seed: int = 0,
    *,
    kind: str = "int8",
    batch: int = 2,
    time: int = 3,
    sizes: tuple[int, int, int] = (5, 8, 8),
    time_major: bool = False,
    coupled: bool = False,
    peephole: bool = False,
    norm: bool = False,
    projection: bool = False,
    clip: float = 0.0,
    cell_power: int = -11,
) -> bytes:
    """An LSTM; `kind` is int8, float or hybrid; `coupled` has no input gate of its own.

    Args:
        sizes: of input, cell and output; the last two are equal without `projection`.
    """
    made, (features, cells, outputs) = _Lstm(seed, kind, sizes), sizes
    gates = range(1 if coupled else 0, 4)
    for gate in gates:
        made.matrix(1 + gate, (cells, features))
        made.matrix(5 + gate, (cells, outputs))
        made.vector(12 + gate, cells, "int32", 1e-4, 3000)
        if norm:
            made.vector(20 + gate, cells, "int16", 2.0**-12, 5000)
    for place, gate in ((9, 0), (10, 1), (11, 3)):
        if peephole and gate in gates:
            made.vector(place, cells, "int16", 2.0**-14, 9000)
    if projection:
        made.matrix(16, (outputs, cells))
        made.vector(17, outputs, "int32", 1e-4, 500)
    real = kind in _FLOAT
    q_x, q_h = (None, None) if real else (per_tensor(0.02, 11), per_tensor(0.008, -9))
    q_c = None if real else per_tensor(2.0**cell_power)
    made.state(18, outputs, batch, "float32" if real else "int8", q_h)
    made.state(19, cells, batch, "float32" if real else "int16", q_c)
    return _finish_lstm(made, (batch, time), q_x, q_h, time_major=time_major, clip=clip)


def _finish_lstm(
    made: _Lstm,
    lengths: tuple[int, int],
    q_x: Quant | None,
    q_h: Quant | None,
    *,
    time_major: bool,
    clip: float,
) -> bytes:
    builder, dtype = made.builder, "float32" if q_x is None else "int8"
    leading = lengths[::-1] if time_major else lengths
    x = made.places[0] = builder.tensor((*leading, made.features), dtype, q_x)
    y = builder.tensor((*leading, made.outputs), dtype, q_h)
    inside: list[int] = []
    if q_x is not None:
        inside = [builder.tensor((1,), "int16", per_tensor(2.0**-12)) for _ in range(4)]
        inside.append(builder.tensor((1,), "int8", per_tensor(0.008, -9)))
    builder.op(
        "UNIDIRECTIONAL_SEQUENCE_LSTM",
        made.places,
        [y],
        options(
            "UnidirectionalSequenceLSTM",
            fusedActivationFunction=activation_of("TANH"),
            timeMajor=time_major,
            cellClip=clip,
            projClip=clip / 10,
        ),
        intermediates=inside,
    )
    return builder.finish([x], [y])


def svdf(
    seed: int = 0,
    *,
    kind: str = "int8",
    batch: int = 2,
    features: int = 5,
    units: int = 7,
    rank: int = 2,
    memory: int = 4,
    bias: bool = True,
) -> bytes:
    """An SVDF; `kind` is int8, float or hybrid."""
    rng, builder, filters = np.random.default_rng(seed), Builder(), units * rank
    real = kind in _FLOAT
    dtype, q_x = ("float32", None) if real else ("int8", per_tensor(0.03, 5))
    x = builder.tensor((batch, features), dtype, q_x)
    if kind == "float":
        feature = builder.constant(rng.normal(0, 0.3, (filters, features)), "float32")
        times = builder.constant(rng.normal(0, 0.3, (filters, memory)), "float32")
    else:
        values = rng.integers(-127, 128, (filters, features))
        feature = builder.constant(values, "int8", per_tensor(0.004))
        if real:
            times = builder.constant(
                rng.integers(-127, 128, (filters, memory)), "int8", per_tensor(0.01)
            )
        else:
            values = rng.integers(-9999, 9999, (filters, memory))
            times = builder.constant(values, "int16", per_tensor(2.0**-14))
    added = -1
    if bias and real:
        added = builder.constant(rng.normal(0, 0.3, units), "float32")
    elif bias:
        added = builder.constant(rng.integers(-99999, 99999, units), "int32", per_tensor(2.0**-26))
    state_dtype, q_s = ("float32", None) if real else ("int16", per_tensor(2.0**-12))
    state = builder.tensor((batch, memory * filters), state_dtype, q_s, variable=True)
    y = builder.tensor((batch, units), dtype, None if real else per_tensor(0.02, -60))
    made = options("SVDF", rank=rank, fusedActivationFunction=activation_of("RELU"))
    builder.op("SVDF", [x, feature, times, added, state], [y], made)
    return builder.finish([x], [y])

"""UNIDIRECTIONAL_SEQUENCE_LSTM of int8 tensors with a 16-bit cell."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from harness.arithmetic.fixed_point import (
    Int64,
    shift_right_ties_away,
    to_int64,
    wrap_int16,
    wrap_int32,
)
from harness.arithmetic.gemmlowp import inverse_square_root, logistic, tanh
from harness.arithmetic.requantize import quantize_multiplier, round_s1
from harness.emulator.definitions import (
    Call,
    CannotRun,
    NoDefinition,
    Run,
    Values,
    define,
    required,
    scale_and_zero_point,
)
from harness.emulator.graph import Array, Tensor
from harness.emulator.ops.add import power_of_two

GATES = ("input", "forget", "cell", "output")
INPUT_WEIGHTS, RECURRENT_WEIGHTS, CELL_WEIGHTS, BIASES = 1, 5, 9, 12
PROJECTION, PROJECTION_BIAS, OUTPUT_STATE, CELL_STATE, NORMS = 16, 17, 18, 19, 20
"""Places among the 24 inputs; weights and biases of the four gates follow each other."""

_INT16_LOW, _INT16_HIGH = -(1 << 15), (1 << 15) - 1
_MOST_TANH_BITS = 6

Multiplier = tuple[Int64, Int64]
Gate = Callable[[Int64, Int64, Int64], Int64]
"""From the input, the output state and the cell state to a gate's 16-bit values."""


@dataclass(frozen=True, eq=False)
class Cell:
    """One step's functions and sizes."""

    gates: dict[str, Gate]
    power: int
    clip: int
    output: Callable[[Int64], Int64]
    hidden: Multiplier
    hidden_zero: int


def peephole_place(gate: str) -> int:
    """Place of a gate's peephole weights; the cell gate has none."""
    return CELL_WEIGHTS + {"input": 0, "forget": 1, "output": 2}[gate]


def constant(call: Call, place: int) -> Array | None:
    """A constant input; None when it is absent."""
    tensor = call.optional(place)
    if tensor is None:
        return None
    if tensor.data is None:
        raise NoDefinition(f"its input {place} is not constant")
    return tensor.data


def needed(call: Call, place: int) -> Array:
    """A constant input that must be there."""
    found = constant(call, place)
    if found is None:
        raise CannotRun(f"input {place} is absent")
    return found


def check_states(call: Call) -> tuple[int, int]:
    """(outputs, cells) by the weights' shapes, which the states must have."""
    outputs_by_cells = call.input(RECURRENT_WEIGHTS + 3).shape
    cells = call.input(INPUT_WEIGHTS + 3).shape[0] if call.input(INPUT_WEIGHTS + 3).shape else 0
    if len(outputs_by_cells) != 2 or not cells:
        raise NoDefinition("its recurrent weights are not matrices")
    for place in (OUTPUT_STATE, CELL_STATE):
        if not call.input(place).variable:
            raise CannotRun(f"input {place} is not a variable")
    return outputs_by_cells[1], cells


def sequence(call: Call) -> Callable[[Array], Array]:
    """Brings an input to (time, batch, features), and a result back."""
    shape, major = call.input(0).shape, bool(call.node.options.get("time_major"))
    if len(shape) not in (2, 3):
        raise CannotRun(f"its input has {len(shape)} dimensions, allowed: 2 or 3")
    if len(shape) == 2:
        return lambda x: x[np.newaxis] if x.ndim == 2 else x[0]
    return lambda x: x if major else x.transpose(1, 0, 2)


def _scale(tensor: Tensor) -> np.float32:
    return np.float32(scale_and_zero_point(tensor)[0])


def _multiplier(real: object) -> Multiplier:
    return quantize_multiplier(np.asarray(np.float32(real)))  # type: ignore[arg-type]  # any real


def _gate(call: Call, name: str) -> Gate:
    """``f(clip(S1(W x + b)) + S1(R h) + S1(p c))``, each sum clipped to 16 bits; f the logistic,
    of the cell gate tanh, from Q3.

    With layer normalization its result in place of the sum, before f.
    """
    index = GATES.index(name)
    weights, recurrent = (
        to_int64(needed(call, base + index)) for base in (INPUT_WEIGHTS, RECURRENT_WEIGHTS)
    )
    (_, z_x), (_, z_h) = (scale_and_zero_point(call.input(i)) for i in (0, OUTPUT_STATE))
    norm = constant(call, NORMS + index)
    to = np.float32(2.0**-12) if norm is None else _scale(call.intermediates[index])
    s_x, s_h = _scale(call.input(0)), _scale(call.input(OUTPUT_STATE))
    first = _multiplier(_scale(call.input(INPUT_WEIGHTS + index)) * s_x / to)
    second = _multiplier(_scale(call.input(RECURRENT_WEIGHTS + index)) * s_h / to)
    bias = to_int64(needed(call, BIASES + index))
    offset = -z_x * weights.sum(axis=1) + (bias if norm is None else 0)
    recurrent_offset = -z_h * recurrent.sum(axis=1)
    peephole = _peephole(call, name, to)
    normalize = _normalization(call, index, norm, bias)
    function = tanh if name == "cell" else logistic

    def gate(x: Int64, hidden: Int64, cell: Int64) -> Int64:
        total = _clip16(round_s1(wrap_int32(x @ weights.T + offset), *first))
        sums = wrap_int32(hidden @ recurrent.T + recurrent_offset)
        total = _clip16(round_s1(sums, *second) + total)
        return function(normalize(peephole(total, cell)), 3, 16)

    return gate


def _peephole(call: Call, name: str, to: np.float32) -> Callable[[Int64, Int64], Int64]:
    weights = None if name == "cell" else constant(call, peephole_place(name))
    if weights is None:
        return lambda total, _cell: total
    power = power_of_two(scale_and_zero_point(call.input(CELL_STATE))[0]) or 0
    scale = scale_and_zero_point(call.input(peephole_place(name)))[0]
    multiplier, products = _multiplier(2.0**power * scale / float(to)), to_int64(weights)
    return lambda total, cell: _clip16(round_s1(products * cell, *multiplier) + total)


def _normalization(
    call: Call, index: int, weights: Array | None, bias: Int64
) -> Callable[[Int64], Int64]:
    """Layer normalization in integers: mean and variance with 10 fraction bits.

    Source: LiteRT kernels/internal/reference/portable_tensor_utils.cc, PortableApplyLayerNorm.
    """
    if weights is None:
        return lambda total: total
    scale, coefficients = _scale(call.input(NORMS + index)), to_int64(weights)
    multiplier, shift = _multiplier(scale)
    guard = max(1, int(np.float32(10000) * scale))

    def normalize(total: Int64) -> Int64:
        count = total.shape[-1]
        sums = total.sum(axis=-1, keepdims=True) * 1024
        mean = np.sign(sums) * (np.abs(sums) // count)
        squares = (total * total).sum(axis=-1, keepdims=True) * ((1 << 20) // count)
        spread = squares - mean * mean
        variance = np.sign(spread) * (np.abs(spread) >> 20)
        inverse, right = inverse_square_root(np.where(variance < 1, guard, variance))
        scaled = round_s1(1024 * total - mean, inverse, -right)
        y = wrap_int32(scaled * coefficients) + bias
        y = np.sign(y) * ((np.abs(y) + 512) // 1024)
        return _clip16(round_s1(to_int64(y), multiplier, shift + 12))

    return normalize


def _output(call: Call) -> tuple[Callable[[Int64], Int64], Multiplier, int]:
    """(from the hidden values to the output state, the hidden values' multiplier, their zero
    point): the identity without projection."""
    hidden = call.intermediates[4]
    s_hidden, z_hidden = scale_and_zero_point(hidden)
    multiplier = _multiplier(2.0**-15 / s_hidden * 2.0**-15)
    weights = constant(call, PROJECTION)
    if weights is None:
        return (lambda y: y), multiplier, z_hidden
    s_y, z_y = scale_and_zero_point(call.input(OUTPUT_STATE))
    matrix, bias = to_int64(weights), constant(call, PROJECTION_BIAS)
    offset = z_hidden * matrix.sum(axis=1) + (0 if bias is None else bias)
    project = _multiplier(_scale(call.input(PROJECTION)) * np.float32(s_hidden) / np.float32(s_y))
    limit = float(call.node.options.get("proj_clip") or 0.0)
    clip = int(min(np.float32(limit) / _scale(call.output), np.float32(127))) if limit > 0 else 0

    def output(y: Int64) -> Int64:
        projected = np.clip(round_s1(wrap_int32(y @ matrix.T + offset), *project) + z_y, -128, 127)
        return to_int64(np.clip(projected, -clip, clip) if clip else projected)

    return output, multiplier, -z_hidden


def _cell(call: Call) -> Cell:
    if len(call.intermediates) < 5:
        raise NoDefinition(f"it has {len(call.intermediates)} intermediates, needs 5")
    scale = scale_and_zero_point(call.input(CELL_STATE))[0]
    power = power_of_two(scale)
    if power is None or not 0 <= 15 + power <= _MOST_TANH_BITS:
        raise NoDefinition(f"its cell's scale {scale} is no power of two from 2^-15 to 2^-9")
    limit = float(call.node.options.get("cell_clip") or 0.0)
    clip = int(min(np.float32(limit) / np.float32(scale), np.float32(32767))) if limit > 0 else 0
    names = [n for n in GATES if n != "input" or call.optional(INPUT_WEIGHTS) is not None]
    output, hidden, hidden_zero = _output(call)
    gates = {name: _gate(call, name) for name in names}
    return Cell(gates, power, clip, output, hidden, hidden_zero)


def _clip16(x: Int64) -> Int64:
    return to_int64(np.clip(x, _INT16_LOW, _INT16_HIGH))


def _product(a: Int64, b: Int64, shift: int) -> Int64:
    return wrap_int16(shift_right_ties_away(a * b, to_int64(shift)))


def _step(cell: Cell, x: Int64, hidden: Int64, state: Int64) -> tuple[Int64, Int64]:
    """One step: the new output state and cell state.

    ``c = clip(f c >> 15 + i g >> (30 + p))`` with a cell scale of 2^p, ties away from zero;
    ``h = S1(o tanh(c))``, projected.
    """
    forget = cell.gates["forget"](x, hidden, state)
    update = cell.gates["cell"](x, hidden, state)
    enter = cell.gates["input"](x, hidden, state) if "input" in cell.gates else 32767 - forget
    state = _clip16(_product(forget, state, 15) + _product(enter, update, 30 + cell.power))
    if cell.clip:
        state = to_int64(np.clip(state, -cell.clip, cell.clip))
    opened = cell.gates["output"](x, hidden, state)
    shown = opened * tanh(state, 15 + cell.power, 16)
    y = np.clip(round_s1(shown, *cell.hidden) + cell.hidden_zero, -128, 127)
    return cell.output(to_int64(y)), state


@define(["UNIDIRECTIONAL_SEQUENCE_LSTM"], ["int8-16-S1"])
def bind_integer(call: Call) -> Run:
    """Gates in Q3 of 16 bits, gemmlowp's logistic and tanh; see `_gate` and `_step`.

    The node gives the output, then the new output state and cell state.

    Source: LiteRT kernels/lstm_eval.cc, EvalInteger8x8_16; unidirectional_sequence_lstm.cc,
    PopulateQuantizedLstmParams8x8_16; internal/reference/portable_tensor_utils.cc.
    """
    check_states(call)
    cell, turn = _cell(call), sequence(call)

    def run(values: Values) -> tuple[Array, ...]:
        steps = turn(to_int64(required(values[0])))
        hidden = to_int64(required(values[OUTPUT_STATE]))
        state = to_int64(required(values[CELL_STATE]))
        outputs = []
        for x in steps:
            hidden, state = _step(cell, x, hidden, state)
            outputs.append(hidden)
        y = turn(np.stack(outputs).astype(np.int8))
        return np.ascontiguousarray(y), hidden.astype(np.int8), state.astype(np.int16)

    return run

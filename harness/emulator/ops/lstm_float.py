"""UNIDIRECTIONAL_SEQUENCE_LSTM in float32, with float or int8 weights."""

from collections.abc import Callable

import numpy as np

from harness.emulator.definitions import (
    Call,
    NoDefinition,
    Run,
    Values,
    as_float32,
    define,
    required,
)
from harness.emulator.graph import Array
from harness.emulator.ops.clamp import clamp_float, fused_activation
from harness.emulator.ops.dynamic_rows import product_of
from harness.emulator.ops.lstm import (
    BIASES,
    CELL_STATE,
    GATES,
    INPUT_WEIGHTS,
    NORMS,
    OUTPUT_STATE,
    PROJECTION,
    PROJECTION_BIAS,
    RECURRENT_WEIGHTS,
    check_states,
    constant,
    needed,
    peephole_place,
    sequence,
)

Gate = Callable[[Array, Array, Array], Array]


def _sigmoid(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-x)), np.float32)


def _activation(call: Call) -> Callable[[Array], Array]:
    name = fused_activation(call)
    if name == "TANH":
        return np.tanh
    if name == "SIGN_BIT":
        raise NoDefinition("its activation SIGN_BIT is not defined")
    return lambda x: clamp_float(x, name)


def _real(call: Call, place: int) -> Array | None:
    """A constant vector as floats."""
    found = constant(call, place)
    return None if found is None else as_float32(call.input(place), found)


def _gate(call: Call, name: str, function: Callable[[Array], Array]) -> Gate:
    index = GATES.index(name)
    product, again = (product_of(call, base + index) for base in (INPUT_WEIGHTS, RECURRENT_WEIGHTS))
    weights, recurrent = (needed(call, base + index) for base in (INPUT_WEIGHTS, RECURRENT_WEIGHTS))
    peephole = None if name == "cell" else _real(call, peephole_place(name))
    norm, bias = _real(call, NORMS + index), _real(call, BIASES + index)

    def gate(x: Array, hidden: Array, cell: Array) -> Array:
        total = product(x, weights) + again(hidden, recurrent)
        if peephole is not None:
            total = total + peephole * cell
        if norm is not None:
            mean, spread = total.mean(axis=-1, keepdims=True), total.std(axis=-1, keepdims=True)
            total = (total - mean) / np.where(spread > 0, spread, np.float32(1e-4)) * norm
        return function(total if bias is None else total + bias)

    return gate


@define(["UNIDIRECTIONAL_SEQUENCE_LSTM"], ["float"])
def bind_float(call: Call) -> Run:
    """``c = f c + i g``, ``h = o a(c)``, projected and clipped; a is the node's activation.

    The node gives the output, then the new output state and cell state.

    Source: LiteRT kernels/lstm_eval.cc, EvalFloat and EvalHybrid.
    """
    check_states(call)
    if call.input(0).dtype != "float32":
        raise NoDefinition("it is not float32")
    turn, activate = sequence(call), _activation(call)
    names = [n for n in GATES if n != "input" or call.optional(INPUT_WEIGHTS) is not None]
    gates = {n: _gate(call, n, activate if n == "cell" else _sigmoid) for n in names}
    projection, bias = constant(call, PROJECTION), _real(call, PROJECTION_BIAS)
    project = None if projection is None else product_of(call, PROJECTION)
    cell_clip, proj_clip = (
        np.float32(call.node.options.get(name) or 0) for name in ("cell_clip", "proj_clip")
    )

    def step(x: Array, hidden: Array, cell: Array) -> tuple[Array, Array]:
        forget, update = (gates[n](x, hidden, cell) for n in ("forget", "cell"))
        enter = gates["input"](x, hidden, cell) if "input" in gates else 1 - forget
        cell = forget * cell + enter * update
        cell = np.clip(cell, -cell_clip, cell_clip) if cell_clip > 0 else cell
        y = gates["output"](x, hidden, cell) * activate(cell)
        if project is not None and projection is not None:
            y = project(y, projection) + (0 if bias is None else bias)
            y = np.clip(y, -proj_clip, proj_clip) if proj_clip > 0 else y
        return np.asarray(y, np.float32), np.asarray(cell, np.float32)

    def run(values: Values) -> tuple[Array, ...]:
        hidden, cell = (required(values[i]) for i in (OUTPUT_STATE, CELL_STATE))
        outputs = []
        for x in turn(required(values[0])):
            hidden, cell = step(x, hidden, cell)
            outputs.append(hidden)
        return np.ascontiguousarray(turn(np.stack(outputs))), hidden, cell

    return run

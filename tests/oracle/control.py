"""Models with several subgraphs: branches, loops, variables, signatures, open shapes."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tests.oracle.build import Array, Builder, options, per_tensor

Q = per_tensor(2**-4, 3)
Q_SUM = per_tensor(2**-3, -7)


def _addition(builder: Builder, shape: Sequence[int], scale: Any = Q_SUM) -> tuple[int, int]:
    """ADD of a tensor with itself: (its input, its result)."""
    x, y = builder.tensor(shape, "int8", Q), builder.tensor(shape, "int8", scale)
    builder.op("ADD", [x, x], [y], options("Add"))
    return x, y


def branches(shape: Sequence[int] = (1, 5)) -> bytes:
    """IF a bool: x + x, else a RELU of x."""
    main = Builder()
    condition = main.tensor((1,), "bool")
    x, y = main.tensor(shape, "int8", Q), main.tensor(shape, "int8", Q_SUM)
    main.op("IF", [condition, x], [y], options("If", thenSubgraphIndex=1, elseSubgraphIndex=2))
    then, other = main.subgraph(), main.subgraph()
    doubled = _addition(then, shape)
    x_2, y_2 = other.tensor(shape, "int8", Q), other.tensor(shape, "int8", Q_SUM)
    other.op("RELU", [x_2], [y_2])
    return main.finish(
        [condition, x],
        [y],
        others=[(then, doubled[:1], doubled[1:]), (other, [x_2], [y_2])],
        signatures={"serve": 0, "double": 1},
    )


def float_branch(shape: Sequence[int] = (1, 5)) -> bytes:
    """IF a bool: the logistic function in float, else x + x; then x + x of the result."""
    main = Builder()
    condition = main.tensor((1,), "bool")
    x, y, last = (main.tensor(shape, "int8", Q) for _ in range(3))
    main.op("IF", [condition, x], [y], options("If", thenSubgraphIndex=1, elseSubgraphIndex=2))
    main.op("ADD", [y, y], [last], options("Add"))
    then, other = main.subgraph(), main.subgraph()
    x_1, real = then.tensor(shape, "int8", Q), then.tensor(shape, "float32")
    soft, y_1 = then.tensor(shape, "float32"), then.tensor(shape, "int8", Q)
    then.op("DEQUANTIZE", [x_1], [real])
    then.op("LOGISTIC", [real], [soft])
    then.op("QUANTIZE", [soft], [y_1])
    x_2, y_2 = _addition(other, shape, Q)
    return main.finish([condition, x], [last], others=[(then, [x_1], [y_1]), (other, [x_2], [y_2])])


def loop(shape: Sequence[int] = (1, 5), *, endless: bool = False) -> bytes:
    """WHILE i < n: i + 1, x + x (which saturates after a while)."""
    main = Builder()
    limit, x = main.tensor((), "int32"), main.tensor(shape, "int8", Q)
    start = main.constant(np.int32(0), "int32")
    results = [main.tensor((), "int32"), main.tensor((), "int32"), main.tensor(shape, "int8", Q)]
    made = options("While", condSubgraphIndex=1, bodySubgraphIndex=2)
    main.op("WHILE", [start, limit, x], results, made)
    condition, body = main.subgraph(), main.subgraph()
    i, n, _ = _state(condition, shape)
    going = condition.tensor((), "bool")
    condition.op("LESS", [i, i if endless else n], [going], options("Less"))
    if endless:
        condition.ops[-1].opcodeIndex = condition._code(_code_of("EQUAL"), 1)
    state = _state(body, shape)
    one, grown = body.constant(np.int32(1), "int32"), body.tensor((), "int32")
    body.op("ADD", [state[0], one], [grown], options("Add"))
    doubled = body.tensor(shape, "int8", Q)
    body.op("ADD", [state[2], state[2]], [doubled], options("Add"))
    return main.finish(
        [limit, x],
        results,
        others=[
            (condition, [i, n, _], [going]),
            (body, state, [grown, state[1], doubled]),
        ],
    )


def _code_of(name: str) -> int:
    from ai_edge_litert import schema_py_generated as schema

    return int(getattr(schema.BuiltinOperator, name))


def _state(builder: Builder, shape: Sequence[int]) -> list[int]:
    return [
        builder.tensor((), "int32"),
        builder.tensor((), "int32"),
        builder.tensor(shape, "int8", Q),
    ]


def growing() -> bytes:
    """WHILE i < n: x is padded by one, so that shapes change from round to round."""
    main = Builder()
    limit, x = main.tensor((), "int32"), main.tensor((2,), "int8", Q)
    start = main.constant(np.int32(0), "int32")
    results = [main.tensor((), "int32"), main.tensor((), "int32"), main.tensor((2,), "int8", Q)]
    made = options("While", condSubgraphIndex=1, bodySubgraphIndex=2)
    main.op("WHILE", [start, limit, x], results, made)
    condition, body = main.subgraph(), main.subgraph()
    state = _state(condition, (2,))
    going = condition.tensor((), "bool")
    condition.op("LESS", state[:2], [going], options("Less"))
    inside = _state(body, (2,))
    one, grown = body.constant(np.int32(1), "int32"), body.tensor((), "int32")
    body.op("ADD", [inside[0], one], [grown], options("Add"))
    widths, padded = body.constant([[0, 1]], "int32"), body.tensor((3,), "int8", Q)
    body.op("PAD", [inside[2], widths], [padded], options("Pad"))
    return main.finish(
        [limit, x],
        results,
        others=[(condition, state, [going]), (body, inside, [grown, inside[1], padded])],
    )


def circle() -> bytes:
    """A graph whose IF calls itself."""
    main = Builder()
    condition = main.tensor((1,), "bool")
    x, y = main.tensor((4,), "int8", Q), main.tensor((4,), "int8", Q)
    main.op("IF", [condition, x], [y], options("If", thenSubgraphIndex=1, elseSubgraphIndex=1))
    other = main.subgraph()
    x_2, y_2 = other.tensor((4,), "int8", Q), other.tensor((4,), "int8", Q)
    yes = other.constant([True], "bool")
    other.op("IF", [yes, x_2], [y_2], options("If", thenSubgraphIndex=1, elseSubgraphIndex=1))
    return main.finish([condition, x], [y], others=[(other, [x_2], [y_2])])


def _handle(builder: Builder) -> int:
    handle = builder.tensor((), "resource")
    builder.op("VAR_HANDLE", [], [handle], options("VarHandle", container="", sharedName="sum"))
    return handle


def running_sum(shape: Sequence[int] = (1, 5)) -> bytes:
    """A variable that is set once, then grows by the input at each call; the sum is the output."""
    main = Builder()
    x = main.tensor(shape, "int8", Q)
    before, after = main.tensor(shape, "int8", Q), main.tensor(shape, "int8", Q)
    main.op("CALL_ONCE", [], [], options("CallOnce", initSubgraphIndex=1))
    handle = _handle(main)
    main.op("READ_VARIABLE", [handle], [before], options("ReadVariable"))
    main.op("ADD", [before, x], [after], options("Add"))
    main.op("ASSIGN_VARIABLE", [handle, after], [], options("AssignVariable"))
    once = main.subgraph()
    values = np.arange(int(np.prod(shape)), dtype=np.int8).reshape(shape)
    first = once.constant(values, "int8", Q)
    once.op("ASSIGN_VARIABLE", [_handle(once), first], [], options("AssignVariable"))
    return main.finish([x], [after], others=[(once, [], [])])


def constant_outputs(shape: Sequence[int] = (2, 3)) -> bytes:
    """Outputs: a constant, x itself, a scalar constant, RELU of x, and a float constant."""
    builder = Builder()
    x, y = builder.tensor(shape, "int8", Q), builder.tensor(shape, "int8", Q)
    builder.op("RELU", [x], [y])
    outputs = [
        builder.constant([7, -3, 5], "int8", Q),
        x,
        builder.constant(np.int32(-9), "int32"),
        y,
        builder.constant([[0.5], [-2.0]], "float32"),
    ]
    return builder.finish([x], outputs)


def scalars() -> bytes:
    """IF a scalar: x + x, else a RELU of x; beside the difference of two scalars."""
    main = Builder()
    condition, x = main.tensor((), "bool"), main.tensor((2, 5), "int8", Q)
    a, b, difference = (main.tensor((), "int32") for _ in range(3))
    y = main.tensor((2, 5), "int8", Q_SUM)
    main.op("IF", [condition, x], [y], options("If", thenSubgraphIndex=1, elseSubgraphIndex=2))
    main.op("SUB", [a, b], [difference], options("Sub"))
    then, other = main.subgraph(), main.subgraph()
    doubled = _addition(then, (2, 5))
    x_2, y_2 = other.tensor((2, 5), "int8", Q), other.tensor((2, 5), "int8", Q_SUM)
    other.op("RELU", [x_2], [y_2])
    parts = [(then, doubled[:1], doubled[1:]), (other, [x_2], [y_2])]
    return main.finish([condition, x, a, b], [y, difference], others=parts)


def open_shapes(shape: Sequence[int] = (1, 1, 1, 3), free: Sequence[int] = (0, 1, 2)) -> bytes:
    """CONV_2D, MEAN over its image, FULLY_CONNECTED, of any batch and any size of image."""
    builder = Builder()
    rng = np.random.default_rng(5)
    x = builder.tensor(shape, "int8", Q, free_axes=free)
    weights = builder.constant(rng.integers(-99, 99, (8, 3, 3, 3)), "int8", per_tensor(2**-6))
    bias = builder.constant(rng.integers(-999, 999, 8), "int32", per_tensor(2**-10))
    y = builder.tensor((*shape[:3], 8), "int8", per_tensor(2**-2, -5), free_axes=free)
    made = options("Conv2D", strideH=1, strideW=1, dilationHFactor=1, dilationWFactor=1)
    builder.op("CONV_2D", [x, weights, bias], [y], made)
    axes = builder.constant([1, 2], "int32")
    mean = builder.tensor((shape[0], 8), "int8", per_tensor(2**-3, 4), free_axes=[0])
    builder.op("MEAN", [y, axes], [mean], options("Reducer", keepDims=False))
    dense = builder.constant(rng.integers(-99, 99, (5, 8)), "int8", per_tensor(2**-7))
    out = builder.tensor((shape[0], 5), "int8", per_tensor(2**-3, 1), free_axes=[0])
    builder.op("FULLY_CONNECTED", [mean, dense, -1], [out], options("FullyConnected"))
    return builder.finish([x], [out], signature=True)


def invoke(
    model: bytes, calls: Sequence[Sequence[Array]], kernels: str = "reference"
) -> list[list[Array]]:
    """All calls on one interpreter, which keeps its state: the outputs of each."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    kind = {
        "reference": OpResolverType.BUILTIN_REF,
        "builtin": OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        "xnnpack": OpResolverType.AUTO,
    }[kernels]
    interpreter = Interpreter(
        model_content=model, experimental_op_resolver_type=kind, num_threads=1
    )
    results = []
    for number, inputs in enumerate(calls):
        slots = interpreter.get_input_details()
        shapes = [tuple(slot["shape"]) for slot in slots]
        if not number or shapes != [x.shape for x in inputs]:
            for slot, x in zip(slots, inputs, strict=True):
                if tuple(slot["shape"]) != x.shape:
                    interpreter.resize_tensor_input(slot["index"], x.shape)
            interpreter.allocate_tensors()
        for slot, x in zip(slots, inputs, strict=True):
            interpreter.set_tensor(slot["index"], x)
        interpreter.invoke()
        results.append(
            [interpreter.get_tensor(slot["index"]) for slot in interpreter.get_output_details()]
        )
    return results

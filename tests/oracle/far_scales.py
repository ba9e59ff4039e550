"""Models whose scales lie far apart: there the integers of fixed-point kernels leave registers."""

from collections.abc import Iterator
from typing import Literal

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tests.oracle.build import Builder, options, per_tensor
from tests.oracle.models import Model, model

SHAPES = (((1, 8), (1, 8)), ((1, 7), (1, 7)), ((3, 5), (1, 5)), ((2, 9), (2, 1)))
"""Of SUB: whole blocks of 4 elements, a rest, and inputs that are broadcast."""


def rescaled(made: Model, power: int, which: Literal["in", "out"] = "out") -> Model | None:
    """The model with the scale of its first input or output times ``2^power``; None where that has
    none, or both share theirs."""
    tree = schema.ModelT.InitFromPackedBuf(made.data, 0)
    graph = tree.subgraphs[0]
    given, result = (graph.tensors[i].quantization for i in (graph.inputs[0], graph.outputs[0]))
    scales = [() if q is None or q.scale is None else tuple(q.scale) for q in (given, result)]
    changed = result if which == "out" else given
    if changed is None or not len(scales[which == "out"]) or scales[0] == scales[1]:
        return None
    changed.scale = (np.asarray(changed.scale, np.float64) * 2.0**power).astype(np.float32)
    packer = flatbuffers.Builder(1024)
    packer.Finish(tree.Pack(packer), b"TFL3")
    return Model(f"{made.name}-{which}{power}", bytes(packer.Output()), made.inputs)


def subtractions(powers: tuple[int, ...] = (20, 26, 38)) -> Iterator[tuple[str, Model]]:
    """SUB whose larger input scale is about that power of two times the output's; its dtype."""
    for dtype in ("int8", "int16", "uint8"):
        middle = {"int8": 0, "int16": 0, "uint8": 128}[dtype]
        zeros = (0, 0, 0) if dtype == "int16" else (middle + 3, middle - 5, middle + 7)
        for power in powers:
            for first, second in SHAPES:
                scales = (0.7, 0.9, 0.7 * 2.0**-power)
                quants = [per_tensor(s, z) for s, z in zip(scales, zeros, strict=True)]
                builder = Builder()
                a = builder.tensor(first, dtype, quants[0])
                b = builder.tensor(second, dtype, quants[1])
                y = builder.tensor(np.broadcast_shapes(first, second), dtype, quants[2])
                plain = options("Sub", fusedActivationFunction=0, potScaleInt16=False)
                builder.op("SUB", [a, b], [y], plain, version=2)
                name = f"sub-{dtype}-2^{power}-{first}-{second}"
                yield dtype, model(name, builder, [a, b], [y])

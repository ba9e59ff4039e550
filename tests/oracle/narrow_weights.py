"""Models with int8 weights whose weights are made int4 or int2: scales, biases, the rest stay."""

from collections.abc import Callable
from dataclasses import replace

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tests.oracle.build import Array
from tests.oracle.hybrid import pack
from tests.oracle.models import Model, Style

Maker = Callable[[np.random.Generator, int, Style], Model]

_BITS = {"int4": 4, "int2": 2}


def narrowed(make: Maker, dtype: str) -> Maker:
    """Draws of `make` with weights of `dtype`: see `narrow`."""
    return lambda rng, seed, style: narrow(make(rng, seed, style), dtype)


def narrow(wide: Model, dtype: str) -> Model:
    """The model with the first node's weights of `dtype`: the highest bits of the int8 ones.

    The lowest value is left out, so that weights are symmetric.
    """
    bits = _BITS[dtype]
    tree = schema.ModelT.InitFromPackedBuf(wide.data, 0)
    graph = tree.subgraphs[0]
    tensor = graph.tensors[graph.operators[0].inputs[1]]
    buffer = tree.buffers[tensor.buffer]
    values: Array = np.frombuffer(np.asarray(buffer.data, np.uint8).tobytes(), np.int8)
    highest = (1 << (bits - 1)) - 1
    kept = np.maximum(values >> (8 - bits), -highest)
    buffer.data = np.frombuffer(pack(kept, bits).tobytes(), np.uint8)
    tensor.type = getattr(schema.TensorType, dtype.upper())
    packer = flatbuffers.Builder(1024)
    packer.Finish(tree.Pack(packer), b"TFL3")
    return replace(wide, data=bytes(packer.Output()), name=f"{wide.name}-{dtype}")

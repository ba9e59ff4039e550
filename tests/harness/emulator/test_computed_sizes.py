"""Reductions whose axes, and resizes whose sizes, are no constants but inputs."""

import platform

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from harness.emulator.formats.tflite import read_tflite
from harness.emulator.interpreter import emulate
from harness.emulator.profiles import get_profile
from tests.oracle import elementwise
from tests.oracle.build import Array
from tests.oracle.models import Model
from tests.oracle.runtimes import Kernels, Request, run_all

PROFILES: dict[str, Kernels] = {"litert-ref": "reference"}
if platform.machine() == "x86_64":
    PROFILES |= {"litert-builtin-x86": "builtin", "litert-xnnpack-x86": "xnnpack"}
REDUCTIONS = ("MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN")
RESIZES = ("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR")


def computed(model: Model) -> tuple[bytes, Array]:
    """The file with its node's second input as an input of the graph, and the value of that."""
    tree = schema.ModelT.InitFromPackedBuf(model.data, 0)
    graph = tree.subgraphs[0]
    index = int(graph.operators[0].inputs[1])
    tensor = graph.tensors[index]
    value = np.frombuffer(np.asarray(tree.buffers[tensor.buffer].data, np.uint8).tobytes(), "<i4")
    tensor.buffer = 0
    graph.inputs = np.append(graph.inputs, index).astype(np.int32)
    packer = flatbuffers.Builder(1024)
    packer.Finish(tree.Pack(packer), b"TFL3")
    return bytes(packer.Output()), value


def models() -> list[Model]:
    made = [
        elementwise.reduce(op, seed, shape=(2, 5, 4, channels), axes=axes, keep_dims=seed % 2 == 0)
        for op in REDUCTIONS
        for seed, (channels, axes) in enumerate([(17, (1, 2)), (3, (3,)), (16, (2, 1)), (1, (0,))])
    ]
    sizes = ((7, 9), (1, 3), (8, 10))
    made += [elementwise.resize(op, n, size=s) for op in RESIZES for n, s in enumerate(sizes)]
    return made


@pytest.mark.parametrize("profile", PROFILES)
def test_equal_bit_for_bit(profile: str) -> None:
    work = [(m, *computed(m)) for m in models()]
    requests = [Request(d, (*m.sample(0), v), PROFILES[profile]) for m, d, v in work]
    for (model, data, _), request, answer in zip(work, requests, run_all(requests), strict=True):
        assert answer.error == "", model.name
        graph = read_tflite(data).main
        emulation = emulate(graph, get_profile(profile), request.inputs)
        (output,), (expected,) = graph.outputs, emulation.outputs
        assert expected is not None, model.name
        assert emulation.promises[output] == "exact", model.name
        assert np.array_equal(expected, answer.tensors[output]), model.name

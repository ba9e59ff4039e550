"""Where the runtime refuses a node for its output's quantization, so does the emulator; and only
there."""

import numpy as np
import pytest

from harness.emulator.formats.tflite import read_tflite
from harness.emulator.interpreter import emulate
from harness.emulator.profiles import get_profile
from harness.errors import ModelError
from tests.oracle.build import Builder, options, per_tensor
from tests.oracle.runtimes import Request, run_all

PROFILES = {
    "reference": "litert-ref",
    "builtin": "litert-builtin-x86",
    "xnnpack": "litert-xnnpack-x86",
}
INPUTS = {"int8": (0.05, 3), "uint8": (0.05, 120), "int16": (0.001, 0)}
OUTPUTS = {
    "int8": [(1 / 256, -128), (1 / 256, 0), (1 / 128, 0), (16 / 256, 127), (0.05, 3)],
    "uint8": [(1 / 256, 0), (1 / 256, 3), (1 / 128, 128), (16 / 256, 255), (0.05, 120)],
    "int16": [(1 / 32768, 0), (1 / 32768, 5), (0.001, 0), (0.001, 5)],
}
OPTIONS = {
    "SOFTMAX": options("Softmax", beta=1.0),
    "L2_NORMALIZATION": options("L2Norm"),
    "LEAKY_RELU": options("LeakyRelu", alpha=0.1),
    "ADD": options("Add"),
    "SUB": options("Sub"),
    "MUL": options("Mul"),
    "SUM": options("Reducer", keepDims=True),
    "MEAN": options("Reducer", keepDims=True),
}
OPS = ("LOGISTIC", "TANH", "LOG_SOFTMAX", "ABS", "SQRT", "RELU", "RELU6", *OPTIONS)


def made(op: str, dtype: str, output: tuple[float, int]) -> bytes:
    builder = Builder()
    x = builder.tensor([1, 4], dtype, per_tensor(*INPUTS[dtype]))
    inputs, shape = [x], [1, 4]
    if op in {"ADD", "SUB", "MUL"}:
        inputs.append(x)
    if op in {"SUM", "MEAN"}:
        inputs.append(builder.constant(np.array([1], np.int32), "int32"))
        shape = [1, 1]
    y = builder.tensor(shape, dtype, per_tensor(*output))
    builder.op(op, inputs, [y], OPTIONS.get(op), version=1 if dtype == "uint8" else 2)
    return builder.finish([x], [y])


@pytest.mark.parametrize("kernels", PROFILES)
def test_what_the_runtime_refuses_is_refused(kernels: str) -> None:
    x = {"int8": [4, 9, 50, 127], "uint8": [121, 130, 200, 255], "int16": [1, 9, 500, 32767]}
    asked = [
        (op, dtype, output, made(op, dtype, output))
        for op in OPS
        for dtype, outputs in OUTPUTS.items()
        for output in outputs
    ]
    requests = [
        Request(content, (np.array([x[dtype]], dtype),), kernels, all_tensors=False)
        for _op, dtype, _output, content in asked
    ]
    refusals, profile = 0, get_profile(PROFILES[kernels])
    for (op, dtype, output, content), request, answer in zip(
        asked, requests, run_all(requests), strict=True
    ):
        if answer.error and "failed to prepare" not in answer.error:
            continue  # no such kernel: nothing to say of its quantization
        said, promise = "", ""
        graph = read_tflite(content).main
        try:
            promise = emulate(graph, profile, request.inputs).promises[graph.outputs[0]]
        except ModelError as error:
            said = str(error)
        where = (op, dtype, output, answer.error, said)
        if not answer.error:
            assert "the runtime refuses" not in said, where
        else:
            assert promise != "exact", where
        refusals += "the runtime refuses" in said
    assert refusals > 20

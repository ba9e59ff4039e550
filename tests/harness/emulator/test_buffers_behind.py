"""Files whose constants lie behind the flatbuffer, as those above 2 GB must have them."""

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from harness.emulator.formats.tflite import read_tflite
from harness.emulator.formats.tflite_all_tensors import expose_all_tensors, exposed_tensors
from harness.errors import ModelError
from tests.oracle.networks import residual
from tests.oracle.runtimes import Kernels, Request, run, run_all

_ALIGNMENT = 16
_FAR = 1 << 60


def moved_behind(model: bytes) -> bytes:
    """The same model with the data of every buffer appended to it."""
    tree = schema.ModelT.InitFromPackedBuf(model, 0)
    moved = [(buffer, bytes(buffer.data)) for buffer in tree.buffers if buffer.data is not None]
    for buffer, data in moved:
        buffer.data, buffer.offset, buffer.size = None, _FAR, len(data)
    behind, start = b"", len(_packed(tree))
    for buffer, data in moved:
        behind += bytes(-(start + len(behind)) % _ALIGNMENT)
        buffer.offset = start + len(behind)
        behind += data
    return _packed(tree) + behind


def moved_inside(model: bytes) -> bytes:
    """The same model with all buffers in the flatbuffer, where TensorFlow Lite Micro looks."""
    tree = schema.ModelT.InitFromPackedBuf(model, 0)
    for buffer in tree.buffers:
        if buffer.offset > 1:
            buffer.data = np.frombuffer(model, np.uint8, buffer.size, buffer.offset)
            buffer.offset = buffer.size = 0
    return _packed(tree)


def _packed(tree: schema.ModelT) -> bytes:
    packer = flatbuffers.Builder(1024)
    packer.Finish(tree.Pack(packer), b"TFL3")
    return bytes(packer.Output())


def test_constants_are_read() -> None:
    before, after = read_tflite(residual()).main, read_tflite(moved_behind(residual())).main
    constants = [tensor for tensor in before.tensors if tensor.data is not None]
    assert constants
    for tensor in constants:
        np.testing.assert_array_equal(after.tensors[tensor.index].data, tensor.data)


def test_there_and_back() -> None:
    assert moved_inside(moved_behind(residual())) == moved_inside(residual())


@pytest.mark.parametrize("kernels", ["reference", "builtin", "xnnpack"])
def test_every_tensor_of_the_exposed_file_is_that_of_the_plain_one(kernels: Kernels) -> None:
    model = residual()
    x = np.random.default_rng(1).integers(-128, 128, (1, 5, 5, 4)).astype(np.int8)
    exposed = expose_all_tensors(moved_behind(model))
    expected = run(model, [x], kernels)
    (got,) = run_all([Request(exposed, (x,), kernels, all_tensors=False)])
    assert got.error == ""
    assert set(got.tensors) == set(exposed_tensors(read_tflite(model).main))
    for index, tensor in got.tensors.items():
        np.testing.assert_array_equal(tensor, expected.tensors[index])


def test_a_buffer_behind_the_end_is_refused() -> None:
    with pytest.raises(ModelError, match="behind the end of the file"):
        read_tflite(moved_behind(residual())[:-1])
    with pytest.raises(ModelError, match="behind the end of the file"):
        expose_all_tensors(moved_behind(residual())[:-1])

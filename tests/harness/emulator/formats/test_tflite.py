"""The reader: what it reads, and that every broken file ends in a ModelError."""

import contextlib
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from harness.emulator.formats.tflite import read_tflite
from harness.emulator.interpreter import emulate
from harness.emulator.profiles import get_profile
from harness.errors import ModelError, UsageError
from tests.oracle.build import Builder, Quant, options, per_tensor
from tests.oracle.catalogue import draw
from tests.oracle.networks import residual

MUTATIONS = 1500
MEMORY_LIMIT = 256 << 20


def one_tensor(shape: list[int], dtype: str = "int8") -> bytes:
    builder = Builder()
    x = builder.tensor(shape, dtype, per_tensor(0.5))
    y = builder.tensor(shape, dtype, per_tensor(0.5))
    builder.op("RELU", [x], [y])
    return builder.finish([x], [y])


def test_tensors_nodes_options_and_entry_points() -> None:
    model = read_tflite(residual())
    graph = model.main
    assert [node.op for node in graph.nodes] == ["PAD", "CONV_2D", "ADD", "RELU"]
    conv = graph.nodes[1]
    assert conv.options["padding"] == "SAME"
    assert conv.options["fused_activation_function"] == "NONE"
    assert (conv.options["stride_h"], conv.options["dilation_w_factor"]) == (1, 1)
    x = graph.tensors[graph.inputs[0]]
    assert (x.shape, x.dtype, x.data) == ((1, 5, 5, 4), "int8", None)
    assert x.quantization is not None
    assert (x.quantization.scales.tolist(), x.quantization.zero_points.tolist()) == ([0.125], [3])
    (entry,) = model.entry_points
    assert entry.graph == 0
    assert set(entry.inputs.values()) == set(graph.inputs)


def test_four_bit_constants_are_unpacked() -> None:
    values = np.asarray([[-8, 7, -1], [0, 3, -5]])
    builder = Builder()
    x = builder.tensor([1, 3], "int8", per_tensor(0.5))
    weights = builder.constant([0x78, 0x0F, 0xB3], "int4", per_tensor(0.5), shape=[2, 3])
    y = builder.tensor([1, 2], "int8", per_tensor(0.5))
    builder.op("FULLY_CONNECTED", [x, weights], [y], options("FullyConnected"))
    read = read_tflite(builder.finish([x], [y])).main.tensors[weights]
    assert (read.dtype, read.shape) == ("int4", (2, 3))
    assert read.data is not None
    assert read.data.tolist() == values.tolist()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"\x00" * 7, "7 bytes"),
        (b"PK\x03\x04" + b"x" * 100, "TFL3"),
        (np.random.default_rng(0).bytes(4096), "TFL3"),
        (b"\xff\xff\xff\x7fTFL3" + b"\xff" * 64, "not a usable"),
        (one_tensor([1 << 20, 1 << 20]), "allowed"),
        (one_tensor([1, 1 << 25], "float32"), None),
        (one_tensor([-1, 4]), "allowed"),
        (one_tensor([1] * 12), "12 dimensions"),
    ],
)
def test_broken_bytes(content: bytes, words: str | None, tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(content)
    if words is None:
        assert read_tflite(path)
        return
    with pytest.raises(ModelError, match=words) as error:
        read_tflite(path)
    assert str(path) in str(error.value)


def test_an_option_that_the_schema_does_not_know() -> None:
    builder = Builder()
    x = builder.tensor([1, 4, 4, 2], "int8", per_tensor(0.5))
    y = builder.tensor([1, 2, 2, 2], "int8", per_tensor(0.5))
    pooling = options("Pool2D", padding=77, strideW=2, strideH=2, filterWidth=2, filterHeight=2)
    builder.op("MAX_POOL_2D", [x], [y], pooling)
    with pytest.raises(ModelError, match="option padding is 77"):
        read_tflite(builder.finish([x], [y]))


def test_as_many_zero_points_as_scales() -> None:
    builder = Builder()
    x = builder.tensor([1, 3], "int8", Quant((0.5, 0.5, 0.5), (0, 0), 1))
    y = builder.tensor([1, 3], "int8", per_tensor(0.5))
    builder.op("RELU", [x], [y])
    with pytest.raises(ModelError, match="3 scales and 2 zero points"):
        read_tflite(builder.finish([x], [y]))


@pytest.mark.parametrize("zero_point", [-(1 << 63), -(1 << 31) - 1, 1 << 31, (1 << 63) - 1])
def test_a_zero_point_that_no_runtime_can_keep(zero_point: int) -> None:
    """-2^63 is its own magnitude in int64, and so "smaller" than any limit."""
    builder = Builder()
    x = builder.tensor([1, 3], "int8", Quant((0.5,), (zero_point,), 0))
    y = builder.tensor([1, 3], "int8", per_tensor(0.5))
    builder.op("RELU", [x], [y])
    with pytest.raises(ModelError, match="a zero point outside int32"):
        read_tflite(builder.finish([x], [y]))


def test_a_file_beyond_the_formats_limit(tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    with path.open("wb") as stream:
        stream.truncate((1 << 31) + 1)  # sparse: it takes no room
    with pytest.raises(ModelError, match="larger than 2147483648 bytes"):
        read_tflite(path)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        read_tflite(tmp_path / "no.tflite")


@pytest.mark.parametrize("length", [8, 40, 200, 1000, -1])
def test_truncated(length: int) -> None:
    whole = residual()
    with pytest.raises(ModelError):
        read_and_run(whole[:length] if length > 0 else whole[: len(whole) // 2])


def read_and_run(content: bytes) -> None:
    """Read the file and run it on zeros, if it can be run at all."""
    graph = read_tflite(content).main
    inputs = [
        np.zeros(graph.tensors[i].shape, graph.tensors[i].dtype)
        for i in graph.inputs
        if graph.tensors[i].dtype not in {"string", "resource", "variant", "bfloat16"}
    ]
    if sum(x.size for x in inputs) < 1 << 16:
        emulate(graph, get_profile("litert-xnnpack-x86"), inputs)


@pytest.mark.parametrize(
    "family", ["network", "FULLY_CONNECTED-int8-pc", "MEAN-int8", "SOFTMAX-int8"]
)
def test_mutated_files_end_in_a_model_error_or_run(family: str) -> None:
    whole = residual() if family == "network" else draw(family, 1)[0].data
    rng = np.random.default_rng(len(family))
    tracemalloc.start()
    for _ in range(MUTATIONS // 4):
        content = bytearray(whole)
        for at in rng.integers(len(content), size=rng.choice([1, 1, 2, 8])):
            content[at] = rng.choice([0, 1, 0x7F, 0x80, 0xFF, rng.integers(256)])
        with contextlib.suppress(ModelError):
            read_and_run(bytes(content))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < MEMORY_LIMIT

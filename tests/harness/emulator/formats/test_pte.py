"""The reader of `.pte` files, without ExecuTorch: a golden program, whole and damaged."""

import struct
from pathlib import Path

import numpy as np
import pytest

from harness.emulator.formats import pte_all_tensors as expose_pte
from harness.emulator.formats.flatbuffer_front import (
    NewTable,
    Numbers,
    Old,
    Vector,
    copy_table,
    old_tables,
    put_in_front,
)
from harness.emulator.formats.model_file import format_of_file, read_model
from harness.emulator.formats.pte import ProgramFile, read_method
from harness.emulator.graph import Graph
from harness.emulator.interpreter import emulate
from harness.emulator.profiles import get_profile
from harness.errors import ModelError

GOLDEN = Path(__file__).parents[3] / "golden/programs/network"
PROGRAM = GOLDEN.with_suffix(".pte").read_bytes()
PROFILE = get_profile("executorch-xnnpack-x86")
CASES = 500


def read(content: bytes) -> Graph:
    return read_model(content, where="golden").main


def test_the_golden_program_gives_what_executorch_gave() -> None:
    """Recorded with executorch 1.5.1 on x86-64, so it holds on machines without it too."""
    recorded = np.load(GOLDEN.with_suffix(".npz"))
    graph = read_model(GOLDEN.with_suffix(".pte")).main
    found = emulate(graph, PROFILE, [recorded["in"]])
    assert [found.promises[i] for i in graph.outputs] == ["exact", "exact"]
    for number, y in enumerate(found.outputs):
        np.testing.assert_array_equal(recorded[f"out{number}"], y)


def test_the_graph_is_what_the_payload_says() -> None:
    graph = read(PROGRAM)
    assert format_of_file(GOLDEN.with_suffix(".pte")).runtime == "executorch"
    ops = [node.op for node in graph.nodes]
    assert ops.count("DEPTHWISE_CONV_2D") == 2
    assert {"CONV_2D", "ADD", "CONCATENATION", "MAX_POOL_2D", "MEAN", "FULLY_CONNECTED"} < {*ops}
    conv = next(node for node in graph.nodes if node.op == "CONV_2D")
    x, w, b = (graph.tensors[i] for i in conv.inputs)
    assert (x.shape, x.dtype) == ((1, 16, 16, 3), "int8")
    assert (w.shape, w.dtype) == ((8, 3, 3, 3), "int8")
    assert w.quantization is not None
    assert b.quantization is not None
    assert x.quantization is not None
    np.testing.assert_allclose(
        b.quantization.scales, w.quantization.scales * x.quantization.scales[0], rtol=1e-6
    )
    assert conv.options["padding_h"] == (1, 1)
    assert conv.options["fused_activation_function"] == "RELU"
    outside = [node for node in graph.nodes if node.options.get("portable")]
    assert [node.op for node in outside] == ["MEAN"], "keeps no dimensions: not XNNPACK's"


def test_the_exposed_program_is_one_with_more_outputs() -> None:
    method = read_method(PROGRAM, where="golden")
    exposed = read(expose_pte.expose_program(method))
    wanted = expose_pte.exposed_tensors(method)
    assert wanted[:2] == method.graph.outputs
    assert len(exposed.outputs) == len(wanted) > 20
    assert [node.op for node in exposed.nodes] == [node.op for node in method.graph.nodes]
    for index, made in zip(wanted, exposed.outputs, strict=True):
        tensor, other = method.graph.tensors[index], exposed.tensors[made]
        assert (tensor.shape, tensor.dtype) == (other.shape, other.dtype)


def with_calls(count: int) -> bytes:
    """The golden program with its one kernel call made again and again, each time into a value of
    its own: as many values and instructions as an unrolled recurrent net has."""
    file = ProgramFile(memoryview(PROGRAM))
    (chain,) = file.chains
    call = next(c for kind, c in (i.union(1) for i in chain.tables(2)) if kind == 1)
    *arguments, out, _ = call.integers(1, "<i4")
    _, tensor = file.values[out].union(1)
    values: list[NewTable | Old] = [*old_tables(file.plan, 2)]
    instructions: list[NewTable | Old] = [*old_tables(chain, 2)]
    for _ in range(count):
        again = Numbers("i", [*arguments, len(values), len(values)])
        values.append(NewTable({0: ("B", 5)}, {1: Old(tensor.place)}))
        made = NewTable({0: ("i", call.integer(0, "i"))}, {1: again})
        instructions.append(NewTable({0: ("B", 1)}, {1: made}))
    plan, steps = copy_table(file.plan, "o" * 10), copy_table(chain, "oooo")
    steps.links[2] = Vector(instructions)
    plan.links[2], plan.links[5] = Vector(values), Vector([steps])
    program = copy_table(file.root, "Iooooooo")
    program.links[1] = Vector([plan])
    front = put_in_front(program, file.buffer.content, header_bytes=40)
    front += bytes(-len(front) % 128)
    segments = file.content[file.base :]
    front[8:40] = b"eh00" + struct.pack("<IQQQ", 32, len(front), len(front), len(segments))
    return bytes(front) + bytes(segments)


def test_many_values_cost_as_much_as_they_are_large() -> None:
    """The list of values was read anew for every tensor: unrolled recurrent nets were refused."""
    method = read_method(with_calls(1000), where="golden")
    exposed = read(expose_pte.expose_program(method))
    assert len(exposed.outputs) == len(expose_pte.exposed_tensors(method)) > 1000


@pytest.mark.parametrize("size", [0, 3, 7, 8, 11, 20, 31, 39, 64, 500, len(PROGRAM) // 2])
def test_a_file_that_was_cut_off_is_refused(size: int) -> None:
    with pytest.raises(ModelError, match="golden: not a usable"):
        read(PROGRAM[:size])


@pytest.mark.parametrize(
    ("place", "layout", "value", "reason"),
    [
        (0, "I", 0xFFFFFFFF, "lies outside"),
        (0, "I", 9, "golden"),
        (16, "Q", 1 << 60, "its program has"),
        (24, "Q", 1 << 62, "behind the file's end"),
    ],
)
def test_hostile_offsets_are_refused(place: int, layout: str, value: int, reason: str) -> None:
    content = bytearray(PROGRAM)
    struct.pack_into(f"<{layout}", content, place, value)
    with pytest.raises(ModelError, match=reason):
        read(bytes(content))


def damaged(rng: np.random.Generator) -> bytes:
    """A few bytes or words replaced, most of them where offsets and shapes are."""
    content = bytearray(PROGRAM)
    words = (0, 1, 2, 0x7F, 0xFF, 0xFFFF, 1 << 20, 1 << 31, 0xFFFFFFFF, 0xFFFFFFF0)
    for _ in range(int(rng.choice([1, 1, 2, 8]))):
        place = int(rng.integers(len(content)))
        if rng.integers(2):
            content[place] = int(rng.integers(256))
        else:
            place -= place % 4
            content[place : place + 4] = struct.pack("<I", words[int(rng.integers(len(words)))])
    return bytes(content[: len(PROGRAM)])


def test_damaged_files_end_in_a_model_error_or_run() -> None:
    """Whatever is damaged, and whether or not the file is still read: no other exception leaves
    the reader, the exposed form or the emulator."""
    rng = np.random.default_rng(20261122)
    outcomes = {"refused": 0, "ran": 0}
    for number in range(CASES):
        content = damaged(rng)
        try:
            method = read_method(content, where="damaged")
            expose_pte.expose_program(method)
            if number % 10 == 0:
                inputs = [
                    np.zeros(method.graph.tensors[i].shape, np.float32) for i in method.graph.inputs
                ]
                emulate(method.graph, PROFILE, inputs)
            outcomes["ran"] += 1
        except ModelError:
            outcomes["refused"] += 1
    assert min(outcomes.values()) > CASES // 10, outcomes

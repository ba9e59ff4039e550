"""Streaming: the same as at once, in bounded parts, and taken up after any end."""

import multiprocessing
import os
import signal
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from harness.emulator.formats.tflite import read_tflite
from harness.emulator.graph import Array, Graph
from harness.emulator.interpreter import Emulation, Emulator
from harness.emulator.profiles import get_profile
from harness.errors import UsageError
from harness.streaming import emulate_file
from tests.oracle.models import conv

SAMPLES = 11
PART = 2048
"""Bytes: a few samples of the model below."""


class Watched:
    """The emulator; notes how many samples each part had, and ends the process in one of them."""

    def __init__(self, graph: Graph, *, dies_in_part: int = -1, by: int = 0) -> None:
        self.parts: list[int] = []
        self._emulator = Emulator(graph, get_profile("litert-ref"))
        self._dies_in_part, self._by = dies_in_part, by

    def run(self, inputs: Sequence[Array], *, all_tensors: bool) -> Emulation:
        if len(self.parts) == self._dies_in_part:
            if self._by:
                os.kill(os.getpid(), self._by)
            raise KeyboardInterrupt
        self.parts.append(len(inputs[0]))
        return self._emulator.run(inputs, all_tensors=all_tensors)


class Case:
    """A model, its samples, and what it gives when run at once."""

    def __init__(self, folder: Path) -> None:
        made = conv(shape=(1, 6, 6, 3), channels=5)
        (folder / "conv.tflite").write_bytes(made.data)
        self.graph = read_tflite(folder / "conv.tflite").main
        self.x = np.concatenate([made.sample(seed)[0] for seed in range(SAMPLES)])
        self.inputs, self.out = folder / "in.npz", folder / "out.npz"
        self.partial = folder / "out.npz.partial"
        np.savez(self.inputs, in0=self.x)

    def stream(self, emulator: Watched, *, key: str = "k", all_tensors: bool = False) -> None:
        emulate_file(
            emulator,
            self.graph,
            self.inputs,
            self.out,
            key=key,
            all_tensors=all_tensors,
            part_bytes=PART,
        )

    def check(self) -> None:
        expected = Emulator(self.graph, get_profile("litert-ref")).run([self.x]).outputs[0]
        with np.load(self.out) as found:
            np.testing.assert_array_equal(found["out0"], expected)
        assert not self.partial.exists()


@pytest.fixture
def case(tmp_path: Path) -> Case:
    return Case(tmp_path)


def test_parts_are_bounded_and_join_to_the_whole(case: Case) -> None:
    emulator = Watched(case.graph)
    case.stream(emulator)
    case.check()
    assert sum(emulator.parts) == SAMPLES
    assert len(emulator.parts) > 2
    assert max(emulator.parts) * case.x[0].nbytes <= PART


def test_every_tensor_can_be_written(case: Case) -> None:
    case.stream(Watched(case.graph), all_tensors=True)
    with np.load(case.out) as found:
        np.testing.assert_array_equal(found[f"t{case.graph.inputs[0]}"], case.x)
        np.testing.assert_array_equal(found[f"t{case.graph.outputs[0]}"], found["out0"])


def test_columns_of_the_other_order_and_compressed(case: Case) -> None:
    np.savez_compressed(case.inputs, in0=np.asfortranarray(case.x))
    with pytest.raises(KeyboardInterrupt):
        case.stream(Watched(case.graph, dies_in_part=2))
    case.stream(Watched(case.graph))
    case.check()


def test_an_interrupted_run_goes_on_where_it_ended(case: Case) -> None:
    first = Watched(case.graph, dies_in_part=2)
    with pytest.raises(KeyboardInterrupt):
        case.stream(first)
    assert not case.out.exists()
    with (case.partial / "out0").open("ab") as stream:
        stream.write(b"rows that nobody counted")
    second = Watched(case.graph)
    case.stream(second)
    case.check()
    assert sum(first.parts) + sum(second.parts) == SAMPLES


def test_kill_9_loses_only_the_part_at_hand(case: Case) -> None:
    fork = multiprocessing.get_context("fork")
    killed = fork.Process(
        target=case.stream, args=(Watched(case.graph, dies_in_part=2, by=signal.SIGKILL),)
    )
    killed.start()
    killed.join()
    assert killed.exitcode == -signal.SIGKILL
    second = Watched(case.graph)
    case.stream(second)
    case.check()
    assert sum(second.parts) < SAMPLES


def test_another_key_begins_anew(case: Case) -> None:
    with pytest.raises(KeyboardInterrupt):
        case.stream(Watched(case.graph, dies_in_part=2))
    other = Watched(case.graph)
    case.stream(other, key="other")
    case.check()
    assert sum(other.parts) == SAMPLES


@pytest.mark.parametrize("damage", ["{", '{"key": "k"}', '{"key": "k", "arrays": {"out0": 1}}'])
def test_a_broken_state_begins_anew(case: Case, damage: str) -> None:
    with pytest.raises(KeyboardInterrupt):
        case.stream(Watched(case.graph, dies_in_part=2))
    (case.partial / "state.json").write_text(damage)
    case.stream(Watched(case.graph))
    case.check()


def test_two_at_once_do_not_write_the_same_file(case: Case) -> None:
    class Second(Watched):
        def run(self, inputs: Sequence[Array], *, all_tensors: bool) -> Emulation:
            with pytest.raises(UsageError, match="another process is writing"):
                case.stream(Watched(case.graph))
            return super().run(inputs, all_tensors=all_tensors)

    case.stream(Second(case.graph))
    case.check()


def test_an_input_of_one_invocation_goes_with_every_one(case: Case) -> None:
    """A second input of shape (4, 2), given once; the samples come in several parts."""
    table = np.arange(8, dtype=np.int8).reshape(4, 2)
    extra = replace(case.graph.tensors[0], index=len(case.graph.tensors), shape=table.shape)
    graph = replace(
        case.graph,
        tensors=(*case.graph.tensors, extra),
        inputs=(extra.index, *case.graph.inputs),
        outputs=(extra.index,),
    )

    class Echo(Watched):
        def run(self, inputs: Sequence[Array], *, all_tensors: bool) -> Emulation:
            assert not all_tensors
            self.parts.append(len(inputs[1]))
            return Emulation((inputs[0],))

    np.savez(case.inputs, in0=table, in1=case.x)
    echo = Echo(case.graph)
    emulate_file(echo, graph, case.inputs, case.out, key="k", part_bytes=PART // 4)
    assert sum(echo.parts) == SAMPLES
    assert len(echo.parts) > 1
    with np.load(case.out) as found:
        np.testing.assert_array_equal(found["out0"], np.concatenate([table] * SAMPLES))


def test_inputs_that_do_not_fit_are_refused_before_anything_runs(case: Case) -> None:
    np.savez(case.inputs, in0=case.x, in1=case.x)
    with pytest.raises(UsageError, match=r"has arrays in0, in1; .* takes in0"):
        case.stream(Watched(case.graph))
    np.savez(case.inputs, in0=case.x[:0])
    with pytest.raises(UsageError, match=r"hold 0 samples; allowed: .*batch of 1"):
        case.stream(Watched(case.graph))
    assert not case.partial.exists()

"""A data set of any size through the emulator: in bounded memory, and taken up where it ended.

While it runs, ``OUT.partial/`` holds the rows so far, an array a file, and ``state.json``, which is
replaced after each part. Rows beyond what the state counts were being written when the process
ended; they are cut off.
"""

import fcntl
import json
import os
import shutil
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from harness.emulator.graph import Array, Graph
from harness.emulator.interpreter import Emulation, Undefined
from harness.emulator.steps import keeps_state
from harness.errors import ModelError, UsageError
from harness.host.progress import Progress, no_progress
from harness.records import Promise
from harness.sources.npz import NpzArray, open_npz

PART_BYTES = 64 << 20
"""Bytes of inputs and kept tensors that one part should hold."""


class Emulates(Protocol):
    """Whatever computes a graph's outputs, such as `harness.emulator.interpreter.Emulator`."""

    def run(self, inputs: Sequence[Array], *, all_tensors: bool) -> Emulation:
        """As `harness.emulator.interpreter.emulate`."""


@dataclass
class Streamed:
    """What was computed so far.

    Attributes:
        samples: entries of the inputs' first axis that are done.
        arrays: of the output file: name to dtype, shape without the first axis, and rows.
        promises: of the graph's outputs; "unknown" where there is no value.
        unknown: nodes without a definition, in execution order.
        elapsed_ns: time spent in nodes.
    """

    samples: int = 0
    arrays: dict[str, tuple[str, tuple[int, ...], int]] = field(default_factory=dict)
    promises: list[Promise] = field(default_factory=list)
    unknown: list[Undefined] = field(default_factory=list)
    elapsed_ns: int = 0


def emulate_file(
    emulator: Emulates,
    graph: Graph,
    inputs: Path,
    out: Path,
    *,
    key: str,
    all_tensors: bool = False,
    part_bytes: int = PART_BYTES,
    progress: Progress = no_progress,
) -> Streamed:
    """Emulate every sample of an ``.npz`` and write the outputs to another.

    Args:
        emulator: what computes.
        graph: whose inputs and outputs those are.
        inputs: has ``in0, in1, …``; the first axis holds any multiple of the tensor's own, or once
            that: such an input is given whole with every invocation.
        out: gets ``out0, out1, …`` and, with `all_tensors`, ``t<index>`` of every computed tensor.
        key: of everything the result depends on; an interrupted run of the same key goes on.
        part_bytes: bound on the values held at once, but for one batch.

    Raises:
        UsageError: a file cannot be read or written, or does not hold what the graph takes.
        ModelError: the inputs do not fit the graph, or the graph contradicts itself.
    """
    expected = [f"in{index}" for index in range(len(graph.inputs))]
    with open_npz(inputs) as arrays:
        if sorted(arrays) != sorted(expected):
            raise UsageError(
                f"{inputs}: has arrays {', '.join(sorted(arrays)) or '(none)'}; "
                f"the model {graph.name} takes {', '.join(expected)}"
            )
        columns = [arrays[name] for name in expected]
        batches = [_batch(graph, index) for index in graph.inputs]
        slices = [_slices(c, batch) for c, batch in zip(columns, batches, strict=True)]
        total = _invocations(columns, batches, slices)
        once = [count < total for count in slices]
        batch = next((b for b, whole in zip(batches, once, strict=True) if not whole), 1)
        step = _at_once(graph, columns, part_bytes, all_tensors=all_tensors)
        try:
            with _Partial(out, key, resumable=not keeps_state(graph)) as partial:
                done = partial.state.samples // batch
                given = [c.read_all() if w else None for c, w in zip(columns, once, strict=True)]
                for column, whole, rows in zip(columns, once, batches, strict=True):
                    if done and not whole:
                        column.skip(done * rows)
                while done < total:
                    progress("emulate", done * batch, total * batch)
                    count = min(step, total - done)
                    taken = [
                        _read(column, count * rows) if x is None else _repeat(x, count)
                        for column, x, rows in zip(columns, given, batches, strict=True)
                    ]
                    emulation = emulator.run(taken, all_tensors=all_tensors)
                    done += count
                    partial.add(graph, emulation, done * batch, all_tensors=all_tensors)
                progress("emulate", done * batch, total * batch)
                partial.finish()
                return partial.state
        except OSError as error:
            raise UsageError(f"{out}: cannot be written: {error.strerror}") from error


def _batch(graph: Graph, index: int) -> int:
    shape = graph.tensors[index].shape
    return max(1, shape[0]) if shape else 1


def _slices(column: NpzArray, batch: int) -> int:
    rows = column.shape[0] if column.shape else 1
    return 0 if rows % batch else rows // batch


def _invocations(columns: Sequence[NpzArray], batches: Sequence[int], slices: Sequence[int]) -> int:
    """How many invocations the columns are; one that holds a single one is given with every."""
    several = set(slices) - {1}
    if len(several) > 1 or 0 in several:
        counts = {column.shape[0] if column.shape else 1 for column in columns}
        raise UsageError(
            f"the inputs hold {' and '.join(map(str, sorted(counts)))} samples; allowed: one "
            "number for all inputs, a multiple of the model's batch of "
            f"{' and '.join(map(str, sorted(set(batches))))}"
        )
    return several.pop() if several else 1


def _read(column: NpzArray, rows: int) -> Array:
    return column.read(rows) if column.shape else column.read_all()


def _repeat(x: Array, count: int) -> Array:
    """An input of one invocation, for as many."""
    return np.tile(np.atleast_1d(x), (count, *(1,) * max(0, x.ndim - 1)))


def _at_once(
    graph: Graph, columns: Sequence[NpzArray], part_bytes: int, *, all_tensors: bool
) -> int:
    """As many invocations as `part_bytes` holds, at least one."""
    kept = range(len(graph.tensors)) if all_tensors else graph.outputs
    values = sum(int(np.prod(graph.tensors[index].shape, dtype=object)) for index in kept)
    taken = sum(
        _batch(graph, index) * int(np.prod(c.shape[1:], dtype=object)) * c.dtype.itemsize
        for index, c in zip(graph.inputs, columns, strict=True)
    )
    return max(1, part_bytes // max(1, taken + 4 * values))


class _Partial:
    """The folder beside `out` that holds what is computed so far."""

    def __init__(self, out: Path, key: str, *, resumable: bool) -> None:
        self._out = out
        self._key = key
        self._folder = out.with_name(out.name + ".partial")
        self._resumable = resumable
        self.state = Streamed()

    def __enter__(self) -> "_Partial":
        self._folder.mkdir(exist_ok=True)
        self._descriptor = os.open(self._folder, os.O_RDONLY)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self._descriptor)
            raise UsageError(f"{self._out}: another process is writing it") from error
        found = self._read_state() if self._resumable else None
        if found is None:
            for left in self._folder.iterdir():
                left.unlink()
        self.state = found or Streamed()
        return self

    def __exit__(self, *_error: object) -> None:
        if not self.state.samples:  # nothing worth keeping
            shutil.rmtree(self._folder, ignore_errors=True)
        os.close(self._descriptor)

    def add(self, graph: Graph, emulation: Emulation, samples: int, *, all_tensors: bool) -> None:
        """Append what a part gave; then count it."""
        state = self.state
        for position, (index, rows) in enumerate(
            zip(graph.outputs, emulation.outputs, strict=True)
        ):
            constant = graph.tensors[index].data is not None
            if rows is not None and not (constant and state.samples):
                self._append(f"out{position}", rows)
        for index, rows in emulation.tensors.items() if all_tensors else ():
            self._append(f"t{index}", rows)
        state.promises = [emulation.promises.get(index, "unknown") for index in graph.outputs]
        state.unknown = list(emulation.unknown)
        state.elapsed_ns += emulation.elapsed_ns
        state.samples = samples
        scratch = self._folder / "state.json.new"
        scratch.write_text(json.dumps({"key": self._key} | asdict(state)))
        scratch.replace(self._folder / "state.json")

    def finish(self) -> None:
        """Put the arrays together into `out`, which appears whole or not at all."""
        whole = self._folder / "whole.npz"
        with zipfile.ZipFile(whole, "w", zipfile.ZIP_STORED) as archive:
            for name, (dtype, tail, rows) in self.state.arrays.items():
                header = {"descr": dtype, "fortran_order": False, "shape": (rows, *tail)}
                with (
                    archive.open(f"{name}.npy", "w", force_zip64=True) as member,
                    (self._folder / name).open("rb") as stream,
                ):
                    np.lib.format.write_array_header_1_0(member, header)
                    shutil.copyfileobj(stream, member, 1 << 20)
        whole.replace(self._out)
        shutil.rmtree(self._folder)

    def _append(self, name: str, rows: Array) -> None:
        dtype, tail, before = self.state.arrays.get(name, (rows.dtype.str, rows.shape[1:], 0))
        if (rows.dtype.str, rows.shape[1:]) != (dtype, tail):
            raise ModelError(
                f"{name}: samples give results that cannot be joined: "
                f"{list(tail)} of {dtype}, then {list(rows.shape[1:])} of {rows.dtype.str}"
            )
        with (self._folder / name).open("ab") as stream:
            stream.write(np.ascontiguousarray(rows).data)
            stream.flush()
            os.fsync(stream.fileno())
        self.state.arrays[name] = (dtype, tail, before + len(rows))

    def _read_state(self) -> Streamed | None:
        """What an earlier process of the same key left; rows that it did not count are cut off."""
        try:
            stored: Mapping[str, Any] = json.loads((self._folder / "state.json").read_text())
            if stored["key"] != self._key:
                return None
            arrays = {name: (d, tuple(tail), n) for name, (d, tail, n) in stored["arrays"].items()}
            for name, (dtype, tail, rows) in arrays.items():
                size = rows * int(np.prod(tail)) * np.dtype(dtype).itemsize
                if (self._folder / name).stat().st_size < size:
                    return None
                os.truncate(self._folder / name, size)
            return Streamed(
                stored["samples"],
                arrays,
                stored["promises"],
                [Undefined(**node) for node in stored["unknown"]],
                stored["elapsed_ns"],
            )
        except (OSError, ValueError, KeyError, TypeError):
            return None

"""Verify: does a runtime compute what a profile promises? Anyone's check of our claim.

The file is rewritten so that every tensor is an output and run as an ordinary job, on this host or
on a device, on random and extreme inputs. Then each node is judged by itself, on the runtime's own
input tensors, so that one wrong op does not drown the others; and the whole graph end to end.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from harness.arithmetic.profile import ArithmeticProfile
from harness.artifact import Artifact
from harness.device import Device, Transport
from harness.emulator.all_tensors import expose
from harness.emulator.control import STATE_OPS
from harness.emulator.formats.tflite_all_tensors import made_of_constants
from harness.emulator.graph import Array, Graph, Node
from harness.emulator.interpreter import Emulation, emulate
from harness.emulator.profiles import get_profile
from harness.emulator.profiles.threads import for_threads
from harness.emulator.sized_by_data import explain
from harness.errors import ModelError, UsageError
from harness.host.progress import Progress, no_progress
from harness.host.scratch import scratch_folder
from harness.judge.beyond import emulate_beyond, without_promise
from harness.judge.compare import compare, compare_tensor
from harness.on_device.deploy import NONE, run_job
from harness.protocol import Kernels, Result
from harness.records import Exactness, Promise, TensorComparison
from harness.target import Runner, Target
from harness.verify.random_inputs import EXTREMES, random_inputs

RunExposed = Callable[[Artifact, Sequence[Array]], tuple[Result, Sequence[Array]]]
"""Runs an artifact on samples: what the runner reported, and the outputs."""


@dataclass(frozen=True)
class OpRow:
    """All nodes of one operator with one promise.

    Attributes:
        op: operator.
        promise: what the emulator promises of each of them, given its inputs.
        nodes, elements, differing: counts; `differing` is None when nothing could be compared.
        max_lsb: largest difference, in quantization steps (for float tensors, in ULP).
    """

    op: str
    promise: Promise
    nodes: int
    elements: int
    differing: int | None
    max_lsb: int | None


@dataclass(frozen=True)
class VerifyReport:
    """What was found.

    Attributes:
        profile: whose promises were checked.
        device: where the runtime ran.
        invocations: how many.
        result: what the runner reported.
        rows: each node judged on the runtime's own input tensors, by operator and promise.
        nodes: those judgements one by one, in execution order; a node's every output.
        end_to_end: the whole graph, from the inputs.
    """

    profile: str
    device: str
    invocations: int
    result: Result
    rows: tuple[OpRow, ...]
    nodes: tuple[TensorComparison, ...]
    end_to_end: Exactness

    @property
    def broken(self) -> tuple[TensorComparison, ...]:
        """The judgements that break an exact promise."""
        return tuple(
            one for one in self.nodes if one.promise == "exact" and (one.differing or one.remark)
        )

    @property
    def exit_code(self) -> Literal[0, 1]:
        """1 when anything that is declared exact differs, by itself or end to end."""
        return 1 if self.broken or self.end_to_end.verdict == "differs" else 0


def standing_for(target: Target, device: Device) -> Callable[[Result], ArithmeticProfile]:
    """Chooses the profile by what really ran; raises UsageError when none stands for it."""

    def choose(result: Result) -> ArithmeticProfile:
        name = target.profile(device, result)
        if name is None:
            raise UsageError(
                f"no profile stands for {result.runtime} {result.runtime_version} with kernels "
                f"{result.kernels} on {device.name} ({result.cpu}); name one with --profile"
            )
        return get_profile(name)

    return choose


def verify(
    path: Path,
    runner: Runner,
    transport: Transport,
    profile_for: Callable[[Result], ArithmeticProfile],
    *,
    kernels: Kernels = "xnnpack",
    seeds: Sequence[int] = range(5),
    threads: int = 1,
    signature: str | None = None,
    timeout_s: float = 600.0,
    progress: Progress = no_progress,
) -> VerifyReport:
    """Run a `.tflite` or `.pte` file on a device and hold every node of it against a profile.

    Args:
        path: the file; untrusted.
        runner: runs the file there.
        transport: open connection to the device.
        profile_for: from what the runner reported to the profile whose promises to check; see
            `standing_for`.
        kernels: which kernels of the runtime to run.
        seeds: one random input for each; extreme inputs are added.
        threads: of the runtime; the profile is taken for as many.
        signature: whose graph is run; None for the main one.
        timeout_s: limit for each transfer and each process of the runner.
        progress: told about pushes, processes and emulated nodes.

    Raises:
        ModelError: the file is broken, or the runtime refuses it.
        UsageError: there is no such signature.
        DeviceError: the machine failed.
    """

    def run(artifact: Artifact, inputs: Sequence[Array]) -> tuple[Result, Sequence[Array]]:
        done = run_job(
            transport,
            runner,
            artifact,
            inputs,
            NONE,
            kernels=kernels,
            threads=threads,
            timeout_s=timeout_s,
            progress=progress,
        )
        return done.results[0], done.outputs

    return verify_with(
        path,
        run,
        lambda result: for_threads(profile_for(result), threads),
        device=transport.device.name,
        seeds=seeds,
        signature=signature,
        progress=progress,
    )


def verify_with(
    path: Path,
    run: RunExposed,
    profile_for: Callable[[Result], ArithmeticProfile],
    *,
    device: str,
    seeds: Sequence[int],
    signature: str | None = None,
    progress: Progress = no_progress,
) -> VerifyReport:
    """As `verify`, by any way to run the file with all its tensors exposed.

    Args:
        path: the file; untrusted.
        run: see `RunExposed`.
        profile_for: from what `run` reported to the profile whose promises to check.
        device: where `run` runs, for the report.
        seeds: one random input for each; extreme inputs are added.
        signature: whose graph is run; None for the main one.
        progress: told about emulated nodes.

    Raises:
        ModelError: the file is broken.
        UsageError: there is no such signature.
    """
    with scratch_folder() as folder:
        exposed = expose(path, folder, signature=signature)
        graph = exposed.graph
        if not graph.inputs:
            raise ModelError(f"{path}: the graph has no inputs")
        if why := explain(graph):
            raise ModelError(f"{path}: {why}")
        inputs = random_inputs(graph, seeds)
        result, outputs = run(exposed.artifact, inputs)
    got = dict(zip(graph.inputs, inputs, strict=True))
    got |= dict(zip(exposed.tensors, outputs, strict=True))
    profile = profile_for(result)
    nodes = judge_nodes(graph, profile, got, progress=progress)
    return VerifyReport(
        profile.name,
        device,
        len(seeds) + EXTREMES,
        result,
        _rows(nodes),
        nodes,
        _end_to_end(graph, profile, inputs, got),
    )


def judge_nodes(
    graph: Graph,
    profile: ArithmeticProfile,
    got: Mapping[int, Array],
    *,
    progress: Progress = no_progress,
) -> tuple[TensorComparison, ...]:
    """Every output of every node against what the emulator makes of the node's inputs in `got`.

    What nodes make of constants alone is not exposed; there the emulator's own values are taken.

    Args:
        graph: the model's.
        profile: whose arithmetic.
        got: the runtime's tensors by index, graph inputs included; invocations joined along the
            first axis.
        progress: told after each node.
    """
    judged = []
    graph = _fold_constants(graph, profile, got)
    state = _variables(graph, profile, got)
    for node in graph.nodes:
        progress("judge", node.index, len(graph.nodes))
        judged += _judge(graph, profile, node, got, state)
    progress("judge", len(graph.nodes), len(graph.nodes))
    return tuple(judged)


def _fold_constants(graph: Graph, profile: ArithmeticProfile, got: Mapping[int, Array]) -> Graph:
    """The graph with what nodes make of constants, and `got` does not hold, as constants."""
    nodes = [node for node in made_of_constants(graph) if got.keys().isdisjoint(node.outputs)]
    outputs = tuple(index for node in nodes for index in node.outputs)
    alone = replace(graph, nodes=tuple(nodes), inputs=(), outputs=outputs)
    values = dict(zip(outputs, emulate(alone, profile, ()).outputs, strict=True))
    tensors = (replace(t, data=values.get(t.index, t.data)) for t in graph.tensors)
    return replace(graph, tensors=tuple(tensors))


def _variables(graph: Graph, profile: ArithmeticProfile, got: Mapping[int, Array]) -> Emulation:
    """What is read from variables, all invocations in turn, by the nodes of state alone: what is
    assigned is the runtime's own."""
    nodes = tuple(node for node in graph.nodes if node.op in STATE_OPS)
    made = {index for node in nodes for index in node.outputs}
    used = dict.fromkeys(i for node in nodes for i in node.inputs if i >= 0 and i not in made)
    given = [i for i in used if graph.tensors[i].data is None and not graph.tensors[i].variable]
    read = tuple(i for node in nodes if node.op == "READ_VARIABLE" for i in node.outputs)
    if not read or any(index not in got for index in given):
        return Emulation(())
    alone = replace(graph, nodes=nodes, inputs=tuple(given), outputs=read)
    emulation = emulate(alone, profile, [got[index] for index in given])
    values = zip(read, emulation.outputs, strict=True)
    return replace(emulation, tensors={i: x for i, x in values if x is not None})


def _judge(
    graph: Graph,
    profile: ArithmeticProfile,
    node: Node,
    got: Mapping[int, Array],
    state: Emulation,
) -> list[TensorComparison]:
    tensors = graph.tensors
    used = [i for i in dict.fromkeys(node.inputs) if i >= 0]
    computed = [i for i in used if tensors[i].data is None and not tensors[i].variable]
    expected: Sequence[Array | None] = [None] * len(node.outputs)
    promises: Mapping[int, Promise] = {}
    if node.op == "READ_VARIABLE":
        expected = [
            x
            if x is None or index not in got or len(x) == len(got[index])
            else _repeat(x, got[index])
            for index in node.outputs
            for x in (state.tensors.get(index),)
        ]
        promises = state.promises
    elif all(index in got for index in computed):
        alone = replace(graph, nodes=(node,), inputs=tuple(computed), outputs=node.outputs)
        emulation = emulate(alone, profile, [got[index] for index in computed])
        expected, promises = emulation.outputs, emulation.promises
    return [
        compare_tensor(
            tensors[index].name,
            _repeat(x, got[index]) if x is not None and not computed else x,
            got[index],
            promises.get(index, "unknown"),
            tensor=index,
            node=node.index,
            op=node.op,
        )
        for index, x in zip(node.outputs, expected, strict=True)
        if index in got
    ]


def _repeat(once: Array, wanted: Array) -> Array:
    """What a node of constants alone gives, as often as the runtime was invoked."""
    rows = once if once.ndim else once[None]
    return np.concatenate([rows] * (len(wanted) // max(1, len(rows))))


def _rows(nodes: Sequence[TensorComparison]) -> tuple[OpRow, ...]:
    """Judgements gathered by operator and promise, in the order of first appearance."""
    groups: dict[tuple[str, Promise], list[TensorComparison]] = {}
    for one in nodes:
        groups.setdefault((one.op or "", one.promise), []).append(one)
    return tuple(
        OpRow(
            op,
            promise,
            len({one.node for one in group}),
            sum(one.elements for one in group),
            _known(sum, [one.differing for one in group]),
            _known(max, [one.max_lsb for one in group]),
        )
        for (op, promise), group in groups.items()
    )


def _known(gather: Callable[[list[int]], int], values: Sequence[int | None]) -> int | None:
    """Sum or maximum of what is known; None when nothing is."""
    known = [value for value in values if value is not None]
    return gather(known) if known else None


def _end_to_end(
    graph: Graph, profile: ArithmeticProfile, inputs: Sequence[Array], got: Mapping[int, Array]
) -> Exactness:
    emulation, taken = emulate_beyond(graph, profile, inputs, got)
    return without_promise(compare(graph, emulation, got, profile=profile), taken)

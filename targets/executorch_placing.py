"""Placement of an ExecuTorch program: what is inside a delegate, and what portable kernels run."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from harness.emulator.formats.flatbuffer import Table
from harness.emulator.formats.model_content import PROGRAM, naming_what_is_broken, read_content
from harness.emulator.formats.pte import ProgramFile, read_method
from harness.errors import ModelError
from harness.host.progress import Progress
from harness.placement import Placement, PlacementReport, Where

_CPU: Mapping[str, Where] = {"XnnpackBackend": "cpu"}
_KERNEL_CALL, _DELEGATE_CALL = 1, 2


def check_executorch(
    path: Path,
    _soc: str | None,
    _progress: Progress,
    accelerators: Mapping[str, Where] = _CPU,
) -> PlacementReport:
    """Where ExecuTorch runs each op of a program's ``forward``.

    The ops inside an XNNPACK delegate are told one by one; any other delegate is one row.

    Args:
        accelerators: the delegates that the target's runtime has, and where they run.

    Raises:
        UsageError: the file cannot be read.
        ModelError: it is no program.
    """
    content = read_content(path)
    with naming_what_is_broken(str(path), PROGRAM):
        calls = list(_calls(ProgramFile(memoryview(content))))
    try:
        graph = read_method(content, where=str(path)).graph
    except ModelError:  # a delegate or kernel that the emulator's reader does not know
        return _by_call(calls, accelerators)
    portable = {made for _name, made, delegate in calls if not delegate}
    placement: list[Placement] = []
    left: list[int] = []
    for node in graph.nodes:
        output = graph.tensors[node.outputs[0]].name if node.outputs else ""
        if output in portable:
            left.append(node.index)
        why = _portable(accelerators) if output in portable else "XnnpackBackend"
        placement.append(Placement(node.index, node.op, output, "cpu", why))
    return PlacementReport(tuple(placement), tuple(left))


def _by_call(
    calls: list[tuple[str, str, bool]], accelerators: Mapping[str, Where]
) -> PlacementReport:
    """One row for each call: of a kernel, or of a delegate that holds several ops."""
    placement: list[Placement] = []
    left: list[int] = []
    for node, (name, made, delegate) in enumerate(calls):
        where = accelerators.get(name, "none") if delegate else "cpu"
        why = name if delegate else _portable(accelerators)
        if where == "none":
            why = f"the runtime of this target has no delegate {name}"
        if not delegate:
            left.append(node)
        placement.append(Placement(node, "DELEGATE" if delegate else name, made, where, why))
    return PlacementReport(tuple(placement), tuple(left))


def _portable(accelerators: Mapping[str, Where]) -> str:
    names = " or ".join(accelerators)
    return f"portable kernel: {names} did not take it when the program was lowered"


def _calls(file: ProgramFile) -> Iterator[tuple[str, str, bool]]:
    """Kernel or delegate, the value it makes, and which of the two, in execution order."""
    operators = [f"{o.text(0)}.{o.text(1)}".rstrip(".") for o in file.plan.tables(6)]
    delegates = [delegate.text(0) for delegate in file.plan.tables(7)]
    for chain in file.plan.tables(5):
        for instruction in chain.tables(2):
            kind, call = instruction.union(1)
            if kind in (_KERNEL_CALL, _DELEGATE_CALL):
                names = operators if kind == _KERNEL_CALL else delegates
                yield names[call.integer(0, "i")], _made(call), kind == _DELEGATE_CALL


def _made(call: Table) -> str:
    """The value that a call writes: its last argument."""
    arguments = call.integers(1, "<i4")
    return f"value{arguments[-1]}" if arguments else ""

"""Where in the user's model something is: nodes of its exported program by operator, by the line
they come from, or by the first value that is not a number. Isolated only."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.artifact import TensorSpec
from harness.host.wording import innermost
from harness.on_device.slices import invocations
from harness.quantize.provenance import module_class, module_path
from harness.quantize.trial import samples_for
from harness.quantize.watching import run_watched
from harness.sources.causes import Explanation
from harness.sources.flat import flatten
from harness.sources.models import load_original
from harness.sources.npz import read_npz
from harness.sources.references import Reference

if TYPE_CHECKING:
    import torch

_FRAME = re.compile(r'File "([^"]+)", line (\d+), in (\S+)')
_EXECUTING = re.compile(r"While executing %\w+ : .*?target=(?:\w+\.)*?(aten\.\w+(?:\.\w+)?)\]")
_MLIR_PLACE = re.compile(r'"?([^\s"(]+\.py)"?:(\d+):\d+')
_MOST_BATCHES = 16


def exported(reference: Reference) -> "torch.export.ExportedProgram":
    """The program as its author's module, with the modules' own names."""
    import torch

    if reference.kind == ".pt2" and reference.path is not None:
        return torch.export.load(reference.path)
    module, args, kwargs = load_original(reference)
    return torch.export.export(module, args, dict(kwargs), strict=False)


def suspects(
    program: "torch.export.ExportedProgram", raw: str, known: Explanation | None
) -> "list[torch.fx.Node]":
    """The nodes that a converter's message may speak of, as sure as it can be told: by the operator
    and the line that it names, then by the line, then by the operators of a known cause."""
    calls = [node for node in program.graph.nodes if node.op == "call_function"]
    if known is not None:
        calls = [node for node in calls if known.is_it(node)] or calls
    lines = _lines(raw)
    at_lines = [node for node in calls if _lines(node.meta.get("stack_trace") or "") & lines]
    executing = _EXECUTING.search(raw)
    if executing is not None:
        op = executing[1].split(".")[1]
        same = _of(at_lines, (op,)) or _of(calls, (op,))
        if same:
            return same
    ops = known.ops if known is not None else ()
    return _of(at_lines, ops) or _of(calls, ops) or at_lines


def _of(nodes: "Iterable[torch.fx.Node]", ops: tuple[str, ...]) -> "list[torch.fx.Node]":
    return [node for node in nodes if _name(node).startswith(ops)] if ops else []


def _name(node: "torch.fx.Node") -> str:
    return str(node.target).removeprefix("aten.")


def _lines(text: str) -> set[tuple[str, str]]:
    """Every file and line that a message or a stack trace names."""
    frames = {(file, line) for file, line, _function in _FRAME.findall(text)}
    return frames | set(_MLIR_PLACE.findall(text))


def place(node: "torch.fx.Node") -> str:
    """``encoder.0 (Conv1d), aten.conv1d at net.py:12 in forward``."""
    path, kind = module_path(node, wrapped=False), module_class(node)
    frames = _FRAME.findall(node.meta.get("stack_trace") or "")
    line = innermost((file, int(line), function) for file, line, function in frames)
    where = f"module {path} ({kind})" if path else f"the model's own forward ({kind})"
    op = ".".join(str(node.target).split(".")[:2])
    return f"{where}, {op}" + (f" at {line}" if line else "")


def first_nan(
    program: "torch.export.ExportedProgram", specs: Sequence[TensorSpec], samples: Path
) -> "tuple[torch.fx.Node | None, bool]":
    """The first node whose value is not a number for some sample, and whether an output is not
    finite. Infinities inside are left alone: masks are made of them.

    Args:
        specs: the model's own inputs, see `harness.sources.batches.model_specs`.
        samples: an ``.npz`` with ``in0, …`` of theirs.
    """
    import torch

    module = program.module(check_guards=False)
    found: list[torch.fx.Node] = []

    def see(node: torch.fx.Node, value: object) -> None:
        if node.op == "call_function" and not found and _has_nan(value):
            found.append(node)

    wild = False
    taken = samples_for(specs, read_npz(samples))
    for arrays in invocations(specs, taken, _MOST_BATCHES):
        given = run_watched(module, tuple(map(torch.from_numpy, arrays)), see)
        tensors = [x for x in flatten(given).tensors.values() if x.is_floating_point()]
        wild = wild or not all(bool(torch.isfinite(x).all()) for x in tensors)
        if found:
            break
    return (found[0] if found else None), wild


def _has_nan(value: object) -> bool:
    import torch

    return (
        isinstance(value, torch.Tensor)
        and value.is_floating_point()
        and bool(torch.isnan(value).any())
    )

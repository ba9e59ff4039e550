"""Placement of an ExecuTorch program: what is inside a delegate, and what the portable kernels run.

Isolated only: it imports the exporter's package to read the program.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.errors import ModelError
from harness.extras import require_extra
from harness.placement import Placement, PlacementReport, Where
from harness.target import Progress

_CPU: Mapping[str, Where] = {"XnnpackBackend": "cpu"}


def check_executorch(
    path: Path,
    _soc: str | None,
    _progress: Progress,
    accelerators: Mapping[str, Where] = _CPU,
) -> PlacementReport:
    """Where ExecuTorch runs each step of a program's ``forward``: a call of a kernel, or of a
    delegate that holds several ops.

    Args:
        accelerators: the delegates that the target's runtime has, and where they run.

    Raises:
        ModelError: the file cannot be read, or is no program.
    """
    plan = _forward(path)
    steps = [step.instr_args for chain in plan.chains for step in chain.instructions]
    placement: list[Placement] = []
    left: list[int] = []
    for step in steps:
        node, kind = len(placement), type(step).__name__
        if kind == "DelegateCall":
            delegate = plan.delegates[step.delegate_index].id
            where = accelerators.get(delegate, "none")
            missing = f"the runtime of this target has no delegate {delegate}"
            output = f"value {step.args[-1]}" if step.args else ""
            why = missing if where == "none" else delegate
            placement.append(Placement(node, "DELEGATE", output, where, why))
        elif kind == "KernelCall":
            operator = plan.operators[step.op_index]
            name = f"{operator.name}.{operator.overload}".rstrip(".")
            names = " or ".join(accelerators)
            why = f"portable kernel: {names} did not take it when the program was lowered"
            output = f"value {step.args[-1]}" if step.args else ""
            placement.append(Placement(node, name, output, "cpu", why))
            left.append(node)
    return PlacementReport(tuple(placement), tuple(left))


def _forward(path: Path) -> Any:  # noqa: ANN401  ExecutionPlan of a package without types
    require_extra("executorch", "executorch")
    from executorch.exir._serialize._program import deserialize_pte_binary

    try:
        program = deserialize_pte_binary(path.read_bytes()).program
    except OSError as error:
        raise ModelError(f"{path}: {error.strerror}") from error
    except Exception as error:  # the reader raises anything on a file that is no program
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ModelError(f"{path}: not a readable ExecuTorch program: {first[:300]}") from error
    plans = [plan for plan in program.execution_plan if plan.name == "forward"]
    if not plans:
        raise ModelError(f"{path}: the program has no method 'forward'")
    return plans[0]

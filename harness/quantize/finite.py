"""Refuses weights and values that are NaN or infinite before a converter meets them: they crash
it."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.errors import ModelError
from harness.quantize.provenance import module_path
from harness.quantize.watching import run_watched

if TYPE_CHECKING:
    import torch


def refuse_undefined_weights(module: "torch.nn.Module", reference: str) -> None:
    """Check parameters and buffers; a buffer may hold infinities, as masks do.

    Raises:
        ModelError: one holds NaN, or a parameter an infinity.
    """
    named = [(name, x, "parameter") for name, x in module.named_parameters()]
    named += [(name, x, "buffer") for name, x in module.named_buffers()]
    for name, x, kind in named:
        if not (x.is_floating_point() or x.is_complex()):
            continue
        bad = x.isnan() if kind == "buffer" else ~x.isfinite()
        if count := int(bad.sum()):
            owner, _, field = name.removeprefix("model.").rpartition(".")
            where = owner or "the model itself"
            raise ModelError(
                f"{reference}: {kind} {field!r} of module {where!r} holds {count} values of "
                f"{x.numel()} that are NaN or infinite; load finite weights (a training run that "
                "diverged, or a file read as another dtype, gives such values)"
            )


Spans = dict[str, tuple[float, float]]
"""Least and greatest value, by node."""


def observe(
    graph_module: "torch.fx.GraphModule",
    batches: "Sequence[tuple[torch.Tensor, ...]]",
    reference: str,
) -> Spans:
    """Run the float graph and keep what each of its float nodes gave.

    Raises:
        ModelError: an operator makes NaN of what has none; it names operator, module and line.
    """
    import torch

    spans: Spans = {}

    def see(node: "torch.fx.Node", made: object) -> None:
        if not (isinstance(made, torch.Tensor) and made.is_floating_point() and made.numel()):
            return
        low, high = float(made.min()), float(made.max())
        known = spans.get(node.name, (low, high))
        if math.isnan(low) and not any(
            math.isnan(spans[one.name][0]) for one in node.all_input_nodes if one.name in spans
        ):
            raise ModelError(_undefined(reference, node))
        spans[node.name] = (min(low, known[0]), max(high, known[1]))

    for batch in batches:
        run_watched(graph_module, batch, see)
    return spans


def _undefined(reference: str, node: "torch.fx.Node") -> str:
    line = next(
        (
            text.strip()
            for text in reversed((node.stack_trace or "").splitlines())
            if text.strip().startswith("File ")
        ),
        "",
    )
    what = "the input" if node.op == "placeholder" else f"operator {node.target}"
    return (
        f"{reference}: {what} gives NaN in float already on the calibration samples"
        f"{module_of(node)}{f' ({line})' if line else ''}; what is NaN has no range to quantize; "
        "look for log or square root of what is not positive, or a division by zero"
    )


def module_of(node: "torch.fx.Node") -> str:
    """`` in module a.b``, as the user wrote it, or ""."""
    path = module_path(node)
    return f" in module {path!r}" if path else ""

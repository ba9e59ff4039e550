"""Refuses weights that hold NaN or infinity before a converter meets them: they crash it."""

from typing import TYPE_CHECKING

from harness.errors import ModelError

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
            owner, _, field = name.rpartition(".")
            where = owner or "the model itself"
            raise ModelError(
                f"{reference}: {kind} {field!r} of module {where!r} holds {count} values of "
                f"{x.numel()} that are NaN or infinite; load finite weights (a training run that "
                "diverged, or a file read as another dtype, gives such values)"
            )


def refuse_undefined_values(
    graph_module: "torch.fx.GraphModule", samples: "tuple[torch.Tensor, ...]", reference: str
) -> None:
    """Run the float graph once and look for the first operator that makes NaN of what has none.

    Raises:
        ModelError: naming the operator, its module and its line.
    """
    import torch

    class Watching(torch.fx.Interpreter):  # type: ignore[misc]  # torch is untyped here
        def run_node(self, node: "torch.fx.Node") -> object:
            made = super().run_node(node)
            given = [self.env.get(one) for one in node.all_input_nodes]
            if _has_nan(made) and not any(_has_nan(one) for one in given):
                raise ModelError(_undefined(reference, node))
            return made

    def _has_nan(x: object) -> bool:
        return isinstance(x, torch.Tensor) and x.is_floating_point() and bool(x.isnan().any())

    with torch.no_grad():
        Watching(graph_module, garbage_collect_values=False).run(*samples)


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
        f"{reference}: {what} gives NaN in float already on the first calibration samples"
        f"{module_of(node)}{f' ({line})' if line else ''}; what is NaN has no range to quantize; "
        "look for log or square root of what is not positive, or a division by zero"
    )


def module_of(node: "torch.fx.Node") -> str:
    """`` in module a.b``, as the user wrote it, or ""."""
    path = module_path(node)
    return f" in module {path!r}" if path else ""


def module_path(node: "torch.fx.Node") -> str:
    """Path of the innermost module that a node was traced in, as the user has it."""
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    path = str(stack[-1][0]) if stack else ""
    for prefix in ("L['self'].", "L__self___", "model."):
        path = path.removeprefix(prefix)
    return "" if path in {"model", "L['self']"} else path

"""Each operator of a model converted to LiteRT by itself, to find the one that fails, or crashes,
where the converter does not say."""

from typing import TYPE_CHECKING, Any

from harness.errors import HarnessError
from harness.host.isolate import run_isolated
from harness.host.progress import Progress, no_progress
from harness.model import Model
from harness.quantize.failures.culprits import exported, place
from harness.sources.models import parse_model

if TYPE_CHECKING:
    import torch

_TIMEOUT_S = 120.0


def failing_alone(model: Model, progress: Progress = no_progress) -> str:
    """Place of the first operator that does not convert by itself; "" when all do, or when there
    was no time to try them all."""
    last = ""

    def follow(stage: str, done: int, total: int | None) -> None:
        nonlocal last
        last = stage
        progress("trying each operator", done, total)

    try:
        return run_isolated(
            first_failing,
            model.resolved,
            what=f"{model.reference}: converting each operator",
            timeout_s=_TIMEOUT_S,
            progress=follow,
        )
    except HarnessError as error:
        return last if "ended by" in str(error) else ""


def first_failing(resolved: str, progress: Progress) -> str:
    """Isolated only: a converter may crash. Reports the place of each operator before it."""
    import litert_torch

    program = exported(parse_model(resolved))
    nodes: dict[str, torch.fx.Node] = {}
    for node in program.graph.nodes:
        if _is_op(node):
            nodes.setdefault(_kind(node), node)
    for done, node in enumerate(nodes.values()):
        progress(place(node), done, len(nodes))
        module, examples = _alone(program, node)
        try:
            litert_torch.convert(module, examples)
        except Exception:  # whatever it raises, it is this operator's
            return place(node)
    return ""


def _is_op(node: "torch.fx.Node") -> bool:
    return node.op == "call_function" and str(node.target).startswith("aten.")


def _kind(node: "torch.fx.Node") -> str:
    """The operator with all that a converter sees of its arguments."""
    import torch

    def seen(x: torch.fx.Node) -> str:
        value = x.meta.get("val")
        return f"{value.dtype}{tuple(value.shape)}" if isinstance(value, torch.Tensor) else "?"

    shapes = [seen(x) for x in node.all_input_nodes]
    rest = torch.fx.node.map_arg((node.args, node.kwargs), lambda _x: None)
    return f"{node.target}{shapes}{rest}"


def _alone(
    program: "torch.export.ExportedProgram", node: "torch.fx.Node"
) -> "tuple[torch.nn.Module, tuple[torch.Tensor, ...]]":
    """A module of one operator: its weights stay, what is computed before becomes an input."""
    import torch

    signature = program.graph_signature
    stored = signature.inputs_to_parameters | signature.inputs_to_buffers
    computed: list[torch.fx.Node] = []
    weights: dict[torch.fx.Node, torch.Tensor] = {}
    for x in node.all_input_nodes:
        name = stored.get(x.name)
        if name is not None and name in program.state_dict:
            weights[x] = program.state_dict[name].detach()
        else:
            computed.append(x)

    class One(torch.nn.Module):  # type: ignore[misc]  # torch is untyped here
        def __init__(self) -> None:
            super().__init__()
            for x, weight in weights.items():
                self.register_buffer(x.name, weight)

        def forward(self, *given: torch.Tensor) -> Any:  # noqa: ANN401  whatever it gives
            values = dict(zip(computed, given, strict=True))
            values |= {x: getattr(self, x.name) for x in weights}
            args, kwargs = torch.fx.node.map_arg((node.args, node.kwargs), values.__getitem__)
            return node.target(*args, **kwargs)

    return One().eval(), tuple(_example(x.meta["val"]) for x in computed)


def _example(value: Any) -> Any:  # noqa: ANN401  a fake tensor, and one with values
    import torch

    shape = tuple(value.shape)
    if value.dtype.is_floating_point:
        return torch.rand(shape).to(value.dtype)
    return torch.zeros(shape, dtype=value.dtype)

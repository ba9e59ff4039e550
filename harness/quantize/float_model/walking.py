"""The float model beside the one with chosen weights, on all samples, operator by operator, so that
each weight is chosen knowing what those before it cost. Isolated only."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from harness.quantize.float_model.grid import Grid, Search
from harness.quantize.float_model.layers import Layer, argument, exported, layers_of
from harness.quantize.float_model.products import factors_of
from harness.quantize.layers import op_of
from harness.quantize.provenance import module_path
from harness.quantize.technique import Draft
from harness.recipe import Recipe, Scheme

if TYPE_CHECKING:
    import torch

    Values = dict[torch.fx.Node, list[Any]]

_MOST_BYTES = 3 * 2**30


@dataclass(frozen=True, eq=False)
class Turn:
    """A layer whose weight is to be chosen.

    Attributes:
        layer: see `Layer`.
        scheme: its own, with the bits that its weight gets.
        state: of the draft's module: change the weight and the biases in place.
        inputs: of the layer in the float model, one for each sample; none without samples.
        chosen_inputs: where the weights before are chosen; the same where there are none.
    """

    layer: Layer
    scheme: Scheme
    state: "Mapping[str, torch.Tensor]"
    inputs: "Sequence[torch.Tensor]" = ()
    chosen_inputs: "Sequence[torch.Tensor]" = ()

    def rows(self) -> "torch.Tensor":
        """The weight as it is quantized, its norm folded in: (rows, columns)."""
        return self.layer.folded(self.state).flatten(1)

    def grid(self, search: Search) -> Grid:
        """For these rows."""
        bits = self.scheme.weight_bits or 8
        return Grid(self.rows(), bits, self.scheme.weight_granularity, search)

    def put(self, rows: "torch.Tensor") -> None:
        """Give the weight these values, the norm not folded in."""
        import torch

        weight = self.state[self.layer.weight]
        slope = self.layer.slope(self.state).reshape(-1, 1)
        own = torch.where(slope != 0, rows / slope, weight.flatten(1))
        weight.copy_(own.reshape(weight.shape))

    def factors(self, most: int, seed: int = 0) -> "tuple[torch.Tensor, torch.Tensor]":
        """What the rows are multiplied with in both models, at the same places, drawn at random:
        (groups, places, columns) each.

        Args:
            most: places in all.
        """
        import torch

        generator = torch.Generator().manual_seed(seed)
        drawn: tuple[list[torch.Tensor], list[torch.Tensor]] = ([], [])
        share = max(1, most // len(self.inputs))
        for pair in zip(self.inputs, self.chosen_inputs, strict=True):
            both = [factors_of(self.layer, x) for x in pair]
            places = torch.randperm(both[0].shape[1], generator=generator)[:share]
            for kept, each in zip(drawn, both, strict=True):
                kept.append(each[:, places])
        return torch.cat(drawn[0], 1), torch.cat(drawn[1], 1)


def turns(draft: Draft) -> list[Turn]:
    """All layers whose weights become integers, in the order of the graph, without samples."""
    state = draft.module.state_dict()
    return _turns(exported(draft).graph, state, draft.recipe)


def walk(draft: Draft, doing: str) -> Iterator[Turn]:
    """All layers in the order in which they run. What is done to the state in one turn is seen by
    those after it.

    Args:
        doing: what to call it for the draft's progress.
    """
    import torch

    graph_module = exported(draft)
    state = draft.module.state_dict()
    waiting = {turn.layer.node: turn for turn in _turns(graph_module.graph, state, draft.recipe)}
    models = _Both(graph_module, state, draft.batches)
    with torch.no_grad():
        for done, (node, turn) in enumerate(waiting.items()):
            draft.progress(doing, done, len(waiting))
            models.run_up_to(node)
            source = argument(node, 0)
            if source.op == "get_attr":  # what takes no input has no samples to be chosen by
                continue
            inputs, chosen = models.floats[source], models.chosen[source]
            yield Turn(turn.layer, turn.scheme, state, inputs, chosen)
    draft.progress(doing, len(waiting), len(waiting))


def _turns(
    graph: "torch.fx.Graph", state: "Mapping[str, torch.Tensor]", recipe: Recipe
) -> list[Turn]:
    found = []
    for layer in layers_of(graph, state):
        # No runtime here has depthwise convolutions with weights of four bits: they get eight.
        op = op_of(layer.node)
        scheme = recipe.scheme_of(module_path(layer.node), op)
        if scheme.weight_bits is not None:
            own = replace(scheme, weight_bits=8) if op == "depthwise_conv" else scheme
            found.append(Turn(layer, own, state))
    return found


class _Both:
    """Values of both models, each until its last use.

    Attributes:
        floats: by node, one for each sample.
        chosen: likewise; the same list where nothing was chosen before.
    """

    def __init__(
        self,
        graph_module: "torch.fx.GraphModule",
        state: "Mapping[str, torch.Tensor]",
        batches: "Sequence[tuple[torch.Tensor, ...]]",
    ) -> None:
        graph = graph_module.graph
        self._module, self._state = graph_module, state
        self._before = {name: x.clone() for name, x in state.items()}
        self._batches = batches[: _affordable(graph)]
        self._inputs = [node for node in graph.nodes if node.op == "placeholder"]
        self._left = {node: len(node.users) for node in graph.nodes}
        self._nodes = iter([*graph.nodes])
        self._next = next(self._nodes)
        self.floats: Values = {}
        self.chosen: Values = {}

    def run_up_to(self, end: "torch.fx.Node") -> None:
        """Run all operators before one, on all samples, in both models where they differ."""
        while self._next is not end:
            self._run(self._next)
            self._next = next(self._nodes)

    def _run(self, node: "torch.fx.Node") -> None:
        if node.op in {"get_attr", "output"}:
            return
        count = range(len(self._batches))
        if node.op == "placeholder":
            place = self._inputs.index(node)
            self.floats[node] = self.chosen[node] = [batch[place] for batch in self._batches]
            return
        self.floats[node] = [self._called(node, self.floats, self._before, at) for at in count]
        self.chosen[node] = self.floats[node]
        if self._differs(node):
            self.chosen[node] = [self._called(node, self.chosen, self._state, at) for at in count]
        for used in node.all_input_nodes:
            self._left[used] -= 1
            if not self._left[used]:
                self.floats.pop(used, None)
                self.chosen.pop(used, None)

    def _differs(self, node: "torch.fx.Node") -> bool:
        for used in node.all_input_nodes:
            if used.op != "get_attr":
                if self.chosen[used] is not self.floats[used]:
                    return True
            elif used.target in self._state:
                name = str(used.target)
                if not self._state[name].equal(self._before[name]):
                    return True
        return False

    def _called(
        self,
        node: "torch.fx.Node",
        values: "Values",
        state: "Mapping[str, torch.Tensor]",
        at: int,
    ) -> Any:  # noqa: ANN401  whatever the operator gives
        from torch.fx.node import map_arg

        def value(used: "torch.fx.Node") -> Any:  # noqa: ANN401
            if used.op == "get_attr":
                name = str(used.target)
                return state[name] if name in state else attrgetter(name)(self._module)
            taken = values[used][at]
            return taken.clone() if changes and hasattr(taken, "clone") else taken

        changes = getattr(getattr(node.target, "_schema", None), "is_mutable", False)
        args, kwargs = map_arg(node.args, value), map_arg(node.kwargs, value)
        if node.op == "call_module":
            return attrgetter(str(node.target))(self._module)(*args, **kwargs)
        return node.target(*args, **kwargs)


def _affordable(graph: "torch.fx.Graph") -> int:
    """How many samples' values, in both models, fit into memory at once; at least one."""
    left = {node: len(node.users) for node in graph.nodes}
    sizes: dict[torch.fx.Node, int] = {}
    alive, most = 0, 1
    for node in graph.nodes:
        value = node.meta.get("val")
        known = node.op == "call_function" and hasattr(value, "element_size")
        sizes[node] = value.numel() * value.element_size() if known else 0
        alive += sizes[node]
        most = max(most, alive)
        for used in node.all_input_nodes:
            left[used] -= 1
            alive -= 0 if left[used] else sizes[used]
    return max(1, _MOST_BYTES // (2 * most))

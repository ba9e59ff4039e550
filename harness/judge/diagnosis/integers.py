"""Which tensors of a program are integers in the artifact, and where they become it. Isolated only.

A tensor is quantized once: where it is made, for all that take it; or, of an operator in float, by
each operator on integers that takes it. Both count for the layer that made the tensor: its values
are what the integers cannot hold.
"""

from collections.abc import Mapping, Set
from copy import deepcopy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from harness.judge.diagnosis.layers import (
    CLAMPS,
    Layers,
    is_move,
    only_user,
    root,
    scheme_of,
)
from harness.judge.diagnosis.program import Program, is_float
from harness.quantize.executorch.lowering import pt2e_config
from harness.quantize.executorch.masks import masked_nodes
from harness.quantize.executorch.rewriting import quantizer
from harness.quantize.finite import Spans
from harness.recipe import Recipe

if TYPE_CHECKING:
    from torch.fx import Node

_OF_PARAMETERS = ("layer_norm", "group_norm", "batch_norm", "native_", "lstm", "gru", "rnn")
"""Operators whose constants are parameters that stay as they are."""


@dataclass(frozen=True, eq=False)
class Integers:
    """Where values become integers.

    Attributes:
        made: nodes whose own value is quantized.
        taken: by operator, the values that it quantizes for itself.
        constants: by operator, the constants that it takes as activations.
        weights: operators whose weights are integers.
    """

    made: "Set[Node]"
    taken: "Mapping[Node, Set[Node]]"
    constants: "Mapping[Node, Set[Node]]" = field(default_factory=dict)
    weights: "Set[Node]" = frozenset()


def places(
    program: Program,
    layers: Layers,
    recipe: Recipe,
    seen: Spans,
    *,
    runtime: str,
    in_float: Set[str],
) -> Integers:
    """Where a recipe makes integers on a runtime.

    Args:
        seen: least and greatest value of each node, by name.
        in_float: layers that the artifact leaves in float, by the names of its manifest.
    """
    ruled_out = {
        node for node in program.steps if scheme_of(node, recipe, program, layers).mode == "float"
    }
    weighted = {
        node
        for node in program.weights
        if layers.names[layers.owner[node]] not in in_float and node not in ruled_out
    }
    if recipe.mode == "weight_only":
        return Integers(frozenset(), {}, weights=weighted)
    if recipe.mode == "dynamic":
        taken = {node: _activations(node, program) for node in weighted}
        return Integers(frozenset(), taken, weights=weighted)
    masked = masked_nodes(program.module, seen)
    computing = {
        node
        for node in (*program.inputs, *program.steps)
        if not is_move(node)
        and is_float(node)
        and node.name not in masked
        and node not in ruled_out
        and (node not in program.weights or node in weighted)
    }
    if runtime == "executorch":
        computing &= _annotated(program, recipe, masked)
    clamped = {node for node in computing if _is_clamped(node, computing)}
    made = computing - clamped
    taken = {
        node: {
            x
            for x in _activations(node, program)
            if root(x, program) not in computing and root(x, program).name not in masked
        }
        for node in computing
        if node.op == "call_function"
    }
    constants = {
        node: {x for x in node.all_input_nodes if _is_operand(x, node, program)}
        for node in computing
        if node.op == "call_function" and node not in program.weights
    }
    return Integers(made, taken, constants, weighted)


def _activations(node: "Node", program: Program) -> "set[Node]":
    return {x for x in node.all_input_nodes if x not in program.constants and is_float(x)}


def _is_clamped(node: "Node", computing: "Set[Node]") -> bool:
    user = only_user(node)
    return user in computing and user is not None and str(user.target) in CLAMPS


def _is_operand(x: "Node", node: "Node", program: Program) -> bool:
    """Whether a constant is one of an operator's activations, such as a table of positions."""
    import torch

    value: Any = program.constants.get(x)
    if not isinstance(value, torch.Tensor) or not value.is_floating_point() or not value.ndim:
        return False
    return bool(value.isfinite().all()) and not any(
        word in str(node.target) for word in _OF_PARAMETERS
    )


def _annotated(program: Program, recipe: Recipe, masked: Set[str]) -> "set[Node]":
    """The operators that XNNPACK's quantizer knows; inputs, where one of them takes these."""
    from torchao.quantization.pt2e.quantizer.quantizer import Q_ANNOTATION_KEY

    copy = deepcopy(program.module)
    chooser = quantizer(pt2e_config(recipe), frozenset(), masked)
    marked = chooser.annotate(chooser.transform_for_annotation(copy))
    names = {node.name for node in marked.graph.nodes if node.meta.get(Q_ANNOTATION_KEY)}
    return {node for node in program.steps if node.name in names}

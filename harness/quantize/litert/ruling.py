"""A recipe in the words of litert-quantizer: its scheme, and its rules op by op.

The library finds ops by a regular expression on the names of their outputs; here each op is named
exactly, after its modules were read from the names in the float file.
"""

import re
from collections.abc import Mapping
from typing import Any

from harness.emulator.graph import Graph, Node
from harness.quantize.layers import check_rules_used, op_of_litert
from harness.quantize.litert.reached import path_of
from harness.recipe import Recipe, Rule, Scheme

_ALL = "*"
_FLOAT = "no_quantize"
_FEW_BITS = 4
_TABLES = {"static": (), "dynamic": ("EMBEDDING_LOOKUP",), "weight_only": ("EMBEDDING_LOOKUP",)}
"""Ops beside convolutions and linear layers that a mode has with weights of four bits. All others
get eight: without a rule of theirs they would stay float."""
_LONGEST = 10_000
"""Where the library cuts the names of an op's outputs."""


def library_recipe(
    recipe: Recipe, graph: Graph | None, paths: Mapping[str, str], what: str
) -> list[dict[str, Any]]:
    """litert-quantizer's recipe for ours, min/max ranges.

    Args:
        graph: of the float file; None where our reader does not take it.
        paths: of the modules in it, see `path_of`.
        what: what to call the model in messages.

    Raises:
        ModelError: a rule takes no layer.
    """
    rules = _of_scheme(".*", recipe.scheme)
    if recipe.rules and graph is not None:
        layers = [(path_of(graph, node, paths), op_of_litert(node.op)) for node in graph.nodes]
        check_rules_used(recipe.rules, layers, what)
        for rule in recipe.rules:
            rules += _of_rule(rule, graph, layers)
    return rules


def _of_rule(rule: Rule, graph: Graph, layers: list[tuple[str, str]]) -> list[dict[str, Any]]:
    scopes = {
        _scope(graph, node)
        for node, (path, op) in zip(graph.nodes, layers, strict=True)
        if rule.takes(path, op)
    }
    regex = f"^(?:{'|'.join(re.escape(scope) for scope in sorted(scopes))})$"
    return _of_scheme(regex, rule.scheme or Scheme("float"))


def _scope(graph: Graph, node: Node) -> str:
    """As the library calls an op."""
    return "".join(f"{graph.tensors[index].name};" for index in node.outputs)[:_LONGEST]


def _of_scheme(regex: str, scheme: Scheme) -> list[dict[str, Any]]:
    from litert_quantizer import recipe as library

    if scheme.mode == "float":
        return [
            {"regex": regex, "operation": _ALL, "algorithm_key": _FLOAT, "op_config": {}},
        ]
    base = {
        "dynamic": library.dynamic_wi8_afp32,
        "weight_only": library.weight_only_wi8_afp32,
        "static": library.static_wi8_ai16
        if scheme.activation_bits == 16
        else library.static_wi8_ai8,
    }[scheme.mode]
    rules: list[dict[str, Any]] = base()
    if scheme.weight_bits == _FEW_BITS:
        few = ("CONV_2D", "FULLY_CONNECTED", *_TABLES[scheme.mode])
        rules += [{**rule, "operation": op} for op in few for rule in base()]
    for rule in rules:
        rule["regex"] = regex
        weights = rule["op_config"]["weight_tensor_config"]
        if rule["operation"] != _ALL:
            weights["num_bits"] = scheme.weight_bits
        if scheme.weight_granularity == "tensor":
            weights["granularity"] = "TENSORWISE"
    return rules

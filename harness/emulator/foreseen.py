"""What an entry promises, and what a graph that was not run may promise."""

from collections.abc import Callable

from harness.arithmetic.profile import ArithmeticProfile, Entry, Evidence
from harness.emulator.binding import signature
from harness.emulator.control import CONTROL_OPS, weakest_of
from harness.emulator.definitions import CannotRun
from harness.emulator.graph import Graph, Node
from harness.records import Promise

FLOAT = "float"
"""Semantics of ops in float arithmetic: they run, and promise nothing bit for bit."""

IMPOSSIBLE = (CannotRun, ValueError, IndexError, ZeroDivisionError, OverflowError, MemoryError)
"""What a definition raises on a graph that contradicts itself; the file is at fault."""


def promise_of(entry: Entry) -> Promise:
    """What a node with this entry promises by itself."""
    if entry.semantics == FLOAT:
        return "float"
    return "assumed" if entry.evidence is Evidence.ASSUMED else "exact"


def foresee(graph: Graph, profile: ArithmeticProfile, called: Callable[[Node], Promise]) -> Promise:
    """The weakest promise of a graph's nodes, at the shapes in the file.

    Args:
        graph: which.
        profile: whose arithmetic.
        called: what a control node promises of the graphs that it calls.
    """
    promises = set[Promise]()
    for node in graph.nodes:
        if node.op in CONTROL_OPS:
            promises.add(called(node))
            continue
        inputs = [None if i < 0 else graph.tensors[i] for i in node.inputs]
        try:
            made = signature(node, inputs, [graph.tensors[i] for i in node.outputs])
            entry = profile.lookup(made)
        except IMPOSSIBLE:
            entry = None
        promises.add("unknown" if entry is None else promise_of(entry))
    return weakest_of(promises)

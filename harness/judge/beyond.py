"""Emulation beyond nodes that have no entry: it goes on from what the device made of them.

One unknown node must not blind all that follows. Its outputs become inputs of the graph, with the
device's values; what comes after is compared as ever, but no verdict is better than "unknown".
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from harness.arithmetic.profile import ArithmeticProfile
from harness.emulator.control import weakest_of
from harness.emulator.graph import Array, Graph
from harness.emulator.interpreter import Emulation, Undefined, emulate
from harness.errors import ModelError
from harness.host.wording import short_name
from harness.records import Exactness, Promise

_HELD: Mapping[Promise, str] = {
    "exact": "exact",
    "assumed": "compared, in part as assumed,",
    "float": "compared, in part in float,",
}


def emulate_beyond(
    graph: Graph,
    profile: ArithmeticProfile,
    inputs: Sequence[Array],
    got: Mapping[int, Array],
) -> tuple[Emulation, tuple[Undefined, ...]]:
    """Emulate a graph, all tensors kept, and go on from the device's where an op is unknown.

    Args:
        graph: the artifact's.
        profile: whose arithmetic.
        inputs: in the graph's order.
        got: the device's tensors by index, of the same invocations.

    Returns:
        The emulation, whose promises hold given what was taken; and the nodes whose outputs were.

    Raises:
        ModelError: as `emulate`.
    """
    emulation = emulate(graph, profile, inputs, all_tensors=True)
    taken: dict[int, Undefined] = {}
    values = dict(zip(graph.inputs, inputs, strict=True))
    while True:
        outputs = {node.index: node.outputs for node in graph.nodes}
        more = {
            one.node: one
            for one in emulation.unknown
            if one.node not in taken and all(i in got for i in outputs[one.node])
        }
        if not more:
            break
        given = {i: got[i] for index in more for i in outputs[index]}
        nodes = tuple(node for node in graph.nodes if node.index not in {*taken, *more})
        shortened = replace(graph, nodes=nodes, inputs=(*values, *given))
        try:
            emulation = emulate(
                shortened, profile, [*values.values(), *given.values()], all_tensors=True
            )
        except ModelError:  # the device's tensor does not fit the file
            break
        taken |= more
        values |= given
    unknown: dict[int, Promise] = {
        i: "unknown" for node in graph.nodes if node.index in taken for i in node.outputs
    }
    promises = emulation.promises | unknown
    return replace(emulation, promises=promises), tuple(taken[index] for index in sorted(taken))


def without_promise(exactness: Exactness, taken: Sequence[Undefined]) -> Exactness:
    """A comparison that went on from the device's tensors, with the verdict that it deserves."""
    if not taken or exactness.verdict == "differs":
        return exactness
    places = ", ".join(f"{one.op} (node {one.node}, {short_name(one.tensor)!r})" for one in taken)
    tensors = (*exactness.outputs, *exactness.intermediates)
    held = _HELD[weakest_of(one.promise for one in tensors if one.promise != "unknown")]
    its, was = ("its output", "was") if len(taken) == 1 else ("their outputs", "were")
    has = "has" if len(taken) == 1 else "have"
    reason = (
        f"{held} up to and beyond {places}, which {has} no entry ({taken[0].reason}): "
        f"{its} {was} taken from the device"
    )
    return replace(exactness, verdict="unknown", reason=reason)

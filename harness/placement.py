"""Placement: where each op of a model runs on a target, why, and what would help."""

from dataclasses import dataclass

Where = str
"""The target's word for an accelerator, e.g. ``edge-tpu``; or `CPU` or `NOWHERE`."""

CPU: Where = "cpu"
"""On the device's CPU."""
NOWHERE: Where = "none"
"""Not at all."""


@dataclass(frozen=True)
class Placement:
    """Where one op runs.

    Attributes:
        node: its index, in execution order.
        op: e.g. ``CONV_2D``.
        output: name of its first output.
        where: see `Where`.
        why: the reason, and the remedy where there is one.
    """

    node: int
    op: str
    output: str
    where: Where
    why: str


@dataclass(frozen=True)
class PlacementReport:
    """Where a whole model runs.

    Attributes:
        placement: of each op, in execution order.
        left: nodes that the target's accelerator or delegate leaves to other kernels.
        notes: what holds for the whole model, e.g. what fits into an accelerator's memory.
    """

    placement: tuple[Placement, ...]
    left: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def impossible(self) -> tuple[Placement, ...]:
        """The ops that cannot run at all."""
        return tuple(one for one in self.placement if one.where == NOWHERE)

    @property
    def left_ops(self) -> tuple[Placement, ...]:
        """The ops that the accelerator or delegate leaves to other kernels."""
        left = set(self.left)
        return tuple(one for one in self.placement if one.node in left)


def say_left(report: PlacementReport) -> str:
    """How many ops are left behind, and the first with its reason; empty when none is."""
    if not report.left:
        return ""
    first = report.left_ops[0]
    return (
        f"{len(report.left)} of {len(report.placement)} ops are left behind, the first is node "
        f"{first.node} ({first.op}, {first.output!r}): {first.why}"
    )

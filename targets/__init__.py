"""The targets: one file a family, one line each in the table.

Other distributions add theirs through the entry-point group ``edgefarm.targets``; each entry
points to a `harness.target.Target`.
"""

from harness.errors import UsageError
from harness.host.plug_ins import with_additions
from harness.target import Target
from targets.arm_neon import ARM_NEON_EXECUTORCH, ARM_NEON_LITERT
from targets.edge_tpu import EDGE_TPU
from targets.hexagon import HEXAGON_EXECUTORCH, HEXAGON_LITERT
from targets.host import HOST_EXECUTORCH, HOST_LITERT

GROUP = "edgefarm.targets"

TARGETS: dict[str, Target] = {
    target.name: target
    for target in (
        ARM_NEON_LITERT,
        ARM_NEON_EXECUTORCH,
        HOST_LITERT,
        HOST_EXECUTORCH,
        EDGE_TPU,
        HEXAGON_LITERT,
        HEXAGON_EXECUTORCH,
    )
}


def all_targets() -> dict[str, Target]:
    """The table, and what installed distributions add to it.

    Raises:
        UsageError: one of those cannot be loaded, is no target, or takes a name that is in use.
    """
    return with_additions(TARGETS, GROUP, Target)


def get_target(name: str) -> Target:
    """The target of that name.

    Raises:
        UsageError: there is none; the message lists those there are.
    """
    if name in TARGETS:
        return TARGETS[name]
    targets = all_targets()
    if name not in targets:
        raise UsageError(f"target {name!r}: no such target; one of: {', '.join(targets)}")
    return targets[name]

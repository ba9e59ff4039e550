"""The emulator's C++ core: the definitions' integers, faster.

The core exists for speed only. The numpy definitions are the specification and every kernel is
tested equal to them, bit for bit, on every level. Without a compiler the module `_core` is not
built; then `level` is None and the definitions run alone.

In a working tree `cmake -S . -B build && cmake --build build` builds it in place. The environment
variable EDGEFARM_CORE forces a level: `portable`, `avx2`, `avx512-vnni`, `neon-dotprod`, or `none`.
"""

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from harness.emulator.definitions import Call, Run
from harness.emulator.graph import Graph
from harness.errors import UsageError

if TYPE_CHECKING:
    from harness.emulator.core.plans import Plan

try:
    from harness.emulator.core import _core
except ImportError:  # not built
    _built = False
else:
    _built = True


class Undefined(Exception):
    """A node of a plan has no definition for its values; run alone, it says why."""


LEVELS = ("avx512-vnni", "avx2", "neon-dotprod", "portable")
"""Every level there is, best first."""


def level() -> str | None:
    """The level that runs here; None when the core is not built or switched off.

    Raises:
        UsageError: EDGEFARM_CORE names a level that does not exist or does not run here.
    """
    wanted = os.environ.get("EDGEFARM_CORE", "")
    if wanted == "none" or not (_built or wanted):
        return None
    if not wanted:
        return _core.best_level()
    if wanted not in available_levels():
        allowed = ", ".join(("none", *available_levels()))
        raise UsageError(f"EDGEFARM_CORE={wanted} does not run here, allowed: {allowed}")
    return wanted


def available_levels() -> tuple[str, ...]:
    """The levels that this processor runs, best first; none when the core is not built."""
    return tuple(name for name in LEVELS if _core.has_level(name)) if _built else ()


def binder() -> Callable[[Call], Run | None]:
    """What offers a kernel for a node, or None where the definition must run.

    Raises:
        UsageError: as for `level`.
    """
    name = level()
    if name is None:
        return lambda _call: None
    from harness.emulator.core.bindings import bind

    return partial(bind, level=name)


def plan_nodes(
    graph: Graph,
    bound: Mapping[int, tuple[Sequence[tuple[int, ...]], Run]],
    keep: Collection[int],
) -> "dict[int, Plan]":
    """As `core.plans.find_plans`; none when the core is not built or switched off."""
    if level() is None:
        return {}
    from harness.emulator.core.plans import find_plans

    return find_plans(graph, bound, keep)


def threads() -> int:
    """How many threads the kernels use: EDGEFARM_THREADS, else the processors we may run on.

    Raises:
        UsageError: EDGEFARM_THREADS is not a number from 1 to 256.
    """
    wanted = os.environ.get("EDGEFARM_THREADS", "")
    if not wanted:
        return min(256, len(os.sched_getaffinity(0)))
    if not wanted.isdecimal() or not 1 <= int(wanted) <= 256:
        raise UsageError(f"EDGEFARM_THREADS={wanted}, allowed: 1 to 256")
    return int(wanted)

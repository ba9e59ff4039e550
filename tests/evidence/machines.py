"""Where families run, and which profiles stand for it."""

from dataclasses import dataclass

from farm.virtual.cpuinfo import Core
from farm.virtual.rootfs import RuntimeKind
from tests.oracle.runtimes import Kernels


@dataclass(frozen=True)
class Machine:
    """Where families run, and the profiles that stand for it.

    Attributes:
        board: core and runtime of a virtual board; None for this host.
        profiles: with the kernels of each.
    """

    board: tuple[Core, RuntimeKind] | None
    profiles: dict[str, Kernels]


def _arm(core: Core) -> Machine:
    return Machine(
        (core, "ai-edge-litert"),
        {
            f"litert-ref-arm@{core}": "reference",
            f"litert-builtin-arm@{core}": "builtin",
            f"litert-xnnpack-arm@{core}": "xnnpack",
        },
    )


MACHINES = {
    "host": Machine(
        None,
        {
            "litert-ref": "reference",
            "litert-builtin-x86": "builtin",
            "litert-xnnpack-x86": "xnnpack",
        },
    ),
    "cortex-a53": _arm("cortex-a53"),
    "cortex-a76": _arm("cortex-a76"),
    "tflite-runtime": Machine(
        ("cortex-a76", "tflite-runtime"), {"tflite-runtime-2.14-arm": "builtin"}
    ),
}

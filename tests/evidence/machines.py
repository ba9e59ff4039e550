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


@dataclass(frozen=True)
class ProgramMachine:
    """Where ExecuTorch's programs run, and the profile that stands for it.

    Attributes:
        profile: its name.
        core: of a virtual board without Python; None for this host.
        under: on this host, the emulator of another processor; empty for its own.
    """

    profile: str
    core: Core | None = None
    under: tuple[str, ...] = ()


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

PROGRAM_MACHINES = {
    "executorch-host": ProgramMachine("executorch-xnnpack-x86"),
    "executorch-without-vnni": ProgramMachine(
        "executorch-xnnpack-x86", under=("qemu-x86_64-static", "-cpu", "Haswell")
    ),
    "executorch-cortex-a53": ProgramMachine("executorch-xnnpack-arm@cortex-a53", "cortex-a53"),
    "executorch-cortex-a76": ProgramMachine("executorch-xnnpack-arm@cortex-a76", "cortex-a76"),
}

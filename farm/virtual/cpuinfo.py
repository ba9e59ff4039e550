"""What /proc/cpuinfo says on each core that a board can have.

XNNPACK and ruy choose their kernels by this file: with the host's they crash, with another core's
they execute instructions that QEMU refuses. So it must name exactly the core that `QEMU_CPU` sets.
Identification is MIDR_EL1 and features are the ELF hardware capabilities, both as QEMU's model of
the core gives them (`target/arm/cpu64.c`, `linux-user/elfload.c`).
"""

import os
from dataclasses import dataclass
from typing import Literal

Core = Literal["cortex-a53", "cortex-a76"]


@dataclass(frozen=True)
class _Identity:
    variant: int
    part: int
    revision: int
    features: str


_IDENTITIES: dict[Core, _Identity] = {
    "cortex-a53": _Identity(0x0, 0xD03, 4, "fp asimd aes pmull sha1 sha2 crc32 cpuid"),
    "cortex-a76": _Identity(
        0x4,
        0xD0B,
        1,
        "fp asimd aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop"
        " asimddp",
    ),
}

CORES: tuple[Core, ...] = tuple(_IDENTITIES)


def cpuinfo(core: Core, processors: int | None = None) -> str:
    """The text of /proc/cpuinfo; one entry per processor of the host unless told otherwise."""
    identity = _IDENTITIES[core]
    return "".join(
        f"processor\t: {index}\n"
        "BogoMIPS\t: 125.00\n"
        f"Features\t: {identity.features}\n"
        "CPU implementer\t: 0x41\n"
        "CPU architecture: 8\n"
        f"CPU variant\t: {identity.variant:#x}\n"
        f"CPU part\t: {identity.part:#x}\n"
        f"CPU revision\t: {identity.revision}\n\n"
        for index in range(processors or os.cpu_count() or 1)
    )

"""Arm boards with NEON (aarch64): the CPU cores of single-board computers and phones."""

from harness.target import Target
from targets import executorch, litert
from targets.runner import PYTHON

ARM_NEON_LITERT = Target(
    name="arm-neon-litert",
    summary="LiteRT on the CPU cores of an aarch64 board",
    runtime="litert",
    machine="aarch64",
    suffix=".tflite",
    recipes=litert.RECIPES,
    lower=litert.LOWER,
    needs=litert.NEEDS,
    packages=litert.PACKAGES,
    trial=litert.TRIAL,
    runner=PYTHON,
    profile=litert.litert_profile,
    profile_without_device=lambda _soc: "litert-xnnpack-arm",
    evidence=(
        "the aarch64 wheel of ai-edge-litert 2.3.0 under QEMU (cortex-a53, cortex-a76); "
        "not on Arm hardware"
    ),
    check=litert.CHECK,
    native_runner=litert.NATIVE_RUNNER,
)

ARM_NEON_EXECUTORCH = Target(
    name="arm-neon-executorch",
    summary="ExecuTorch with its XNNPACK backend on the CPU cores of an aarch64 board",
    runtime="executorch",
    machine="aarch64",
    suffix=".pte",
    recipes=executorch.RECIPES,
    lower=executorch.LOWER,
    needs=executorch.NEEDS,
    packages=executorch.PACKAGES,
    trial=executorch.TRIAL,
    runner=PYTHON,
    profile=executorch.executorch_profile,
    profile_without_device=lambda _soc: "executorch-xnnpack-arm",
    evidence=(
        "executorch 1.5.1's aarch64 libraries in the native runner under QEMU (cortex-a53, "
        "cortex-a76); not on Arm hardware"
    ),
    check=executorch.CHECK,
    native_runner=executorch.NATIVE_RUNNER,
    native_first=True,
)

"""Arm boards with NEON (aarch64): the CPU cores of single-board computers and phones."""

from harness.quantize.litert import lower_litert
from harness.target import Target
from targets.litert import RECIPES, litert_profile
from targets.runner import PYTHON
from targets.runner.build import native_runner

ARM_NEON_LITERT = Target(
    name="arm-neon-litert",
    summary="LiteRT on the CPU cores of an aarch64 board",
    runtime="litert",
    machine="aarch64",
    suffix=".tflite",
    recipes=RECIPES,
    lower=lower_litert,
    runner=PYTHON,
    profile=litert_profile,
    evidence=(
        "the aarch64 wheel of ai-edge-litert 2.3.0 under QEMU (cortex-a53, cortex-a76); "
        "not on Arm hardware"
    ),
    native_runner=native_runner,
)

"""What every target with ExecuTorch on CPU cores shares: recipes, profiles."""

from harness.device import Device
from harness.protocol import Result
from harness.target import ByName

LOWER = ByName("harness.quantize.executorch.lowering:lower_executorch")
CHECK = ByName("targets.executorch_placing:check_executorch")
TRIAL = ByName("harness.quantize.trial:run_executorch")
NEEDS = ("executorch", "torch", "executorch", "torchao")
PACKAGES = ("executorch",)
NATIVE_RUNNER = ByName("targets.runner.build_executorch:native_executorch")

RECIPES = ("float", "dynamic_wi8_afp32", "static_wi8_ai8")

# The profiles are verified against these; what another version computes is unknown.
_VERIFIED = {("x86_64", "1.5.1"): "x86", ("aarch64", "1.5.1"): "arm"}
# Older x86 processors take other kernels, whose products and sums are not fused.
_X86_FEATURE = "avx2"


def executorch_profile(device: Device, result: Result) -> str | None:
    """The profile of the version and machine that ran, of the device's core where there is one."""
    from harness.emulator.profiles import PROFILES

    version = result.runtime_version.partition("+")[0]
    machine = _VERIFIED.get((result.machine, version))
    if result.runtime != "executorch" or machine is None:
        return None
    if machine == "x86" and result.cpu_features and _X86_FEATURE not in result.cpu_features:
        return None
    name = f"executorch-xnnpack-{machine}"
    for candidate in (f"{name}@{device.core}", name):
        if candidate in PROFILES:
            return candidate
    return None

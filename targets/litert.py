"""What every target with LiteRT on CPU cores shares: recipes, lowering, profiles."""

from harness.device import Device
from harness.protocol import Result
from harness.target import ByName

LOWER = ByName("harness.quantize.litert.lowering:lower_litert")
CHECK = ByName("targets.litert_placing:check_litert")
NATIVE_RUNNER = ByName("targets.runner.build:native_runner")
TRIAL = ByName("harness.quantize.trial:run_litert")
NEEDS = ("litert", "torch", "litert_torch", "litert_quantizer")
PACKAGES = ("ai_edge_litert", "tflite_runtime")

RECIPES = (
    "float",
    "dynamic_wi8_afp32",
    "weight_only_wi8_afp32",
    "static_wi8_ai8",
    "static_wi8_ai8_per_tensor",
    "static_wi8_ai16",
)

# The profiles are verified against these; what another version computes is unknown.
_VERIFIED = {("ai_edge_litert", "2.3.0"), ("libLiteRt", "2.3.0")}
# Its default is no delegate, so that both kinds of kernels are the built-in ones.
_TFLITE_RUNTIME = ("tflite_runtime", "2.14.0", "aarch64")
_MACHINES = {"x86_64": "x86", "aarch64": "arm"}


def litert_profile(device: Device, result: Result) -> str | None:
    """The profile of the kernels that really ran: XNNPACK only where its delegate took nodes."""
    from harness.emulator.profiles import PROFILES

    machine = _MACHINES.get(result.machine)
    ran = (result.runtime, result.runtime_version, result.machine)
    if ran == _TFLITE_RUNTIME and result.kernels != "reference" and result.delegated == 0:
        return "tflite-runtime-2.14-arm"
    if ran[:2] not in _VERIFIED or machine is None:
        return None
    if result.kernels == "reference":
        name = "litert-ref" if machine == "x86" else f"litert-ref-{machine}"
    else:
        delegated = result.kernels == "xnnpack" and result.delegated != 0
        name = f"litert-{'xnnpack' if delegated else 'builtin'}-{machine}"
    for candidate in (f"{name}@{device.core}", name):
        if candidate in PROFILES:
            return candidate
    return None

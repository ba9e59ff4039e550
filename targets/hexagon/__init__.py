"""Qualcomm's Hexagon tensor processor (HTP), through LiteRT and through ExecuTorch."""

from pathlib import Path

from harness.device import Device
from harness.errors import UsageError
from harness.host.cache import sources_key
from harness.protocol import Delegate, Result
from harness.target import ByName, Target, VendorEmulator
from targets import executorch, litert
from targets.hexagon.sdk import qairt_version
from targets.hexagon.socs import SOCS, relatives
from targets.runner import PYTHON, npu_runner

EMULATOR = "htp"
EMULATOR_EXECUTORCH = "htp-executorch"
DISPATCH = "libLiteRtDispatch_Qualcomm.so"


def _tools() -> dict[str, str]:
    try:
        return {"QAIRT": qairt_version()}
    except UsageError:
        return {}


def _source() -> str:
    return sources_key(Path(__file__).parent)


def _profile(_device: Device, _result: Result) -> str | None:
    """None: which chip a device has, it does not tell in a result."""
    return None


HEXAGON_LITERT = Target(
    name="hexagon-litert",
    summary="Hexagon tensor processor of Snapdragon chips, compiled ahead of time for LiteRT",
    runtime="litert",
    machine="aarch64",
    suffix=".tflite",
    recipes=("static_wi8_ai8", "static_wi8_ai8_per_tensor"),
    lower=litert.LOWER,
    needs=litert.NEEDS,
    packages=litert.PACKAGES,
    trial=litert.TRIAL,
    runner=npu_runner(Delegate(library=DISPATCH), "qairt"),
    profile=_profile,
    evidence=(
        "compilation and the vendor's HTP emulator (QAIRT 2.51) on x86-64, for every chip listed: "
        "deterministic, integers in and out; that another QAIRT build on a device is refused; NOT "
        "verified: a run on a device, for no Snapdragon is at hand"
    ),
    check=ByName("targets.hexagon.build:check_hexagon"),
    socs=tuple(SOCS),
    compile=ByName("targets.hexagon.build:compile_hexagon"),
    tools=_tools,
    source=_source,
    profile_without_device=lambda soc: f"{EMULATOR}@{soc}",
    vendor=VendorEmulator(
        name=EMULATOR,
        summary="Qualcomm's own emulator of the Hexagon tensor processor, on the compiled context",
        emulate=ByName("targets.hexagon.emulate:emulate_htp"),
        relatives=relatives,
    ),
)

HEXAGON_EXECUTORCH = Target(
    name="hexagon-executorch",
    summary="Hexagon tensor processor through ExecuTorch; wants a QAIRT SDK of its own version",
    runtime="executorch",
    machine="aarch64",
    suffix=".pte",
    recipes=("static_wi8_ai8",),
    takes_steps=False,
    lower=ByName("targets.hexagon.executorch:lower_qnn"),
    needs=executorch.NEEDS,
    packages=executorch.PACKAGES,
    runner=PYTHON,
    profile=_profile,
    evidence=(
        "that a missing or unfitting SDK is refused, naming both versions; NOT verified: lowering, "
        "emulation and the device side, for no fitting SDK and no device is at hand"
    ),
    check=ByName("targets.hexagon.executorch:check_qnn"),
    socs=tuple(SOCS),
    source=_source,
    profile_without_device=lambda soc: f"{EMULATOR_EXECUTORCH}@{soc}",
    vendor=VendorEmulator(
        name=EMULATOR_EXECUTORCH,
        summary="the HTP emulator of the QAIRT SDK that QNN_SDK_ROOT names, through ExecuTorch",
        emulate=ByName("targets.hexagon.executorch:emulate_qnn"),
        relatives=lambda _soc: (),
    ),
)

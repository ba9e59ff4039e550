"""Google's Edge TPU: Coral boards, and any Linux board with the USB accelerator."""

from pathlib import Path

from harness.device import Device
from harness.host.cache import sources_key
from harness.protocol import Delegate, Result
from harness.target import ByName, Target
from targets import litert
from targets.edge_tpu.compiler import PROGRAM, compiler_version
from targets.runner import python_runner

LIBRARY = "libedgetpu.so.1"
PROFILE = "edge-tpu"


def _tools() -> dict[str, str]:
    return {PROGRAM: compiler_version() or "none"}


def _source() -> str:
    return sources_key(Path(__file__).parent)


def _profile(device: Device, result: Result) -> str | None:
    """The assumed profile where the accelerator's delegate was loaded and took nodes."""
    if result.delegate == LIBRARY and result.delegated != 0:
        return PROFILE
    return litert.litert_profile(device, result)


EDGE_TPU = Target(
    name="edge-tpu",
    summary="Edge TPU on a Coral board, or on any Linux board with the USB accelerator",
    runtime="litert",
    machine=None,
    suffix=".tflite",
    recipes=("static_wi8_ai8", "static_wi8_ai8_per_tensor"),
    lower=litert.LOWER,
    needs=litert.NEEDS,
    packages=litert.PACKAGES,
    trial=litert.TRIAL,
    runner=python_runner(Delegate(library=LIBRARY)),
    profile=_profile,
    evidence=(
        "the mapping is predicted from the published constraints and public logs, checked against "
        "a public pair of files and ten models rebuilt by structure whose mapping is public; the "
        "log reader against published logs of versions 14 to 16; NOT verified: the "
        "compiler itself, libedgetpu and the arithmetic, for no Edge TPU and no compiler is at "
        "hand: the profile edge-tpu is ASSUMED"
    ),
    check=ByName("targets.edge_tpu.placing:check_edge_tpu"),
    compile=ByName("targets.edge_tpu.build:compile_edge_tpu"),
    tools=_tools,
    source=_source,
    profile_without_device=lambda _soc: PROFILE,
)

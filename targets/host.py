"""This host as a target: the same runner and protocol, no board needed."""

from harness.quantize.executorch.lowering import lower_executorch
from harness.quantize.litert.lowering import lower_litert
from harness.target import Target
from targets import executorch, litert
from targets.executorch_placing import check_executorch
from targets.litert_placing import check_litert
from targets.runner import PYTHON
from targets.runner.build import native_runner

HOST_LITERT = Target(
    name="host-litert",
    summary="LiteRT on this host's CPU",
    runtime="litert",
    machine=None,
    suffix=".tflite",
    recipes=litert.RECIPES,
    lower=lower_litert,
    runner=PYTHON,
    profile=litert.litert_profile,
    evidence="ai-edge-litert 2.3.0 on x86-64; other versions and machines have no profile",
    check=check_litert,
    native_runner=native_runner,
)

HOST_EXECUTORCH = Target(
    name="host-executorch",
    summary="ExecuTorch with its XNNPACK backend on this host's CPU",
    runtime="executorch",
    machine=None,
    suffix=".pte",
    recipes=executorch.RECIPES,
    lower=lower_executorch,
    runner=PYTHON,
    profile=executorch.executorch_profile,
    evidence="executorch 1.4.1 on x86-64; other versions and machines have no profile",
    check=check_executorch,
)

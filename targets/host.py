"""This host as a target: the same runner and protocol, no board needed."""

from harness.target import Target
from targets import executorch, litert
from targets.runner import PYTHON

HOST_LITERT = Target(
    name="host-litert",
    summary="LiteRT on this host's CPU",
    runtime="litert",
    machine=None,
    suffix=".tflite",
    recipes=litert.RECIPES,
    lower=litert.LOWER,
    needs=litert.NEEDS,
    packages=litert.PACKAGES,
    trial=litert.TRIAL,
    runner=PYTHON,
    profile=litert.litert_profile,
    evidence="ai-edge-litert 2.3.0 on x86-64; other versions and machines have no profile",
    check=litert.CHECK,
    native_runner=litert.NATIVE_RUNNER,
)

HOST_EXECUTORCH = Target(
    name="host-executorch",
    summary="ExecuTorch with its XNNPACK backend on this host's CPU",
    runtime="executorch",
    machine=None,
    suffix=".pte",
    recipes=executorch.RECIPES,
    lower=executorch.LOWER,
    needs=executorch.NEEDS,
    packages=executorch.PACKAGES,
    trial=executorch.TRIAL,
    runner=PYTHON,
    profile=executorch.executorch_profile,
    evidence="executorch 1.5.1 on x86-64 with AVX2; other versions and machines have no profile",
    check=executorch.CHECK,
    native_runner=executorch.NATIVE_RUNNER,
)

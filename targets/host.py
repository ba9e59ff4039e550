"""This host as a target: the same runner and protocol, no board needed."""

from harness.quantize.litert import lower_litert
from harness.target import Target
from targets.litert import RECIPES, litert_profile
from targets.runner import PYTHON
from targets.runner.build import native_runner

HOST_LITERT = Target(
    name="host-litert",
    summary="LiteRT on this host's CPU",
    runtime="litert",
    machine=None,
    suffix=".tflite",
    recipes=RECIPES,
    lower=lower_litert,
    runner=PYTHON,
    profile=litert_profile,
    evidence="ai-edge-litert 2.3.0 on x86-64; other versions and machines have no profile",
    native_runner=native_runner,
)

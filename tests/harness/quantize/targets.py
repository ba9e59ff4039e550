"""Targets to lower for: those of the table, without what lowering does not need."""

from collections.abc import Callable

from harness.placement import PlacementReport
from harness.quantize.executorch.lowering import lower_executorch
from harness.quantize.litert.lowering import lower_litert
from harness.quantize.trial import run_executorch, run_litert
from harness.recipe import RECIPES
from harness.target import Lower, Runner, Runtime, Target

NO_RUNNER = Runner("none", (), lambda *_: ())


def target(name: str, lower: Lower | Callable[..., object], runtime: Runtime) -> Target:
    suffix = ".tflite" if runtime == "litert" else ".pte"
    return Target(
        name,
        "for tests",
        runtime,
        None,
        suffix,
        tuple(RECIPES),
        lower,  # type: ignore[arg-type]  # tests pass lowerings that misbehave
        NO_RUNNER,
        lambda *_: None,
        "",
        lambda *_: PlacementReport(()),
        trial=run_litert if runtime == "litert" else run_executorch,
    )


LITERT = target("test-litert", lower_litert, "litert")
EXECUTORCH = target("test-executorch", lower_executorch, "executorch")

"""Diagnosis: which layers are to blame for what quantization loses, why, and what helps.

The layers' figures come from the float program with rounded values; what the artifact itself makes
of all of them, by its own integers, stands beside. Only calibration samples are looked at: what is
chosen by a diagnosis may be evaluated on the others.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from harness.emulator.formats.model_file import is_lowered
from harness.errors import UsageError
from harness.host.cache import Cache
from harness.host.isolate import run_isolated
from harness.host.progress import Progress, no_progress
from harness.judge.diagnosis.exact import exact_outputs
from harness.judge.diagnosis.outputs import Difference
from harness.judge.diagnosis.records import Diagnosis, LayerDiagnosis, Loss, Total
from harness.judge.diagnosis.remedies import command, remedy
from harness.judge.diagnosis.simulating import Simulated, SimulatedLayer, simulate
from harness.quantize.plan import Plan
from harness.recipe import Recipe
from harness.sources.npz import store_samples

if TYPE_CHECKING:
    from harness.prepare import Prepared
    from harness.request import Request

_TIMEOUT_S = 3600.0
_APART_DB = 3.0
"""The artifact and the simulation tell the same story up to this."""


def check_diagnosable(model: str, recipe: Recipe | None) -> Recipe:
    """The recipe, where a diagnosis of the model by it is possible.

    Raises:
        UsageError: the model is a lowered file, or nothing is quantized.
    """
    suffix = Path(model).suffix
    if is_lowered(suffix):
        raise UsageError(
            f"{model}: a diagnosis needs the float model in PyTorch, and a {suffix} has none; give "
            "the model that it was made of (path/file.py:function, a .pt2 or zoo:NAME) and its "
            "recipe"
        )
    if recipe is None:
        raise UsageError("--recipe is missing: name the recipe whose loss is to be diagnosed")
    if recipe.mode == "float":
        raise UsageError(
            f"recipe {recipe.name} quantizes nothing, so no layer loses anything; "
            "name the recipe whose loss is to be diagnosed"
        )
    return recipe


def diagnose(
    request: "Request",
    ready: "Prepared",
    *,
    cache: Cache,
    spelled: str = "",
    progress: Progress = no_progress,
) -> Diagnosis:
    """Say which layers lose how much, worst first.

    Args:
        request: what would be run.
        ready: what `harness.prepare.prepared` made of it; it need not be compiled.
        spelled: the recipe as it was given, for the commands; its name by default.

    Raises:
        UsageError: the model is a lowered file, or nothing is quantized.
        ModelError: the model cannot be exported, or a step cannot be applied.
    """
    recipe = check_diagnosable(request.model, request.recipe)
    simulated = _simulate(request, ready, recipe, cache, progress)
    total, note = _total(request, ready, simulated, progress)
    spelled = spelled or recipe.name
    return Diagnosis(
        request.model,
        request.target.name,
        recipe.name,
        len(simulated.measured),
        simulated.calibration,
        tuple(
            _diagnosed(one, simulated.total, request, recipe, spelled) for one in simulated.layers
        ),
        total,
        tuple(filter(None, (note, *ready.lowered.manifest.notes))),
    )


def _simulate(
    request: "Request", ready: "Prepared", recipe: Recipe, cache: Cache, progress: Progress
) -> Simulated:
    samples = store_samples(ready.samples.calibration, cache)
    in_float = frozenset(x.name for x in ready.lowered.manifest.reached if x.reached == "not")
    made: Simulated = run_isolated(
        simulate,
        Plan(ready.model, recipe, samples, cache.root),
        request.target.runtime,
        in_float,
        what=f"{request.model}: diagnosis",
        timeout_s=_TIMEOUT_S,
        progress=progress,
    )
    return made


def _diagnosed(
    one: SimulatedLayer, total: Loss, request: "Request", recipe: Recipe, spelled: str
) -> LayerDiagnosis:
    finding = one.finding
    step, tried = remedy(
        finding.cause,
        module=one.module if one.named else "",
        convolution=one.convolution,
        of_weights=finding.of_weights,
        recipe=recipe,
        target=request.target,
        spelled=spelled,
    )
    regained = one.in_place.sqnr_db - total.sqnr_db
    return LayerDiagnosis(
        module=one.module,
        ops=one.ops,
        share=one.share,
        alone=one.alone,
        in_place=one.in_place,
        regained_db=0.0 if np.isnan(regained) else regained,
        added_sqnr_db=one.added.sqnr_db,
        added_cosine=one.added.cosine,
        of_weights=finding.of_weights,
        clipped=one.clipped,
        saturated=one.saturated,
        channels=finding.channels,
        facts=one.facts,
        cause=finding.cause,
        why=finding.why,
        step=step,
        command=command(request.model, request.target.name, tried, request.data_name),
    )


def _total(
    request: "Request", ready: "Prepared", simulated: Simulated, progress: Progress
) -> tuple[Total, str]:
    """Everything quantized, simulated and exact; and what to say where they tell two stories."""
    samples, chosen = ready.samples.calibration, simulated.measured
    outputs, by = exact_outputs(
        request.target, ready.lowered, samples, chosen, soc=request.soc, progress=progress
    )
    if outputs is None:
        return Total(simulated.total, None, by), ""
    difference = Difference()
    difference.add(outputs, simulated.reference)
    exact = difference.loss()
    apart = exact.sqnr_db - simulated.total.sqnr_db
    agree = bool(abs(apart) <= _APART_DB or exact.sqnr_db == simulated.total.sqnr_db)
    return Total(simulated.total, exact, by, agree), _said(exact, simulated.total, agree=agree)


def _said(exact: Loss, simulated: Loss, *, agree: bool) -> str:
    if agree:
        return ""
    figures = f"{exact.sqnr_db:.1f} dB by its integers, {simulated.sqnr_db:.1f} dB simulated"
    if exact.sqnr_db < simulated.sqnr_db:
        return (
            f"the artifact loses something that the layers' figures do not hold ({figures}): look "
            "at what the converter made of the model: `edgefarm run` has its findings, and every "
            "tensor inside"
        )
    return (
        f"the artifact loses less than the layers' figures say ({figures}): it leaves something in "
        "float, or joins operators, that the simulation rounds"
    )

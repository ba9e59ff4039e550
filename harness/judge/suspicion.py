"""Suspicion: what looks wrong in a run though no limit was set for it.

Such a run ends with WARN, not with PASS. Judged are the outputs themselves (constant, not finite,
clipped), their distance from the float model against default floors, and what was found in the
lowered file. A limit that the submitter set on the same quantity replaces the default, and
``[defaults]`` in a limits.toml changes or switches off the rest; see `harness.judge.limits`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.artifact import Finding
from harness.host.wording import short_name
from harness.judge.limits import DefaultLimits, Limits
from harness.records import Accuracy, Proportion, TensorCost

Array = npt.NDArray[Any]

LOW_COSINE, LOW_AGREEMENT, TOP1_DROP = "low-cosine", "low-agreement", "top1-drop"
"""Kinds of finding that a limit on the same quantity replaces."""

_MASK = -1e4
"""Such a value among small ones masks."""
BEYOND = 0.05
"""Of a tensor's range: float values that far beyond its end were clipped, not rounded."""

ENOUGH_SAMPLES = 16
"""Without a float model, an output is called constant over so many distinct samples only."""


@dataclass(frozen=True, eq=False)
class Observed:
    """What was computed of one tensor.

    Attributes:
        name: of the tensor.
        x: its real values; the first axis is the sample.
        in_float: the same of the float model, in the same shape; None without one.
        bounds: lowest and highest real value that its integers hold; None for floats.
        constant: no input reaches it, so that it is the same for every sample.
    """

    name: str
    x: Array
    in_float: Array | None = None
    bounds: tuple[float, float] | None = None
    constant: bool = False


def look_at_outputs(
    outputs: Sequence[Observed], inputs: Sequence[Array], defaults: DefaultLimits
) -> tuple[Finding, ...]:
    """What looks wrong in the outputs, as the device gave them over all samples."""
    return tuple(
        finding
        for one in outputs
        for finding in (
            *_not_finite(one),
            *_constant(one, inputs),
            *_clipped(one, defaults.max_clipped),
        )
    )


def look_inside(tensors: Sequence[Observed], defaults: DefaultLimits) -> tuple[Finding, ...]:
    """The input or tensor inside of which the largest share was clipped, if too much was."""
    clipped = [(clipped_share(one), one) for one in tensors]
    worst = max(clipped, key=lambda each: each[0], default=None)
    return () if worst is None else tuple(_clipped(worst[1], defaults.max_clipped))


def judge_defaults(
    limits: Limits,
    *,
    seen: Sequence[Finding],
    accuracy: Accuracy | None,
    output_costs: Sequence[TensorCost],
) -> tuple[Finding, ...]:
    """Everything that looks wrong, what ``[defaults]`` accepts included.

    Args:
        limits: those set replace defaults on the same quantity.
        seen: in the lowered file and by `look_at_outputs` and `look_inside`.
        accuracy: of the run.
        output_costs: of the outputs that hold real numbers.
    """
    found = [one for one in seen if one.severity == "warn"]
    found += _low_cosine(output_costs, limits.defaults.min_cosine)
    if accuracy is not None:
        found += _low_agreement(accuracy, limits.defaults.min_agreement)
        found += _large_drop(accuracy.drop, limits.defaults.max_drop_vs_float)
    replaced = kinds_replaced_by(limits)
    return tuple(one for one in found if one.kind not in replaced)


def kinds_replaced_by(limits: Limits) -> set[str]:
    """The kinds of finding that limits on the same quantity judge in their place."""
    set_by_submitter = {
        LOW_COSINE: (limits.cost.min_cosine, limits.cost.min_sqnr_db),
        LOW_AGREEMENT: (limits.accuracy.min_agreement,),
        TOP1_DROP: (limits.accuracy.max_drop_vs_float, limits.accuracy.min_top1),
    }
    return {kind for kind, keys in set_by_submitter.items() if any(k is not None for k in keys)}


def clipped_share(one: Observed) -> float:
    """Share of the elements that lie at an end of the tensor's range while float lies beyond it.

    Below a range that begins at 0 nothing counts: a rectifier cuts that off by design, and the
    float value beside it may be the one before it.
    An infinite float value is no clipping: every finite stand-in is at the end. Nor is -1e9, or the
    least float32, in a tensor of small numbers: it is a mask, see `litert.mask_floors`.
    """
    if one.bounds is None or one.in_float is None or one.x.shape != one.in_float.shape:
        return 0.0
    low, high = one.bounds
    margin, step = BEYOND * (high - low), (high - low) * 1e-6
    reference = one.in_float.astype(np.float64)
    below = (one.x <= low + step) & (reference < low - margin) & (low < 0)
    above = (one.x >= high - step) & (reference > high + margin)
    mask = (reference <= _MASK) & (low > _MASK / 10)
    clipped = (below | above) & np.isfinite(reference) & ~mask
    return float(np.count_nonzero(clipped)) / max(1, clipped.size)


def _clipped(one: Observed, most: float) -> Iterator[Finding]:
    share = clipped_share(one)
    if share > most and one.bounds is not None:
        low, high = one.bounds
        yield Finding(
            "clipped",
            _named(one),
            f"{share:.0%} of its elements are clipped: it holds {low:.4g} to {high:.4g}, and float "
            "goes beyond",
            "calibrate with samples like those that it is judged with",
            "warn",
        )


def _not_finite(one: Observed) -> Iterator[Finding]:
    """NaN wherever it comes from; an infinity only where float has none."""
    if one.x.dtype.kind != "f":
        return
    bad = ~np.isfinite(one.x)
    reference = one.in_float
    float_bad = np.zeros(0, bool) if reference is None else ~np.isfinite(reference)
    float_nan = False if reference is None else bool(np.isnan(reference).any())
    if not bad.any() and not float_nan:
        return
    said = f"{np.count_nonzero(bad):,} of {bad.size:,} elements are NaN or infinite"
    if reference is None:
        yield Finding("not-finite", _named(one), said, "see what the model makes of them", "warn")
    elif not float_bad.any():
        remedy = "look for the first tensor that overflows or divides by zero"
        yield Finding("not-finite", _named(one), f"{said}; none of float's are", remedy, "warn")
    else:
        # A mask of -inf that is an output is meant; NaN never is.
        nan = float_nan or bool(np.isnan(one.x).any())
        yield Finding(
            "not-finite",
            _named(one),
            f"{said}; of the float model's, {np.count_nonzero(float_bad):,} are",
            "the float model itself gives NaN on these samples: mend it first" if float_nan else "",
            "warn" if nan else "note",
        )


def _constant(one: Observed, inputs: Sequence[Array]) -> Iterator[Finding]:
    if one.constant or len(one.x) < 2 or not _same_rows(one.x):
        return
    distinct = _distinct(inputs)
    if distinct < 2:
        return
    said = f"the same for all of {distinct:,} different samples"
    if one.in_float is None:
        if distinct >= ENOUGH_SAMPLES and one.x[0].size > 1:
            remedy = "hold it against the float model, or give samples that should differ"
            yield Finding("constant-output", _named(one), said, remedy, "warn")
    elif _same_rows(one.in_float):
        yield Finding("constant-output", _named(one), f"{said}; so is float's", "", "note")
    else:
        yield Finding(
            "constant-output",
            _named(one),
            f"{said}, where float's differs",
            "a layer before it is destroyed: see the tensors inside, or try another recipe",
            "warn",
        )


def _same_rows(x: Array) -> bool:
    return bool(np.all((x == x[:1]) | ((x != x) & (x[:1] != x[:1]))))  # noqa: PLR0124  NaN


def _distinct(inputs: Sequence[Array]) -> int:
    """How many different samples there are."""
    count = max((len(x) for x in inputs), default=0)
    return len(
        {tuple(hash(x[i].tobytes()) for x in inputs if len(x) == count) for i in range(count)}
    )


def _low_cosine(costs: Sequence[TensorCost], floor: float) -> Iterator[Finding]:
    for cost in costs:
        if cost.cosine < floor:
            yield Finding(
                LOW_COSINE,
                _named(cost),
                f"cosine with float is {cost.cosine:.4g}, below the default floor of {floor:g}",
                "see the worst tensors; [cost] min_cosine in limits.toml says what is enough",
                "warn",
            )


def _low_agreement(accuracy: Accuracy, floor: float) -> Iterator[Finding]:
    share = accuracy.near_agreement
    if share is not None and share.high < floor:
        yield Finding(
            LOW_AGREEMENT,
            "",
            f"on {1 - share.value:.0%} of {accuracy.samples:,} samples it chooses a class that the "
            f"float model scores clearly lower; the default floor is agreement on {floor:.0%}",
            "see the worst tensors; [accuracy] min_agreement in limits.toml says what is enough",
            "warn",
        )


def _large_drop(drop: Proportion | None, most: float) -> Iterator[Finding]:
    if drop is not None and drop.low > most:
        yield Finding(
            TOP1_DROP,
            "",
            f"top-1 is {100 * drop.value:.1f} points below the float model's (95 %: "
            f"{100 * drop.low:.1f} to {100 * drop.high:.1f}); the default allows {100 * most:g}",
            "see the worst tensors; [accuracy] in limits.toml says what is enough",
            "warn",
        )


def _named(one: Observed | TensorCost) -> str:
    return f"{short_name(one.name)!r}"

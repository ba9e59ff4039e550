"""What a diagnosis says. Plain data, as `edgefarm diagnose --json` prints it."""

from dataclasses import dataclass
from typing import Literal

Cause = Literal[
    "weight-range-ratio",
    "weight-outlier",
    "activation-range-ratio",
    "activation-outlier",
    "clipped",
    "bias-shift",
    "saturated",
    "few-bits",
    "none",
]


@dataclass(frozen=True)
class Loss:
    """What quantization does to the model's outputs, on the measured samples.

    Attributes:
        sqnr_db: of the outputs, against float; each output counts the same. inf for no loss.
        cosine: of the outputs, the mean over them.
        agreement: share of samples that keep their class, of the first output; None where that
            has no classes.
    """

    sqnr_db: float
    cosine: float
    agreement: float | None = None


@dataclass(frozen=True)
class Channels:
    """Channels of one layer, by number.

    Attributes:
        weight_range_ratio: the widest range of weights over the output channels to the median one;
            None without weights.
        range_ratio: the same of the activations that the layer gives.
        worst: those that the cause is about, worst first.
        dead: those whose activations never change on the calibration samples.
    """

    weight_range_ratio: float | None
    range_ratio: float | None
    worst: tuple[int, ...]
    dead: tuple[int, ...]


@dataclass(frozen=True)
class LayerDiagnosis:
    """One layer: an operator with weights, or others of one module; what clamps or normalizes its
    output belongs to it.

    Attributes:
        module: path in the user's source; the operator's own name where there is none.
        ops: its operators, in execution order.
        share: of the losses of all layers, each alone; all shares sum to 1.
        alone: only this layer is quantized.
        in_place: everything but this layer is quantized.
        regained_db: what `in_place` is better than everything quantized.
        added_sqnr_db, added_cosine: of its own output, from an input in float.
        of_weights: share of its loss that its weights make; the rest is its activations'.
        clipped: share of its activations beyond the range of the integers.
        saturated: share of its activations at the end of a clamp, or in the flat part of the
            function that takes them.
        channels: worst channels by number.
        facts: of these channels.
        cause: why it loses.
        why: the cause, in words, with the figures that show it.
        step: the technique that addresses the cause, or a recipe; "" where none is known.
        command: that tries it; "" without a step.
    """

    module: str
    ops: tuple[str, ...]
    share: float
    alone: Loss
    in_place: Loss
    regained_db: float
    added_sqnr_db: float
    added_cosine: float
    of_weights: float
    clipped: float
    saturated: float
    channels: tuple[int, ...]
    facts: Channels
    cause: Cause
    why: str
    step: str
    command: str


@dataclass(frozen=True)
class Total:
    """All layers quantized.

    Attributes:
        simulated: by the float program with rounded values, from which the layers' figures come.
        exact: by the artifact's own integers; None where no emulator of ours knows them.
        exact_by: the profile, or why there is none.
        agree: whether the two tell the same story; True where one is not known.
    """

    simulated: Loss
    exact: Loss | None
    exact_by: str
    agree: bool = True


@dataclass(frozen=True)
class Diagnosis:
    """Which layers are to blame for what a recipe loses.

    Attributes:
        model, target, recipe: what was diagnosed, by name.
        samples: invocations of the model that losses were measured on, of `calibration`.
        calibration: invocations that ranges were observed on.
        layers: worst first.
        total: of all of them together.
        notes: what the reader should know.
    """

    model: str
    target: str
    recipe: str
    samples: int
    calibration: int
    layers: tuple[LayerDiagnosis, ...]
    total: Total
    notes: tuple[str, ...] = ()

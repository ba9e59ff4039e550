"""Run: one immutable result, with the three comparisons kept apart. Stored as `run.json`.

1. device against emulator: integers, no tolerance (`Exactness`);
2. emulator against float: what quantization cost (`QuantizationCost`);
3. task accuracy and latency on the device (`Accuracy`, `Latency`).
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    TypeAdapter,
    ValidationError,
)

from harness.artifact import Finding, Manifest
from harness.device import Device
from harness.errors import ModelError
from harness.facts import Facts
from harness.host.plain_files import read_plain
from harness.host.wording import first_fault
from harness.placement import PlacementReport
from harness.protocol import Result

RUN_SCHEMA = 1

Promise = Literal["exact", "assumed", "float", "unknown"]
"""What the emulator promises of a tensor: bit-exact by verified entries only; by at least one
ASSUMED entry; float arithmetic, not promised bit for bit; or nothing, because an op has no
entry."""

Verdict = Literal["exact", "differs", "assumed", "float", "unknown"]
"""Of a whole comparison; "exact" needs every output promised exact, compared, and without a
difference."""


class Outcome(StrEnum):
    """How a job ended. FAIL: the numbers are wrong. ERROR: the machine is wrong. WARN: every
    promise and every limit that was set holds, but what needs no limit looks wrong."""

    PASS = "PASS"  # noqa: S105  an outcome, not a password
    WARN = "WARN"
    FAIL = "FAIL"
    ERROR = "ERROR"
    TIMEOUT = "TIMEOUT"
    CANCELLED = "CANCELLED"


_EXIT_CODES = {Outcome.PASS: 0, Outcome.WARN: 4, Outcome.FAIL: 1}
MACHINE_FAILED = 3
"""Exit code of every other outcome."""
_WORST_FIRST = (MACHINE_FAILED, 1, 4, 0)


def exit_code(outcomes: Iterable[Outcome]) -> int:
    """Of what has ended, by the worst of it: 3 the machine failed, 1 the numbers or the model, 4
    something looks wrong (WARN), 0 all passed or there was nothing."""
    codes = {_EXIT_CODES.get(outcome, MACHINE_FAILED) for outcome in outcomes}
    return next((code for code in _WORST_FIRST if code in codes), 0)


def _spell_infinity(value: int | float) -> int | float | str:
    """JSON has no infinity and no NaN: they are written as words, which parse back."""
    return value if isinstance(value, int) or math.isfinite(value) else str(value)


Number = Annotated[int | float, PlainSerializer(_spell_infinity, when_used="json")]
"""One element of a tensor."""

Count = Annotated[int, Field(ge=0)]

HISTOGRAM_LIMIT = 17
"""Differences of this many LSB and more are gathered in the outermost bins."""

Step = Annotated[int, Field(ge=-HISTOGRAM_LIMIT, le=HISTOGRAM_LIMIT)]


@dataclass(frozen=True)
class Divergence:
    """One element that differs: where, what the emulator expected (and from which
    accumulator), what came. The first axis of the index counts over all invocations of the
    evaluation set, joined, so that it is the sample's number where that axis is the batch."""

    index: tuple[int, ...]
    expected: Number
    got: Number
    accumulator: int | None = None


@dataclass(frozen=True)
class TensorComparison:
    """Device against emulator on one tensor.

    Attributes:
        name: of the tensor in the artifact.
        tensor: its index in the artifact; None for a plain ``.npz`` comparison.
        node: index of the node that makes it, in execution order; None for a graph input.
        op: that node's operator, e.g. ``CONV_2D``.
        promise: what the emulator promises of it.
        elements, differing: counts; `differing` is None when nothing could be compared.
        max_lsb: largest absolute difference, in quantization steps (for float tensors, in ULP).
        histogram: (signed difference got - expected in LSB, count), ascending, zero included;
            differences beyond ±16 are gathered at ±17.
        sqnr_db: of float tensors: the emulator's values to the difference from them, in dB; inf
            when equal, None for integers and where nothing could be compared.
        example: the first differing element.
        remark: why nothing could be compared; empty otherwise.
    """

    name: str
    promise: Promise
    elements: Count
    differing: Count | None
    max_lsb: Count | None = None
    histogram: tuple[tuple[Step, Count], ...] = ()
    tensor: int | None = None
    node: int | None = None
    op: str | None = None
    example: Divergence | None = None
    remark: str = ""
    sqnr_db: float | None = None


def _as_ranges(value: Any) -> Any:  # noqa: ANN401  what a file holds, to be validated
    """Traced samples as earlier versions wrote them: one range, or nothing."""
    if value is None:
        return ()
    is_one = isinstance(value, list | tuple) and len(value) == 2
    return (value,) if is_one and all(isinstance(end, int) for end in value) else value


@dataclass(frozen=True)
class Exactness:
    """Device against emulator, over all compared tensors, in execution order.

    Attributes:
        profile: the emulator profile that stood for the device; None when none does.
        verdict: see `Verdict`; one difference in any tensor promised exact makes it "differs".
        outputs: the graph's outputs.
        intermediates: every other tensor that both sides kept, on the traced samples.
        first_divergence: the first tensor in execution order that breaks an exact or assumed
            promise; None without one.
        traced_samples: ranges of the samples on which all tensors were compared, ascending: the
            first of each and one past its last; empty when only outputs were compared. The first
            batch whose outputs differ is among them, if there is one.
        reason: why the verdict is not "exact", one sentence.
    """

    profile: str | None
    verdict: Verdict
    outputs: tuple[TensorComparison, ...] = ()
    intermediates: tuple[TensorComparison, ...] = ()
    first_divergence: TensorComparison | None = None
    reason: str = ""
    traced_samples: Annotated[tuple[tuple[int, int], ...], BeforeValidator(_as_ranges)] = ()


@dataclass(frozen=True)
class TensorCost:
    """Emulator against float on one tensor: signal to quantization noise in dB (inf when
    equal), cosine."""

    name: str
    sqnr_db: float
    cosine: float


@dataclass(frozen=True)
class QuantizationCost:
    """What quantization cost, by tensor; outputs first."""

    reference: str
    tensors: tuple[TensorCost, ...] = ()


@dataclass(frozen=True)
class Proportion:
    """A share of samples, or the difference of two, with its 95 % interval: Wilson's for a
    share."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Accuracy:
    """Of classification on the device, over the evaluation samples.

    Attributes:
        samples: how many were evaluated.
        top1, top5: None without labels (top5 also below six classes).
        float_top1: of the float model on the same samples.
        agreement: share of samples on which device and float model choose the same class.
        near_agreement: the same, or a class that the float model scores almost as high.
        drop: top-1 of the float model minus top-1 on the device, paired, with the 95 % interval of
            Agresti and Min; None without labels or float model.
        scored: which output was scored and how, in words.
    """

    samples: int
    top1: Proportion | None = None
    top5: Proportion | None = None
    float_top1: Proportion | None = None
    agreement: Proportion | None = None
    near_agreement: Proportion | None = None
    drop: Proportion | None = None
    scored: str = ""


@dataclass(frozen=True)
class Latency:
    """Time of one invocation, from raw samples.

    Attributes:
        warmup_ns, samples_ns: raw, one tuple for each restart of the runner.
        median_ns: median of the restarts' medians.
        interval_ns: bootstrap 95 % interval of that; with one restart, over its samples.
        p90_ns, p99_ns: over all timed samples.
        representative: False on virtual devices and where the device throttled.
        remark: why not representative; empty otherwise.
    """

    warmup_ns: tuple[tuple[int, ...], ...]
    samples_ns: tuple[tuple[int, ...], ...]
    median_ns: float
    interval_ns: tuple[float, float]
    p90_ns: float
    p99_ns: float
    representative: bool
    remark: str = ""


@dataclass(frozen=True)
class Distance:
    """Two emulations of the same inputs, held against each other. It is told, not judged.

    Attributes:
        profile: whose outputs were expected.
        against: whose outputs are held against them.
        why: why they differ, where they do.
        outputs: output by output, on all samples.
        agreement: share of samples whose largest element of the first output is the same one; None
            where an output holds no vector for each sample.
        first_op: the first op, in execution order, whose output differs, over a few samples: its
            inputs are equal, so that this is what one op does. None when none differs, or where
            tensors inside cannot be had.
    """

    profile: str
    against: str
    why: str
    outputs: tuple[TensorComparison, ...]
    agreement: Proportion | None = None
    first_op: TensorComparison | None = None


@dataclass(frozen=True)
class Failure:
    """What ended a run before its numbers could be judged: error class and message."""

    kind: str
    message: str


@dataclass(frozen=True)
class Run:
    """One immutable result: `run.json`.

    Attributes:
        id: unique; sorts by time.
        created: ISO 8601, UTC.
        outcome: see `Outcome`.
        reasons: why it is not PASS, one sentence each.
        summary: the outcome in one line, with what was not judged, e.g. ``PASS (exact; accuracy not
            judged: no limits)``; empty in runs of before it was kept.
        warnings: what looks wrong without any limit, see `judge.suspicion`; kept whatever the
            outcome is.
        model, data, target, recipe: as submitted; `recipe` is "" for a file that came quantized.
        recipe_digest: `Recipe.digest`: recipes of one name may differ; "" without a recipe, and in
            runs of before it was kept.
        device: as the inventory had it; `NO_DEVICE` when all was emulated.
        threads: of the runtime on the device; None in runs of before it was kept.
        samples: how many evaluation samples were run.
        manifest: of the artifact; None when lowering failed.
        placement: where each op runs; None when lowering failed.
        facts: of the device, before it ran; None when it was not reached.
        results: what the runner reported, one for each restart; the first wrote the outputs.
        emulated_by: without a device: the profile and what it promises; empty with one.
        distances: the emulation against those of related machines.
        outputs_sha256: of what the device gave, see `host.cache.arrays_key`; empty for nothing.
        exactness, cost, accuracy, latency: the comparisons; None where they could not be made.
        host_latency: the host runtime's own time for the same invocation.
        emulator_ns: the emulator's time for one sample.
        failure: the error that ended the run, if one did.
        notes: what the reader should know, e.g. that calibration and evaluation data overlap.
        tool_versions: of the host.
    """

    # Holds for the records within, too: JSON has no infinity, so it is written as a word.
    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(ser_json_inf_nan="strings")

    id: str
    created: str
    outcome: Outcome
    model: str
    data: str
    target: str
    recipe: str
    device: Device
    recipe_digest: str = ""
    reasons: tuple[str, ...] = ()
    summary: str = ""
    warnings: tuple[Finding, ...] = ()
    threads: int | None = None
    samples: int = 0
    manifest: Manifest | None = None
    placement: PlacementReport | None = None
    facts: Facts | None = None
    results: tuple[Result, ...] = ()
    exactness: Exactness | None = None
    emulated_by: str = ""
    distances: tuple[Distance, ...] = ()
    cost: QuantizationCost | None = None
    outputs_sha256: str = ""
    accuracy: Accuracy | None = None
    latency: Latency | None = None
    host_latency: Latency | None = None
    emulator_ns: int | None = None
    failure: Failure | None = None
    notes: tuple[str, ...] = ()
    tool_versions: dict[str, str] = field(default_factory=dict)
    schema: int = RUN_SCHEMA

    @property
    def on_device(self) -> bool:
        """Whether there was a device; without one all numbers are an emulator's."""
        return self.device.transport != "none"


_RUN = TypeAdapter(Run)
_MOST_RUN_BYTES = 1 << 30


def dump_run(run: Run) -> bytes:
    """The run as JSON; `parse_run` reads it back equal."""
    return _RUN.dump_json(run, indent=2)


def parse_run(text: bytes, *, where: str = "run.json") -> Run:
    """Parse a stored run.

    Raises:
        ModelError: it is not a run, or of another schema.
    """
    try:
        run = _RUN.validate_json(text)
    except ValidationError as error:
        raise ModelError(f"{where}: not a run: {first_fault(error)}") from error
    if run.schema != RUN_SCHEMA:
        raise ModelError(f"{where}: run schema {run.schema}, this version reads {RUN_SCHEMA}")
    return run


def load_run(path: Path) -> Run:
    """Read a `run.json`; raises ModelError when it is missing or broken."""
    try:
        return parse_run(read_plain(path, _MOST_RUN_BYTES), where=str(path))
    except OSError as error:
        raise ModelError(f"{path}: {error.strerror}") from error

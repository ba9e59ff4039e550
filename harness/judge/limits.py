"""Limits: what a submitter requires of a run (``limits.toml``), and the judgement.

docs/limits.md has every key, with an example. Every key is optional. A limit that needs labels is
refused where there are none. Any other that cannot be evaluated fails, with the reason. A run whose
device breaks an exact promise fails without any limit. What `[defaults]` judges: `judge.suspicion`.
"""

import re
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from harness.artifact import Finding
from harness.errors import UsageError
from harness.host.plain_files import read_plain
from harness.host.wording import fault, short_name
from harness.placement import PlacementReport, say_left
from harness.records import Accuracy, Exactness, Latency, Outcome, Proportion, QuantizationCost

Share = Annotated[float, Field(ge=0, le=1)]
Milliseconds = Annotated[float, Field(gt=0)]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ExactnessLimits(_Table):
    """Device against emulator."""

    require: Literal["exact", "no-difference"] | None = None


class AccuracyLimits(_Table):
    """The task, on the device."""

    min_top1: Share | None = None
    min_top5: Share | None = None
    min_agreement: Share | None = None
    max_drop_vs_float: Share | None = None


class LatencyLimits(_Table):
    """Time of one invocation."""

    max_median_ms: Milliseconds | None = None
    max_p90_ms: Milliseconds | None = None
    max_p99_ms: Milliseconds | None = None
    not_representative: Literal["fail", "skip", "judge"] = "fail"


class CostLimits(_Table):
    """Emulator against float, on the worst tensor."""

    min_sqnr_db: float | None = None
    min_cosine: Annotated[float, Field(ge=-1, le=1)] | None = None


class PlacementLimits(_Table):
    """Where the ops run."""

    full_delegation: bool = False


def _as_tuple(value: object) -> object:
    """TOML has lists only."""
    return tuple(value) if isinstance(value, list) else value


class DefaultLimits(_Table):
    """What a run is held against where no limit was set: beyond these it looks wrong.

    A share or a drop is beyond its bound only when all of its 95 % interval is, so that few samples
    raise no alarm.
    """

    judge: bool = True
    min_cosine: Annotated[float, Field(ge=-1, le=1)] = 0.95
    min_agreement: Share = 0.9
    max_drop_vs_float: Share = 0.02
    max_clipped: Share = 0.1
    accept: Annotated[tuple[str, ...], BeforeValidator(_as_tuple)] = ()

    def accepts(self, finding: Finding) -> bool:
        """Whether the submitter knows of such a finding and lives with it."""
        return not self.judge or finding.kind in self.accept


class Limits(_Table):
    """A whole ``limits.toml``; without one, `Limits()`."""

    exactness: ExactnessLimits = ExactnessLimits()
    accuracy: AccuracyLimits = AccuracyLimits()
    latency: LatencyLimits = LatencyLimits()
    cost: CostLimits = CostLimits()
    placement: PlacementLimits = PlacementLimits()
    defaults: DefaultLimits = DefaultLimits()

    @property
    def judges_accuracy(self) -> bool:
        """Whether a limit was set on the task's accuracy or on what quantization cost."""
        values = (*dict(self.accuracy).values(), *dict(self.cost).values())
        return any(value is not None for value in values)


@dataclass(frozen=True)
class Judgement:
    """PASS, WARN or FAIL; one reason for each broken limit, or for what looks wrong where none is;
    and notes on limits that were skipped."""

    outcome: Outcome
    reasons: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


_EXACTNESS_WORDS = {
    "float": "float: no bits promised",
    "assumed": "exactness assumed",
    "unknown": "exactness unknown",
}


def summary_of(
    outcome: Outcome,
    exactness: Exactness | None,
    limits: Limits,
    warnings: Sequence[Finding] = (),
) -> str:
    """A judged outcome in one line, with what was not judged, e.g. ``PASS (exact; accuracy not
    judged: no limits)``."""
    if exactness is None or not exactness.outputs:
        said = ["not compared on a device"]
    else:
        said = [_EXACTNESS_WORDS.get(exactness.verdict, exactness.verdict)]
    if outcome is Outcome.WARN:
        said.append(f"looks wrong: {', '.join(dict.fromkeys(one.kind for one in warnings))}")
    if not limits.judges_accuracy:
        said.append("accuracy not judged: no limits")
    elif outcome is not Outcome.FAIL:
        said.append("accuracy within its limits")
    return f"{outcome} ({'; '.join(said)})"


def load_limits(path: Path) -> Limits:
    """Read a ``limits.toml``.

    Raises:
        UsageError: it cannot be read, or a key or value is wrong; the message names the line.
    """
    try:
        text = read_plain(path).decode()
        return Limits.model_validate(tomllib.loads(text), strict=True)
    except OSError as error:
        raise UsageError(f"limits {path}: cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"limits {path}: not TOML: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = tuple(str(part) for part in first["loc"])
        line = _line_of(text, where)
        at = f"line {line}: " if line else ""
        message = fault(first)
        if first["type"] == "extra_forbidden":
            message = f"{'.'.join(where)}: no such key; {_allowed_beside(where)}"
        raise UsageError(f"limits {path}: {at}{message}") from error


def _allowed_beside(where: tuple[str, ...]) -> str:
    """Which keys there are in the table of a wrong one."""
    table: type[BaseModel] = Limits
    if len(where) > 1 and where[0] in Limits.model_fields:
        table = type(Limits.model_fields[where[0]].default)
    return f"one of: {', '.join(table.model_fields)}"


def _line_of(text: str, where: tuple[str, ...]) -> int | None:
    """The line of a key under its ``[table]`` header; of the header itself for a whole table."""
    table = ""
    for number, line in enumerate(text.splitlines(), 1):
        if header := re.match(r"\s*\[\s*([^\]]+?)\s*\]", line):
            table = header[1]
            if (table,) == where:
                return number
        key = re.match(r"\s*([\w.\"'-]+)\s*=", line)
        if key and tuple(f"{table}.{key[1]}".strip(".").split("."))[: len(where)] == where:
            return number
    return None


def judge(
    limits: Limits,
    *,
    exactness: Exactness | None,
    cost: QuantizationCost | None,
    accuracy: Accuracy | None,
    latency: Latency | None,
    placement: PlacementReport | None = None,
    delegated: int | None = None,
    warnings: Sequence[Finding] = (),
) -> Judgement:
    """Hold the comparisons of a run against the limits.

    Args:
        placement: where the ops run, as found before the run.
        delegated: how many nodes the device's delegate took; None when it does not tell.
        warnings: what looks wrong without a limit, see `harness.judge.suspicion`.
    """
    notes: list[str] = []
    reasons = [
        *_judge_exactness(limits.exactness, exactness),
        *_judge_accuracy(limits.accuracy, accuracy),
        *_judge_latency(limits.latency, latency, notes),
        *_judge_cost(limits.cost, cost),
        *_judge_placement(limits.placement, placement, delegated),
    ]
    outcome = Outcome.FAIL if reasons else Outcome.WARN if warnings else Outcome.PASS
    said = reasons or [str(one) for one in warnings]
    return Judgement(outcome, tuple(said), tuple(notes))


def _judge_exactness(limits: ExactnessLimits, exactness: Exactness | None) -> Iterator[str]:
    if exactness is not None and exactness.verdict == "differs":
        yield f"the device is not what the emulator expects: {exactness.reason}"
        return
    if limits.require is None:
        return
    required = f"exactness.require is {limits.require!r}"
    if exactness is None or not exactness.outputs:
        why = exactness.reason if exactness and exactness.reason else "nothing was compared"
        yield f"{required}, which cannot be evaluated: {why}"
    elif limits.require == "exact" and exactness.verdict != "exact":
        yield f"{required}, but the verdict is {exactness.verdict!r}: {exactness.reason}"
    elif limits.require == "no-difference":
        for one in exactness.outputs:
            name = repr(short_name(one.name))
            if one.differing is None:
                yield f"{required}, which cannot be evaluated: {name}: {one.remark}"
            elif one.differing:
                yield f"{required}, but {one.differing:,} of {one.elements:,} of {name} differ"


def _judge_accuracy(limits: AccuracyLimits, accuracy: Accuracy | None) -> Iterator[str]:
    scored = accuracy or Accuracy(0)
    for key, limit, share, need in (
        ("min_top1", limits.min_top1, scored.top1, "labels"),
        ("min_top5", limits.min_top5, scored.top5, "labels and six classes"),
        ("min_agreement", limits.min_agreement, scored.agreement, "the float model's outputs"),
    ):
        if limit is None:
            continue
        if share is None:
            yield _not_evaluated(f"accuracy.{key} = {limit}", need)
        elif share.value < limit:
            yield f"accuracy.{key} = {limit}, got {_percent(share)} of {scored.samples} samples"
    drop_limit = limits.max_drop_vs_float
    if drop_limit is None:
        return
    if scored.top1 is None or scored.float_top1 is None:
        yield _not_evaluated(
            f"accuracy.max_drop_vs_float = {drop_limit}", "labels and the float model's outputs"
        )
        return
    # Both are counts of one sample set: rounding removes what subtracting two quotients adds.
    drop = round(scored.float_top1.value - scored.top1.value, 12)
    if drop > drop_limit:
        yield (
            f"accuracy.max_drop_vs_float = {drop_limit}, got {drop:.4f}: float "
            f"{_percent(scored.float_top1)}, device {_percent(scored.top1)}"
        )


def _judge_latency(
    limits: LatencyLimits, latency: Latency | None, notes: list[str]
) -> Iterator[str]:
    for key, limit in (
        ("median", limits.max_median_ms),
        ("p90", limits.max_p90_ms),
        ("p99", limits.max_p99_ms),
    ):
        if limit is None:
            continue
        required = f"latency.max_{key}_ms = {limit}"
        if latency is None:
            yield _not_evaluated(required, "timed runs")
            continue
        got_ms = getattr(latency, f"{key}_ns") / 1e6
        if not latency.representative and limits.not_representative != "judge":
            said = f"{required} was not judged: {latency.remark} (measured {got_ms:.3f} ms)"
            if limits.not_representative == "skip":
                notes.append(said)
            else:
                yield f'{said}; set latency.not_representative to "skip" or "judge" to go on'
        elif got_ms > limit:
            yield f"{required}, got {got_ms:.3f} ms"


def _judge_cost(limits: CostLimits, cost: QuantizationCost | None) -> Iterator[str]:
    for key, limit, unit in (
        ("sqnr_db", limits.min_sqnr_db, " dB"),
        ("cosine", limits.min_cosine, ""),
    ):
        if limit is None:
            continue
        required = f"cost.min_{key} = {limit}"
        if cost is None or not cost.tensors:
            yield _not_evaluated(required, "the emulator's and the float model's outputs")
            continue
        worst = min(cost.tensors, key=lambda tensor: getattr(tensor, key))
        got = getattr(worst, key)
        if got < limit:
            yield f"{required}, got {got:.4g}{unit} on {short_name(worst.name)!r}"


def _judge_placement(
    limits: PlacementLimits, placement: PlacementReport | None, delegated: int | None
) -> Iterator[str]:
    if not limits.full_delegation:
        return
    required = "placement.full_delegation is required"
    if placement is None:
        yield f"{required}, which cannot be evaluated: the placement is not known"
    elif placement.left:
        yield f"{required}, but {say_left(placement)}"
    elif delegated is not None and delegated < len(placement.placement):
        taken = f"took {delegated} of {len(placement.placement)} nodes"
        yield f"{required}, but the delegate on the device {taken}"


def _not_evaluated(required: str, need: str) -> str:
    return f"{required} cannot be evaluated: it needs {need}, and this run has none"


def _percent(share: Proportion) -> str:
    return f"{share.value:.2%} (95 %: {share.low:.2%} to {share.high:.2%})"

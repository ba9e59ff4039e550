"""Recording: the Run of an evaluation as far as it has come, and how it ends."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from harness.artifact import Finding
from harness.errors import Cancelled, DeviceError, DeviceTimeout, HarnessError, HostFull
from harness.judge.limits import Limits, judge, summary_of
from harness.judge.observed import real_output_costs
from harness.judge.suspicion import judge_defaults
from harness.model import Model
from harness.quantize.tools import tool_versions
from harness.records import Failure, Outcome, Run
from harness.request import Request
from harness.sources.batches import sample_count
from harness.sources.split import Split


class Recording:
    """The run as far as it has come: whatever ends it, what is known by then is kept."""

    def __init__(self, request: Request) -> None:
        now = datetime.now(UTC)
        self.run = Run(
            id=f"{now:%Y%m%dT%H%M%S}-{uuid4().hex[:8]}",
            created=now.isoformat(timespec="seconds"),
            outcome=Outcome.ERROR,
            model=request.model,
            data=request.data_name,
            target=request.target.name,
            recipe=request.recipe.name if request.recipe else "",
            recipe_digest=request.recipe.digest() if request.recipe else "",
            device=request.device,
            threads=request.threads,
            tool_versions=tool_versions(),
        )
        self._seen: tuple[Finding, ...] = ()

    def add(self, **fields: Any) -> None:  # noqa: ANN401  the fields of Run, checked by replace()
        """Set fields of the run."""
        self.run = replace(self.run, **fields)

    def opened(self, model: Model, samples: Split) -> None:
        """Write down what was opened."""
        self.add(samples=sample_count(samples.evaluation))
        self.note(*model.notes, *samples.notes)
        if model.recipe:
            self.add(recipe=model.recipe, recipe_digest=model.recipe_digest)

    def note(self, *notes: str) -> None:
        """Add what the reader should know."""
        self.add(notes=(*self.run.notes, *notes))

    def see(self, *findings: Finding) -> None:
        """Add what was found: to be judged, or as notes."""
        self._seen += findings
        self.note(*(str(one) for one in findings if one.severity == "note"))

    def ended_by(self, error: HarnessError) -> Run:
        """The run as an error ended it: the machine's fault, or the model's."""
        outcome = Outcome.FAIL
        if isinstance(error, DeviceError):
            outcome = Outcome.TIMEOUT if isinstance(error, DeviceTimeout) else Outcome.ERROR
        elif isinstance(error, HostFull):
            outcome = Outcome.ERROR
        elif isinstance(error, Cancelled):
            outcome = Outcome.CANCELLED
        failure = Failure(type(error).__name__, str(error))
        return replace(
            self.run,
            outcome=outcome,
            summary=str(outcome),
            warnings=tuple(one for one in self._seen if one.severity == "warn"),
            failure=failure,
            reasons=(str(error),),
        )

    def judged(self, limits: Limits) -> Run:
        """The complete run, held against the limits."""
        results = self.run.results
        found = judge_defaults(
            limits,
            seen=self._seen,
            accuracy=self.run.accuracy,
            output_costs=real_output_costs(self.run),
        )
        warnings = tuple(one for one in found if not limits.defaults.accepts(one))
        judgement = judge(
            limits,
            exactness=self.run.exactness,
            cost=self.run.cost,
            accuracy=self.run.accuracy,
            latency=self.run.latency,
            placement=self.run.placement,
            delegated=results[0].delegated if results else None,
            warnings=warnings,
        )
        self.note(*judgement.notes)
        self.note(*(f"accepted by [defaults]: {one}" for one in found if one not in warnings))
        return replace(
            self.run,
            outcome=judgement.outcome,
            summary=summary_of(judgement.outcome, self.run.exactness, limits, warnings),
            warnings=warnings,
            reasons=judgement.reasons,
        )

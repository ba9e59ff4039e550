"""What a test asserts of a Run; a failed assertion says why, and names the first diverging op."""

from pathlib import Path
from typing import Any, Literal

import numpy.typing as npt
from pydantic import ValidationError

from harness.artifact import Finding
from harness.errors import UsageError
from harness.host.wording import first_fault
from harness.judge.limits import (
    AccuracyLimits,
    ExactnessLimits,
    Judgement,
    LatencyLimits,
    Limits,
    judge,
)
from harness.judge.suspicion import kinds_replaced_by
from harness.pytest_plugin.deploying import Deploying
from harness.records import Exactness, Outcome, Run
from reports import words

Array = npt.NDArray[Any]

_ACCEPT = "if that is known and meant: deploy(…, accept_warn=True), or [defaults] in its limits"


class Checks:
    """The assertions, by the same judgement as a limits.toml."""

    def __init__(self, deploying: Deploying) -> None:
        self._deploying = deploying

    def bit_exact(
        self,
        run: Run | str | Path,
        *inputs: Array,
        require: Literal["exact", "no-difference"] = "exact",
        **options: Any,  # noqa: ANN401  those of `Deploying.run_on_device`
    ) -> None:
        """Assert that the device computed what the emulator expects.

        Args:
            run: a Run; or a model, to run on the held device and compare on every tensor.
            inputs: of the model.
            require: as in a limits.toml: bit-exact by verified entries, or only that no compared
                output differs.
            options: with a model, as of `Deploying.run_on_device`.
        """
        __tracebackhide__ = True
        limits = Limits(exactness=_table(ExactnessLimits, {"require": require}))
        if isinstance(run, Run):
            self._judge(run, limits, self._looks_wrong(run, limits), exactness=run.exactness)
            return
        found = self._deploying.compare(run, *inputs, **options)
        judged = judge(limits, exactness=found, cost=None, accuracy=None, latency=None)
        _raise(judged, found)

    def accuracy(self, run: Run, **limits: float) -> None:
        """Assert the task's accuracy on the device.

        Args:
            run: the Run.
            limits: keys of ``[accuracy]`` in a limits.toml, e.g. ``min_top1=0.7``.
        """
        __tracebackhide__ = True
        required = Limits(accuracy=_table(AccuracyLimits, limits))
        self._judge(run, required, self._looks_wrong(run, required), accuracy=run.accuracy)

    def latency(self, run: Run, **limits: float | str) -> None:
        """Assert the time of one invocation on the device.

        Args:
            run: the Run.
            limits: keys of ``[latency]`` in a limits.toml, e.g. ``max_p90_ms=15``.
        """
        __tracebackhide__ = True
        # A network of random weights is fit to be timed: what it computes is not asserted here.
        self._judge(run, Limits(latency=_table(LatencyLimits, limits)), (), latency=run.latency)

    def _looks_wrong(self, run: Run, limits: Limits) -> tuple[Finding, ...]:
        """Why a run is WARN, without what the test accepts or asserts itself."""
        if run.outcome is not Outcome.WARN or run.id in self._deploying.accepted:
            return ()
        judged = kinds_replaced_by(limits)
        return tuple(one for one in run.warnings if one.kind not in judged)

    def _judge(
        self,
        run: Run,
        limits: Limits,
        looks_wrong: tuple[Finding, ...],
        **found: Any,  # noqa: ANN401  parts of a Run
    ) -> None:
        __tracebackhide__ = True
        if run.failure is not None:
            raise AssertionError(f"{run.outcome}: {run.failure.kind}: {run.failure.message}")
        parts = {"exactness": None, "cost": None, "accuracy": None, "latency": None} | found
        _raise(judge(limits, **parts, warnings=looks_wrong), run.exactness)


def _table(kind: Any, values: dict[str, Any]) -> Any:  # noqa: ANN401  a table of Limits
    """A table of a limits.toml; an empty one, or a wrong key, would assert nothing."""
    try:
        made = kind.model_validate(values, strict=True)
    except ValidationError as error:
        allowed = ", ".join(kind.model_fields)
        raise UsageError(f"{first_fault(error)}; keys: {allowed}") from None
    if all(value is None for name, value in made if name != "not_representative"):
        raise UsageError(f"nothing is asserted; give one of: {', '.join(kind.model_fields)}")
    return made


def _raise(judged: Judgement, exactness: Exactness | None) -> None:
    __tracebackhide__ = True
    if judged.outcome is Outcome.PASS:
        return
    lines = list(judged.reasons)
    if judged.outcome is Outcome.WARN:
        lines = ["what is asserted holds, but the run looks wrong (WARN):", *lines, _ACCEPT]
    if exactness is not None and exactness.first_divergence is not None:
        lines.append(words.divergence(exactness.first_divergence))
    raise AssertionError("\n".join(lines))

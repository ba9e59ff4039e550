"""What a search for a recipe says. Plain data, as `edgefarm tune --json` prints it."""

from dataclasses import dataclass
from typing import Any, Literal

from harness.tune.budget import Budget


@dataclass(frozen=True)
class Metrics:
    """What one recipe makes of the model, on the tuning samples.

    Attributes:
        score: share of samples: right where there are labels, else of the float model's class;
            for outputs without classes the cosine.
        score_is: ``top1``, ``agreement`` or ``cosine``.
        drop: the float model's score minus this one.
        top1: share of samples that are right; None without labels.
        cosine, sqnr_db: of the outputs, against float.
        bytes: of the artifact.
        latency_ms: median of one invocation; None where nothing ran it.
    """

    score: float
    score_is: Literal["top1", "agreement", "cosine"]
    drop: float
    top1: float | None
    cosine: float
    sqnr_db: float
    bytes: int
    latency_ms: float | None = None

    def within(self, budget: Budget) -> bool:
        """Whether nothing is beyond the budget; a latency that nobody measured is not."""
        slow = self.latency_ms is not None and self.latency_ms > budget.latency
        return self.drop <= budget.drop + 1e-12 and self.bytes <= budget.size and not slow


@dataclass(frozen=True)
class Trial:
    """One recipe that was judged.

    Attributes:
        recipe: as `--recipe` takes it.
        why: what it was tried for.
        metrics: what it makes of the model.
    """

    recipe: str
    why: str
    metrics: Metrics


@dataclass(frozen=True)
class Refused:
    """One recipe that could not be judged.

    Attributes:
        recipe: as `--recipe` takes it.
        why: what it was tried for.
        reason: why it was not judged.
    """

    recipe: str
    why: str
    reason: str


@dataclass(frozen=True)
class Recommended:
    """The recipe to take.

    Attributes:
        recipe: as `--recipe` takes it.
        file: where it lies as JSON.
        within_budget: whether it is; False for the best of what was tried.
        command: that reproduces it.
        metrics: on the tuning samples.
        evaluated: on the evaluation samples, once: outcome, samples, and scores by name.
    """

    recipe: str
    file: str
    within_budget: bool
    command: str
    metrics: Metrics
    evaluated: dict[str, Any]


@dataclass(frozen=True)
class Tuning:
    """Attributes:
    model, target, device: what it was for.
    budget: what was asked.
    samples: for tuning.
    judged_by: the emulator's profile, or what else computed the outputs.
    latency_of: whose latencies these are; "" for nobody's.
    float_score: of the float model.
    trials: those judged, in the order in which they were tried.
    refused: those that could not be judged.
    front: of the trials, the ones that none beats in score, size and latency together.
    recommended: None where no trial could be judged.
    stopped: why the search ended.
    notes: what the reader should know.
    """

    model: str
    target: str
    device: str
    budget: Budget
    samples: int
    judged_by: str
    latency_of: str
    float_score: float
    trials: tuple[Trial, ...]
    refused: tuple[Refused, ...]
    front: tuple[Trial, ...]
    recommended: Recommended | None
    stopped: str
    notes: tuple[str, ...] = ()

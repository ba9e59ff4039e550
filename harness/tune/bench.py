"""One recipe, judged: its artifact's own integers on the tuning samples, its size, its time."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import TypeAdapter

from harness.artifact import Artifact, to_device
from harness.device import NO_DEVICE, Connect, Device
from harness.errors import HarnessError, ModelError, UsageError
from harness.host.cache import Cache, arrays_key, content_key
from harness.host.progress import Progress
from harness.judge.accuracy import accuracy_of
from harness.judge.cost import tensor_cost
from harness.judge.diagnosis.exact import exact_outputs
from harness.on_device.deploy import QUICK, choose_runner, run_job
from harness.on_device.latency import latency_from
from harness.on_device.slices import count_slices, take_slices
from harness.prepare import Opened, Prepared, lowered_by
from harness.quantize.tools import own_sources, tool_versions
from harness.recipe import load_recipe
from harness.request import Request
from harness.sources.batches import sample_count
from harness.target import Target
from harness.tune.records import Metrics, Refused, Trial

Array = npt.NDArray[Any]


@dataclass(eq=False)
class Bench:
    """Where the recipes of one search are judged.

    Attributes:
        request: what they are for; its recipe is not looked at.
        opened: model and data.
        in_float: what the float model gives for the tuning samples.
        timed_on: the device whose latency counts; `NO_DEVICE` for none.
        timed_as: the target whose runner is used there.
        connect: opens a transport to it.
        cache: of artifacts and of trials: a search that was killed goes on where it was.
        progress: told what is being done.
        judged_by: what computed the outputs, once something has.
    """

    request: Request
    opened: Opened
    in_float: tuple[Array, ...]
    timed_on: Device
    timed_as: Target
    connect: Connect
    cache: Cache
    progress: Progress
    judged_by: str = ""

    def trial(self, recipe: str, why: str) -> Trial | Refused:
        """Judge a recipe, or take the trial from the cache.

        Args:
            recipe: as `--recipe` takes it.
            why: what it is tried for.
        """
        try:
            key = self._key(recipe)
            stored = self.cache.entry("trials", key) / _FILE
            if stored.exists():
                kept = _Stored.validate_json(stored.read_bytes())
                self.judged_by = self.judged_by or kept.judged_by
                return replace(kept.trial, recipe=recipe, why=why)
            trial = self._judged(recipe, why)
        except UsageError as error:
            return Refused(recipe, why, str(error))
        if isinstance(trial, Trial):  # what failed is tried again: the reason may have gone
            with self.cache.fill("trials", key) as folder:
                (folder / _FILE).write_bytes(_Stored.dump_json(_Kept(trial, self.judged_by)))
        return trial

    def prepared(self, recipe: str) -> tuple[Request, Prepared]:
        """The request with a recipe, and what is lowered by it."""
        request = replace(self.request, recipe=load_recipe(recipe))
        return request, lowered_by(request, self.opened, self.cache, progress=self.progress)

    def score(self, outputs: Sequence[Array]) -> tuple[float, str, float | None]:
        """The score, what it is, and the share that is right where there are labels."""
        samples = self.opened.samples
        found = accuracy_of(
            outputs,
            sample_count(samples.tuning),
            labels=samples.tuning_labels,
            in_float=self.in_float,
            names=[one.name for one in self.opened.model.outputs],
        )
        if found is not None and found.top1 is not None:
            return found.top1.value, "top1", found.top1.value
        if found is not None and found.agreement is not None:
            return found.agreement.value, "agreement", None
        return self._fidelity(outputs)[1], "cosine", None

    def _judged(self, recipe: str, why: str) -> Trial | Refused:
        try:
            request, ready = self.prepared(recipe)
            outputs, by = self._outputs(ready.lowered)
            latency = self._latency(request, ready.artifact)
        except UsageError:
            raise
        except HarnessError as error:
            return Refused(recipe, why, str(error))
        if outputs is None:
            return Refused(recipe, why, by)
        self.judged_by = by
        score, score_is, top1 = self.score(outputs)
        sqnr, cosine = self._fidelity(outputs)
        metrics = Metrics(
            score=score,
            score_is=score_is,  # type: ignore[arg-type]  # one of the three words of `score`
            drop=self.float_score - score,
            top1=top1,
            cosine=cosine,
            sqnr_db=sqnr,
            bytes=ready.artifact.path.stat().st_size,
            latency_ms=latency,
        )
        return Trial(recipe, why, metrics)

    def _outputs(self, artifact: Artifact) -> tuple[tuple[Array, ...] | None, str]:
        tuning = self.opened.samples.tuning
        specs = artifact.manifest.inputs
        given = [to_device(spec, x) for spec, x in zip(specs, tuning, strict=True)]
        chosen = range(count_slices(specs, given))
        target, soc = self.request.target, self.request.soc
        return exact_outputs(target, artifact, tuning, chosen, soc=soc, progress=self.progress)

    def _fidelity(self, outputs: Sequence[Array]) -> tuple[float, float]:
        """SQNR in dB and cosine against float, the mean over the outputs; not above 200 dB."""
        costs = [
            tensor_cost("", x.astype(np.float64), y.astype(np.float64))
            for x, y in zip(outputs, self.in_float, strict=True)
        ]
        if not costs:
            raise ModelError(f"{self.request.model}: it has no outputs")
        sqnr = [float(np.clip(one.sqnr_db, -_MOST_DB, _MOST_DB)) for one in costs]
        return float(np.mean(sqnr)), float(np.mean([one.cosine for one in costs]))

    def _latency(self, request: Request, artifact: Artifact) -> float | None:
        if self.timed_on == NO_DEVICE:
            return None
        specs = artifact.manifest.inputs
        tuning = self.opened.samples.tuning
        given = [to_device(spec, x) for spec, x in zip(specs, tuning, strict=True)]
        with self.connect(self.timed_on) as transport:
            ran = run_job(
                transport,
                choose_runner(transport, self.timed_as, request.runner),
                artifact,
                take_slices(specs, given, 0, 1),
                QUICK,
                kernels=request.kernels,
                threads=request.threads,
                cpus=self.timed_on.policy.cpus,
                progress=self.progress,
            )
        latency = latency_from(ran.results, self.timed_on)
        return latency.median_ns / 1e6 if latency else None

    def _key(self, recipe: str) -> str:
        """Of all that a trial depends on."""
        return content_key({"recipe": load_recipe(recipe).digest()} | self._shared)

    @cached_property
    def _shared(self) -> dict[str, object]:
        """What the keys of all trials hold."""
        samples, target, soc = self.opened.samples, self.request.target, self.request.soc
        labels = samples.tuning_labels
        return {
            "model": self.opened.model.sha256,
            "target": target.name,
            "soc": soc,
            "profile": target.profile_without_device(soc),
            "device": asdict(self.timed_on) | {"policy": None},
            "calibration": arrays_key(samples.calibration),
            "tuning": arrays_key(samples.tuning),
            "labels": arrays_key([labels]) if labels is not None else None,
            "tools": tool_versions(),
            "source": own_sources(),
        }

    @cached_property
    def float_score(self) -> float:
        """Of the float model itself."""
        return self.score(self.in_float)[0]


@dataclass(frozen=True)
class _Kept:
    trial: Trial
    judged_by: str


_FILE = "trial.json"
_MOST_DB = 200.0
_Stored = TypeAdapter(_Kept)

Told = Callable[[Trial | Refused], None]
"""Called with each trial as soon as it is judged."""

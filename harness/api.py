"""The public Python API: what a notebook or a script calls; see docs/python.md.

A composition root: nobody imports it but `harness` itself, when one of its names is asked for.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from farm.desk import at_the_desk
from farm.inventory import asked_device, host_device
from farm.transports import connect
from harness.artifact import Artifact, save_artifact
from harness.errors import UsageError
from harness.evaluate import evaluate
from harness.host.progress import Progress, no_progress
from harness.host.scratch import scratch_folder
from harness.judge.limits import Limits, load_limits
from harness.on_device.deploy import QUICK, STANDARD
from harness.prepare import prepared
from harness.recipe import Recipe, load_recipe
from harness.records import Run
from harness.request import Request
from harness.sources.data import from_arrays
from harness.sources.dataset import Dataset
from reports.html import render, write_report
from reports.store import load_runs
from targets import get_target

if TYPE_CHECKING:
    import torch

Model: TypeAlias = "str | Path | torch.nn.Module"
"""A reference as of the command line, or a module in memory."""

Data = str | Path | np.ndarray | Sequence[np.ndarray] | Mapping[str, np.ndarray] | Dataset
"""A reference as of the command line, one array (of one input), one for each input, or named arrays
as an .npz has them: ``in0``, ``labels``, ``groups``, …"""

__all__ = ["ReportedRun", "build", "load_runs", "run"]


@dataclass(frozen=True)
class ReportedRun(Run):
    """A `harness.records.Run` that can show itself."""

    def report(self, path: str | Path = "report.html") -> Path:
        """Write the report, one self-contained page.

        Raises:
            UsageError: it cannot be written.
        """
        return write_report([self], Path(path))

    def _repr_html_(self) -> str:
        page = render([self]).replace("&", "&amp;").replace('"', "&quot;")
        return f'<iframe srcdoc="{page}" width="100%" height="900" style="border:0"></iframe>'


def run(
    model: Model,
    data: Data | None = None,
    *,
    target: str = "host-litert",
    recipe: str | Recipe | None = None,
    device: str | None = None,
    limits: str | Path | Limits | None = None,
    soc: str | None = None,
    samples: int | None = None,
    quick: bool = True,
    progress: Progress = no_progress,
) -> ReportedRun:
    """Quantize, run on a device, compare with the emulator, judge: as ``edgefarm run``.

    Args:
        model: a reference, or an ``nn.Module``; that is exported with the first sample as example.
        data: see `Data`; None for a model of the zoo, which brings its own.
        target: a name of ``edgefarm targets``.
        recipe: a name, a file, or a `Recipe`; None for a model that came quantized.
        device: a name of the inventory; None for this host, or no device where it cannot run the
            target.
        limits: a limits.toml, or `Limits`.
        soc, samples: as of ``edgefarm run``.
        quick: measure latency briefly.
        progress: told what is being done.

    Raises:
        UsageError: an argument is wrong.
    """
    where, host = get_target(target), host_device()
    chosen = asked_device(device, target)
    with scratch_folder() as folder:
        request = Request(
            model=_reference(model, data, folder),
            data=_data(model, data),
            target=where,
            recipe=load_recipe(recipe) if isinstance(recipe, str) else recipe,
            device=chosen,
            host=host,
            limits=limits if isinstance(limits, Limits) else _limits(limits),
            measure=QUICK if quick else STANDARD,
            samples=samples,
            soc=soc,
        )
        with at_the_desk(chosen, connect, what="a Python program") as opened:
            done = evaluate(request, opened, progress=progress)
    if not isinstance(model, str | Path):
        done = replace(done, model=_name(model))
    return ReportedRun(**{one.name: getattr(done, one.name) for one in fields(Run)})


def build(
    model: Model,
    data: Data | None = None,
    *,
    out: str | Path,
    target: str = "host-litert",
    recipe: str | Recipe | None = None,
    soc: str | None = None,
    progress: Progress = no_progress,
) -> Artifact:
    """Make the artifact of a model for a target, as ``edgefarm quantize``; arguments as of `run`.

    Returns:
        The file in `out`, with its manifest.

    Raises:
        UsageError: an argument is wrong.
        ModelError: the model cannot be lowered.
    """
    with scratch_folder() as folder:
        request = Request(
            model=_reference(model, data, folder),
            data=_data(model, data),
            target=get_target(target),
            recipe=load_recipe(recipe) if isinstance(recipe, str) else recipe,
            soc=soc,
        )
        made = prepared(request, progress=progress).artifact
        if not isinstance(model, str | Path):
            made = replace(made, manifest=replace(made.manifest, model=_name(model)))
        return save_artifact(made, Path(out))


def _limits(limits: str | Path | None) -> Limits:
    return Limits() if limits is None else load_limits(Path(limits))


def _name(model: object) -> str:
    return f"{type(model).__qualname__} (in memory)"


def _data(model: Model, data: Data | None) -> str | Dataset:
    if data is None:
        if isinstance(model, str) and model.startswith("zoo:"):
            return model
        raise UsageError("data is missing: arrays or a reference, to calibrate and judge with")
    if isinstance(data, str | Path | Dataset):
        return data if isinstance(data, Dataset) else str(data)
    if isinstance(data, Mapping):
        return from_arrays({name: np.asarray(x) for name, x in data.items()}, "data")
    arrays = [data] if isinstance(data, np.ndarray) else list(data)
    return Dataset(tuple(np.asarray(x) for x in arrays))


def _reference(model: Model, data: Data | None, folder: Path) -> str:
    """The model as a reference; a module is exported, its first samples are the example."""
    if isinstance(model, str | Path):
        return str(model)
    import torch

    network: object = model
    if not isinstance(network, torch.nn.Module):
        raise UsageError(
            f"model is a {type(model).__name__}; expected a reference (str, Path) or an nn.Module"
        )
    samples = _data(model, data)
    if isinstance(samples, str):
        raise UsageError("an nn.Module wants its data as arrays: the first sample is its example")
    examples = tuple(torch.from_numpy(np.ascontiguousarray(x[:1])) for x in samples.inputs)
    file = folder / f"{type(model).__name__}.pt2"
    was_training = model.training
    try:
        torch.export.save(torch.export.export(model.eval(), examples), file)
    except Exception as error:  # torch raises anything
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UsageError(f"{type(model).__name__} cannot be exported: {reason}") from error
    finally:
        model.train(was_training)
    return str(file)

"""What can be told to be wrong before minutes of work: the references, the recipe, the chip, what
is installed, and labels that the model or the limits do not fit."""

from harness.device import NO_DEVICE, Device
from harness.emulator.formats.model_file import is_lowered
from harness.errors import UsageError
from harness.host.extras import require_extra
from harness.judge.limits import Limits
from harness.judge.scoring import declared_outputs, scored_output
from harness.model import Model
from harness.quantize.checks import check_listed, check_suffix
from harness.quantize.placing import check_soc
from harness.recipe import Recipe
from harness.sources.batches import sample_count
from harness.sources.data import parse_data
from harness.sources.dataset import Dataset
from harness.sources.models import parse_model
from harness.target import Target


def check_choices(
    target: Target,
    model: str,
    data: str | None,
    recipe: Recipe | None,
    *,
    soc: str | None = None,
    device: Device = NO_DEVICE,
) -> None:
    """Check what can be checked before the model is loaded.

    Args:
        data: None where none is needed.
        soc: see `Target.socs`.

    Raises:
        UsageError: a reference names nothing, the target takes no such recipe or chip, the device
            does not run the target, or a package is not installed.
    """
    kind = parse_model(model).kind
    check_suffix(target, kind, model)
    if data is not None:
        parse_data(data)
    check_soc(target, soc)
    if recipe is not None:
        check_listed(target, recipe)
    if device != NO_DEVICE and target.name not in device.targets:
        raise UsageError(
            f"device {device.name} does not run {target.name}; "
            f"it runs: {', '.join(device.targets) or 'nothing'}"
        )
    if target.needs and not is_lowered(kind):
        extra, *packages = target.needs
        require_extra(extra, *packages)


def check_labels(dataset: Dataset, model: Model, limits: Limits, where: str) -> None:
    """Check that the labels fit an output of the model, and are there where a limit needs them.

    Raises:
        UsageError: no output can be held against the labels, or a limit has none to be held
            against.
    """
    if dataset.labels is None:
        needing = [
            name
            for name in ("min_top1", "min_top5", "max_drop_vs_float")
            if getattr(limits.accuracy, name) is not None
        ]
        if needing:
            raise UsageError(
                f"limits: accuracy.{needing[0]} needs labels, and {where} has none; add them, or "
                "take the limit out"
            )
    elif model.outputs:
        scored_output(declared_outputs(model), dataset.labels, sample_count(dataset.inputs))

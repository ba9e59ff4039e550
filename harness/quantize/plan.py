"""Applies the steps of a recipe that change the float model, each prefix of them cached.

A key holds the source of each technique itself, so that work on one leaves the others' results
standing. Everything here runs in an isolated process.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from harness.errors import ModelError
from harness.host.cache import Cache, content_key
from harness.host.progress import Progress
from harness.quantize.samples import model_batches
from harness.quantize.technique import Draft
from harness.quantize.techniques import source_of, staged
from harness.quantize.tools import tool_versions
from harness.sources.models import load_float32, parse_model
from harness.sources.npz import read_npz
from harness.target import LoweringRequest

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, eq=False)
class Changes:
    """What the steps made of the model's parameters and buffers.

    Attributes:
        key: of the steps and all that they depend on; "" where nothing changes.
        tensors: by name in the state of the flat float32 module (`load_float32`), those changed.
    """

    key: str = ""
    tensors: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)

    def put_into(self, module: "torch.nn.Module") -> None:
        """Give a module, as `load_float32` makes it, these values."""
        import torch

        state = module.state_dict()
        with torch.no_grad():
            for name, x in self.tensors.items():
                state[name].copy_(torch.from_numpy(x))


def changes_of(request: LoweringRequest, progress: Progress) -> Changes:
    """Apply the recipe's steps of stage ``graph``, or take them from the cache.

    Raises:
        ModelError: a step makes NaN or infinities, or the model is no PyTorch model.
    """
    recipe = request.recipe
    steps = list(staged(recipe, "graph")) if recipe else []
    if recipe is None or not steps:
        return Changes()
    if request.model.resolved.endswith(".tflite"):
        raise ModelError(
            f"{request.model.reference}: step {steps[0][0]} changes a PyTorch model; "
            "give the model that the .tflite came from, or leave the step out"
        )
    cache, module, examples = (
        Cache(request.cache),
        *load_float32(parse_model(request.model.resolved)),
    )
    submitted = {name: x.detach().clone() for name, x in module.state_dict().items()}
    batches = tuple(model_batches(request.model, read_npz(request.calibration), examples))
    draft = Draft(module, examples, batches, replace(recipe, name="", summary="", steps=()))
    made = Changes(
        content_key(
            {
                "model": request.model.sha256,
                "scheme": draft.recipe.digest(),
                "calibration": request.calibration.parent.name,
                "tools": tool_versions(),
            }
        )
    )
    for step, technique, options in steps:
        key = content_key(
            {
                "before": made.key,
                "technique": technique.name,
                "options": options.model_dump(mode="json"),
                "source": source_of(technique),
            }
        )
        path = cache.entry("drafts", key) / "tensors.npz"
        if not path.exists():
            progress(f"applying {technique.name}", 0, None)
            made.put_into(module)
            technique.apply(draft, options)
            changed = _changed(module, submitted, f"{request.model.reference}: step {step}")
            with cache.fill("drafts", key) as folder:
                np.savez(folder / path.name, **changed)
        made = Changes(key, read_npz(path))
    return made


def _changed(
    module: "torch.nn.Module", submitted: "Mapping[str, torch.Tensor]", what: str
) -> dict[str, Any]:
    changed = {}
    for name, x in module.state_dict().items():
        if x.equal(submitted[name]):
            continue
        if not x.isfinite().all():
            raise ModelError(f"{what}: {name} holds NaN or infinities after it; leave the step out")
        changed[name] = x.detach().numpy().copy()
    return changed

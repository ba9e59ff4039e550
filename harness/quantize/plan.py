"""Applies the steps of a recipe up to its lowering, each prefix of them cached.

A key holds the source of each technique itself, so that work on one leaves the others' results
standing. Everything here runs in an isolated process.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, TypeAdapter

from harness.errors import ModelError
from harness.host.cache import Cache, content_key
from harness.host.progress import Progress
from harness.quantize.samples import model_batches
from harness.quantize.technique import STAGES, Draft, Stage, Technique
from harness.quantize.techniques import source_of, staged
from harness.quantize.tools import tool_versions
from harness.recipe import RECIPES, Rule, Step
from harness.sources.models import load_float32, parse_model
from harness.sources.npz import read_npz
from harness.target import LoweringRequest

if TYPE_CHECKING:
    import torch


_STAGES: list[Stage] = [stage for stage in STAGES if stage != "ranges"]
"""Ranges are chosen by each runtime's lowering."""


@dataclass(frozen=True, eq=False)
class Changes:
    """What the steps made of the model's parameters and buffers, and who gets which scheme.

    Attributes:
        key: of the tensors and all that they depend on; "" where none changed.
        tensors: by name in the state of the flat float32 module (`load_float32`), those changed.
        rules: of the recipe, and behind them those of its steps.
    """

    key: str = ""
    tensors: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)
    rules: tuple[Rule, ...] = ()

    def put_into(self, module: "torch.nn.Module") -> None:
        """Give a module, as `load_float32` makes it, these values."""
        import torch

        state = module.state_dict()
        with torch.no_grad():
            for name, x in self.tensors.items():
                state[name].copy_(torch.from_numpy(x))


def changes_of(request: LoweringRequest, progress: Progress) -> Changes:
    """Apply the recipe's steps before those of stage ``ranges``, or take them from the cache.

    Raises:
        ModelError: a step makes NaN or infinities, or the model is no PyTorch model.
    """
    recipe = request.recipe
    if recipe is None:
        return Changes()
    made = Changes(rules=recipe.rules)
    steps = [(stage, *one) for stage in _STAGES for one in staged(recipe, stage)]
    if not steps:
        return made
    draft = _draft(request, steps)
    before = content_key(
        {
            "model": request.model.sha256,
            "scheme": draft.recipe.digest(),
            "calibration": request.calibration.parent.name,
            "tools": tool_versions(),
        }
    )
    cache, submitted = Cache(request.cache), _copied(draft.module)
    for stage, step, technique, options in steps:
        before = content_key(
            {
                "before": before,
                "technique": technique.name,
                "options": options.model_dump(mode="json"),
                "source": source_of(technique),
            }
        )
        entry = cache.entry("drafts", before)
        if not entry.is_dir():
            progress(f"applying {technique.name}", 0, None)
            made.put_into(draft.module)
            now = replace(draft, recipe=replace(draft.recipe, rules=made.rules))
            given = technique.apply(now, options)
            rules = (*made.rules, *given) if stage == "rules" else made.rules
            what = f"{request.model.reference}: step {step}"
            with cache.fill("drafts", before) as folder:
                np.savez(folder / _TENSORS, **_changed(draft.module, submitted, what))
                (folder / _RULES).write_bytes(_Rules.dump_json(rules))
        made = Changes(
            made.key if stage == "rules" else before,
            read_npz(entry / _TENSORS),
            _Rules.validate_json((entry / _RULES).read_bytes()),
        )
    return made


_TENSORS, _RULES = "tensors.npz", "rules.json"
_Rules = TypeAdapter(tuple[Rule, ...])


def _draft(
    request: LoweringRequest, steps: Sequence[tuple[Stage, Step, Technique, BaseModel]]
) -> Draft:
    recipe = replace(request.recipe or RECIPES["float"], name="", summary="", steps=())
    if not request.model.resolved.endswith(".tflite"):
        module, examples = load_float32(parse_model(request.model.resolved))
        batches = model_batches(request.model, read_npz(request.calibration), examples)
        return Draft(module, examples, tuple(batches), recipe)
    for _, step, technique, _ in steps:
        if technique.needs_module:
            raise ModelError(
                f"{request.model.reference}: step {step} changes a PyTorch model; "
                "give the model that the .tflite came from, or leave the step out"
            )
    return Draft(None, (), (), recipe)


def _copied(module: "torch.nn.Module | None") -> "dict[str, torch.Tensor]":
    state = module.state_dict() if module is not None else {}
    return {name: x.detach().clone() for name, x in state.items()}


def _changed(
    module: "torch.nn.Module | None", submitted: "Mapping[str, torch.Tensor]", what: str
) -> dict[str, Any]:
    changed: dict[str, Any] = {}
    for name, x in module.state_dict().items() if module is not None else ():
        if x.equal(submitted[name]):
            continue
        if not x.isfinite().all():
            raise ModelError(f"{what}: {name} holds NaN or infinities after it; leave the step out")
        changed[name] = x.detach().numpy().copy()
    return changed

"""Applies the steps of a recipe up to its lowering, each prefix of them cached.

A key holds the source of each technique itself, so that work on one leaves the others' results
standing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, TypeAdapter

from harness.errors import ModelError
from harness.host.cache import Cache, content_key
from harness.host.progress import Progress
from harness.model import Model
from harness.quantize.samples import model_batches
from harness.quantize.technique import STAGES, Draft, Stage, Technique
from harness.quantize.techniques import get_technique, source_of, staged
from harness.quantize.tools import tool_versions
from harness.recipe import RECIPES, Recipe, Rule, Step
from harness.sources.models import load_float32, parse_model
from harness.sources.npz import read_npz
from harness.target import LoweringRequest

if TYPE_CHECKING:
    import torch


IN_MODULE: tuple[Stage, ...] = tuple(stage for stage in STAGES if stage != "ranges")
"""The stages that are done with the model itself; ranges are chosen by each runtime's lowering."""


@dataclass(frozen=True)
class Plan:
    """What a recipe's steps work on.

    Attributes:
        model: what was submitted.
        recipe: whose steps they are.
        calibration: ``.npz`` with samples, see `LoweringRequest`.
        cache: root of the cache by content.
    """

    model: Model
    recipe: Recipe
    calibration: Path
    cache: Path


def plan_of(request: LoweringRequest) -> Plan:
    """Of what is to be lowered by a recipe."""
    return Plan(
        request.model, request.recipe or RECIPES["float"], request.calibration, request.cache
    )


def key_of(plan: Plan) -> str:
    """Of all that the steps depend on."""
    return content_key(
        {
            "model": plan.model.sha256,
            "recipe": plan.recipe.digest(),
            "calibration": plan.calibration.parent.name,
            "sources": [source_of(get_technique(step.technique)) for step in plan.recipe.steps],
        }
    )


@dataclass(frozen=True, eq=False)
class Changes:
    """What the steps made of the model's parameters and buffers, and who gets which scheme.

    Attributes:
        key: of the tensors and all that they depend on; "" where none changed.
        tensors: by name in the state of the flat float32 module (`load_float32`), those changed;
            a bias that a layer did not have before is among them.
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
                if name in state:
                    state[name].copy_(torch.from_numpy(x))
                    continue
                owner, _, leaf = name.rpartition(".")
                module.get_submodule(owner).register_parameter(
                    leaf, torch.nn.Parameter(torch.from_numpy(x))
                )


def changes_of(plan: Plan, progress: Progress, stages: tuple[Stage, ...] = IN_MODULE) -> Changes:
    """Apply the recipe's steps of some stages, or take them from the cache. Isolated only.

    Raises:
        ModelError: a step makes NaN or infinities, or the model is no PyTorch model.
    """
    made = Changes(rules=plan.recipe.rules)
    steps = [(stage, *one) for stage in stages for one in staged(plan.recipe, stage)]
    if not steps:
        return made
    draft = _draft(plan, steps, progress)
    before = content_key(
        {
            "model": plan.model.sha256,
            "scheme": draft.recipe.digest(),
            "calibration": plan.calibration.parent.name,
            "tools": tool_versions(),
        }
    )
    cache, submitted = Cache(plan.cache), _copied(draft.module)
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
            what = f"{plan.model.reference}: step {step}"
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
    plan: Plan,
    steps: Sequence[tuple[Stage, Step, Technique, BaseModel]],
    progress: Progress,
) -> Draft:
    recipe = replace(plan.recipe, name="", summary="", steps=())
    if not plan.model.resolved.endswith(".tflite"):
        module, examples = load_float32(parse_model(plan.model.resolved))
        batches = model_batches(plan.model, read_npz(plan.calibration), examples)
        return Draft(module, examples, tuple(batches), recipe, progress)
    for _, step, technique, _ in steps:
        if technique.needs_module:
            raise ModelError(
                f"{plan.model.reference}: step {step} changes a PyTorch model; "
                "give the model that the .tflite came from, or leave the step out"
            )
    return Draft(None, (), (), recipe)


def as_rescaled(recipe: Recipe | None) -> Recipe | None:
    """The recipe with those steps alone that change what tensors inside the float model hold; None
    where none does. What they hold then is what the integers are to stand for."""
    if recipe is None or all(technique.keeps_values for _, technique, _ in staged(recipe, "graph")):
        return None
    steps = tuple(step for step, _, _ in staged(recipe, "graph"))
    return replace(recipe, name="", summary="", steps=steps)


def _copied(module: "torch.nn.Module | None") -> "dict[str, torch.Tensor]":
    state = module.state_dict() if module is not None else {}
    return {name: x.detach().clone() for name, x in state.items()}


def _changed(
    module: "torch.nn.Module | None", submitted: "Mapping[str, torch.Tensor]", what: str
) -> dict[str, Any]:
    changed: dict[str, Any] = {}
    for name, x in module.state_dict().items() if module is not None else ():
        if name in submitted and x.equal(submitted[name]):
            continue
        if not x.isfinite().all():
            raise ModelError(f"{what}: {name} holds NaN or infinities after it; leave the step out")
        changed[name] = x.detach().numpy().copy()
    return changed

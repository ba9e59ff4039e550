"""Technique: what a step of a recipe does. The contract; see docs/adding-a-technique.md."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict

from harness.host.progress import Progress, no_progress
from harness.recipe import Recipe

if TYPE_CHECKING:  # a list of techniques needs no numpy
    import numpy as np
    import numpy.typing as npt

Stage = Literal["graph", "rules", "weights", "ranges"]
STAGES: tuple[Stage, ...] = ("graph", "rules", "weights", "ranges")
"""In the order in which they are applied: who chooses integers for weights must know the scheme of
each layer, and ranges are those of what the model has become."""


class Options(BaseModel):
    """Of a technique: subclass it. What it does not name is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True, eq=False)
class Histogram:
    """The values that one activation took on the calibration samples.

    Attributes:
        low, high: the least and the greatest; all bins between them are equally wide.
        counts: of each bin.
        levels: integers that the activation is quantized to, less one: 255 for int8.
        spans: least and greatest value of each sample, in their order.
    """

    low: float
    high: float
    counts: "npt.NDArray[np.int64]"
    levels: int
    spans: tuple[tuple[float, float], ...] = ()

    def centres(self) -> "npt.NDArray[np.float64]":
        """The middle of each bin."""
        import numpy as np

        width = (self.high - self.low) / len(self.counts)
        places = np.arange(len(self.counts), dtype=np.float64)
        return np.asarray(self.low + width * (places + 0.5), np.float64)


@dataclass(frozen=True, eq=False)
class Draft:
    """The float model on its way, as techniques of all stages but ``ranges`` take it. Isolated
    only.

    Attributes:
        module: the user's, in float32, in evaluation mode; its tensors are changed in place. None
            for a `.tflite`, see `Technique.needs_module`.
        examples: that it takes.
        batches: of calibration samples, as the module takes them.
        recipe: that is being applied: its scheme, and the rules as they stand.
        progress: told what a technique is at, where it takes long.
    """

    module: Any
    examples: tuple[Any, ...]
    batches: tuple[tuple[Any, ...], ...]
    recipe: Recipe
    progress: Progress = no_progress


def takes_all(_recipe: Recipe, _runtime: str) -> str:
    """A `Technique.refuses` that refuses nothing."""
    return ""


def integer_weights_only(recipe: Recipe, _runtime: str) -> str:
    """A `Technique.refuses` of what serves the integers of weights."""
    return "" if recipe.has_integer_weights() else "the recipe leaves weights in float"


def static_only(recipe: Recipe, _runtime: str) -> str:
    """A `Technique.refuses` of what chooses ranges: only static recipes store any."""
    if recipe.mode == "static":
        return ""
    return f"mode {recipe.mode!r} stores no ranges of activations; use a static recipe"


@dataclass(frozen=True)
class Technique:
    """One way to make quantization lose less.

    Attributes:
        name: as recipes have it; that of its file.
        stage: ``graph`` changes the float model's parameters; ``rules`` gives layers schemes of
            their own; ``weights`` changes weights to what their integers will stand for;
            ``ranges`` chooses what least and greatest value an activation's integers stand for.
        options: its options, with defaults.
        apply: for ``graph`` and ``weights`` ``(draft, options)``, which changes the draft's module
            in place; for ``rules`` ``(draft, options)``, which gives a tuple of `Rule`; for
            ``ranges`` ``(histogram, options)``, which gives (low, high). A function of a module.
        summary: one line for ``edgefarm recipes``.
        reference: the paper.
        helps: when it helps and when it does not, for ``edgefarm recipes explain``.
        refuses: of (recipe, runtime) the reason why it cannot be used, or "".
        keeps_values: whether tensors inside the float model keep their values.
        needs_module: whether it takes PyTorch models only.
        chooses: of ``weights`` and ``ranges``, whether it chooses what its stage is for: a second
            one would undo what the first did, and is refused.
    """

    name: str
    stage: Stage
    options: type[Options]
    apply: Callable[[Any, Any], Any]
    summary: str
    reference: str
    refuses: Callable[[Recipe, str], str] = takes_all
    keeps_values: bool = True
    needs_module: bool = True
    helps: str = ""
    chooses: bool = True

"""Which recipes to try, from cheap to dear: each rung looks at what those before it brought."""

from collections.abc import Iterator, Sequence

from harness.errors import HarnessError, UsageError
from harness.judge.diagnosis import diagnose
from harness.judge.diagnosis.records import LayerDiagnosis
from harness.quantize.checks import check_listed
from harness.quantize.techniques import all_techniques
from harness.recipe import RECIPES, load_recipe
from harness.tune.bench import Bench
from harness.tune.budget import Budget
from harness.tune.records import Trial

_GAIN_DB = 0.2
"""Less is not worth a step."""
_WORTH = 0.9
"""Of all loss: layers that hold it are looked at, the rest is not."""
_CHEAP = (
    "cross_layer_equalization",
    "pseudo_per_channel",
    "bias_correction",
    "mse_weights",
    "mse",
    "percentile",
    "octav",
    "entropy",
    "moving_average",
)
_DEAR = ("adaround", "gptq")
_KEPT = (1, 2, 4, 8)
"""How many of the worst layers are left in float, or get more bits."""
_NARROW = "bits(ops='conv linear', weights=4)"

Proposal = tuple[str, str]
"""A recipe as `--recipe` takes it, and what it is tried for."""


class Ladder:
    """The rungs of one search.

    Attributes:
        bench: where the recipes are judged.
        budget: what is to be met.
        trials: all so far.
        plain: the recipe that anybody would take.
        notes: what the reader should know.
    """

    def __init__(self, bench: Bench, budget: Budget, trials: list[Trial]) -> None:
        """Take the recipes of the bench's target."""
        self.bench, self.budget, self.trials = bench, budget, trials
        self.target = bench.request.target
        named = [name for name in self.target.recipes if RECIPES[name].mode != "float"]
        self.plain = "static_wi8_ai8" if "static_wi8_ai8" in named else (*named, "float")[0]
        self.named = [self.plain, *(name for name in named if name != self.plain)]
        self.notes: list[str] = []
        self._layers: tuple[LayerDiagnosis, ...] | None = None

    def rungs(self) -> Iterator[Iterator[Proposal]]:
        """Proposals, rung by rung; a rung is asked when those before it were judged."""
        yield ((name, "a named recipe") for name in self.named)
        if self.plain == "float":
            return
        yield self._single_steps()
        yield self._together()
        if self._met():
            return
        yield self._dear_steps()
        yield self._more_for_the_worst()
        if not self._small_enough():
            yield self._narrow()

    def _single_steps(self) -> Iterator[Proposal]:
        """What the diagnosis names, then what is cheap."""
        for name in dict.fromkeys((*self._advised(), *_CHEAP)):
            if name not in _DEAR and self._takes(name):
                yield f"{self.plain} + {name}", f"{name} alone"

    def _together(self) -> Iterator[Proposal]:
        """The steps that helped, the best first, each kept only where it still helps."""
        yield from self._greedy(self._helpful(), "together with what helped most")

    def _dear_steps(self) -> Iterator[Proposal]:
        for name in dict.fromkeys((*self._advised(), *_DEAR)):
            if name in _DEAR and self._takes(name):
                yield f"{self._best()} + {name}", f"{name}, on top of the best so far"

    def _more_for_the_worst(self) -> Iterator[Proposal]:
        """The layers that lose most stay in float, or get activations of 16 bits."""
        base, worst = self._best(), [layer.module for layer in self._worst()]
        for count in _KEPT:
            if count <= len(worst):
                names = " ".join(worst[:count])
                yield (
                    f"{base} + keep_float(names={names!r})",
                    f"the {count} worst layers in float",
                )
        wide = f"bits(names={' '.join(worst[: _KEPT[-1]])!r}, activations=16)"
        if worst and "static_wi8_ai16" in self.named:
            yield f"{base} + {wide}", "16-bit activations for the worst layers"

    def _narrow(self) -> Iterator[Proposal]:
        """4-bit weights; then 8 again for as many of the worst layers as the size allows."""
        if not self._takes(_NARROW):
            return
        bases = [base for base in (self.plain, "dynamic_wi8_afp32") if base in self.named]
        for base in bases:
            yield f"{base} + {_NARROW}", "4-bit weights"
            for name in _DEAR:
                if self._takes(name):
                    yield f"{base} + {_NARROW} + {name}", f"4-bit weights by {name}"
        narrow = self._nearest([one for one in self.trials if _NARROW in one.recipe])
        if narrow is None:
            return
        base, *steps = narrow.split(" + ")
        worst = [layer.module for layer in self._diagnosed(f"{base} + {_NARROW}")]
        low, high = 0, len(worst)
        while low < high:  # the size grows with the layers that get 8 bits again
            middle = (low + high + 1) // 2
            names = " ".join(worst[:middle])
            wide = f"bits(names={names!r}, weights=8)"
            others = [step for step in steps if step != _NARROW]
            recipe = " + ".join((base, _NARROW, wide, *others))
            yield recipe, f"4-bit weights, 8 bits for the {middle} worst layers"
            judged = self._trial(recipe)
            if judged is None or judged.metrics.bytes > self.budget.size:
                high = middle - 1
            else:
                low = middle

    def _greedy(self, names: Sequence[str], why: str) -> Iterator[Proposal]:
        if len(names) < 2:
            return
        chosen, reached = f"{self.plain} + {names[0]}", self._sqnr(f"{self.plain} + {names[0]}")
        for name in names[1:]:
            recipe = f"{chosen} + {name}"
            if not self._listed(recipe):  # ranges are chosen once, and so are integers
                continue
            yield recipe, f"{name}, {why}"
            if self._sqnr(recipe) > reached + _GAIN_DB:
                chosen, reached = recipe, self._sqnr(recipe)

    def _helpful(self) -> list[str]:
        """Names of the steps that helped the plain recipe, the best first."""
        prefix, least = f"{self.plain} + ", self._sqnr(self.plain) + _GAIN_DB
        alone = [
            one.recipe.removeprefix(prefix)
            for one in self.trials
            if one.recipe.startswith(prefix) and self._sqnr(one.recipe) > least
        ]
        return sorted(alone, key=lambda name: -self._sqnr(prefix + name))

    def _takes(self, step: str) -> bool:
        """Whether the target takes the plain recipe with a step, and the step exists."""
        return self._listed(f"{self.plain} + {step}")

    def _listed(self, recipe: str) -> bool:
        try:
            check_listed(self.target, load_recipe(recipe))
        except UsageError:
            return False
        return True

    def _advised(self) -> list[str]:
        """The steps that the diagnosis names, that with the most loss first."""
        weights: dict[str, float] = {}
        for layer in self._worst():
            if layer.step and layer.step not in RECIPES and layer.step in all_techniques():
                weights[layer.step] = weights.get(layer.step, 0.0) + layer.share
        return sorted(weights, key=lambda name: -weights[name])

    def _worst(self) -> list[LayerDiagnosis]:
        """The layers that hold most of the loss of the plain recipe, the worst first."""
        if self._layers is None:
            self._layers = self._diagnosed(self.plain)
        found, share = [], 0.0
        for layer in self._layers:
            if share < _WORTH:
                found.append(layer)
            share += layer.share
        return found

    def _diagnosed(self, recipe: str) -> tuple[LayerDiagnosis, ...]:
        bench = self.bench
        try:
            request, ready = bench.prepared(recipe)
            found = diagnose(request, ready, cache=bench.cache, progress=bench.progress)
        except HarnessError as error:
            self.notes.append(f"without a diagnosis of {recipe}: {error}")
            return ()
        return found.layers

    def _met(self) -> bool:
        """Whether something is within the budget, so that nothing dear need be tried."""
        return any(one.metrics.within(self.budget) for one in self.trials)

    def _small_enough(self) -> bool:
        return any(one.metrics.bytes <= self.budget.size for one in self.trials)

    def _best(self) -> str:
        """The recipe on the plain one's scheme that is nearest to float."""
        prefix = (self.plain, f"{self.plain} + ")
        own = [x for x in self.trials if x.recipe == prefix[0] or x.recipe.startswith(prefix[1])]
        return self._nearest(own) or self.plain

    def _nearest(self, trials: Sequence[Trial]) -> str | None:
        return max((one.recipe for one in trials), key=self._sqnr, default=None)

    def _trial(self, recipe: str) -> Trial | None:
        return next((one for one in self.trials if one.recipe == recipe), None)

    def _sqnr(self, recipe: str) -> float:
        found = self._trial(recipe)
        return found.metrics.sqnr_db if found else float("-inf")

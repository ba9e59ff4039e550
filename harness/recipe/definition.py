"""What a recipe is made of, and those that have names of their own."""

import hashlib
import json
from dataclasses import dataclass, fields, is_dataclass, replace
from fnmatch import fnmatchcase
from typing import ClassVar, Literal

from pydantic import ConfigDict

Mode = Literal["float", "dynamic", "weight_only", "static"]
Granularity = Literal["tensor", "channel"]
Option = bool | int | float | str


@dataclass(frozen=True)
class Scheme:
    """All that a target accepts or refuses of how a layer is quantized.

    Attributes:
        mode: ``float`` (nothing), ``dynamic`` (integer weights; activations quantized at run time),
            ``weight_only`` (integer weights, float arithmetic), ``static`` (all integers).
        weight_bits: 8 or 4; None when weights stay float.
        activation_bits: 8 or 16; None when activations stay float in the file.
        weight_granularity: one scale per tensor, or one per output channel.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    mode: Mode
    weight_bits: Literal[4, 8] | None = None
    activation_bits: Literal[8, 16] | None = None
    weight_granularity: Granularity = "channel"

    def contradiction(self) -> str:
        """Why no backend can do what it says, or ""."""
        given = {"weight_bits": self.weight_bits, "activation_bits": self.activation_bits}
        needed = {
            "float": (),
            "dynamic": ("weight_bits",),
            "weight_only": ("weight_bits",),
            "static": ("weight_bits", "activation_bits"),
        }[self.mode]
        for key, value in given.items():
            if key in needed and value is None:
                allowed = "8 or 4" if key == "weight_bits" else "8 or 16"
                return f"{key}: mode {self.mode!r} needs it: {allowed}"
            if key not in needed and value is not None:
                return (
                    f"{key}: mode {self.mode!r} does not quantize "
                    f"{'weights' if key == 'weight_bits' else 'activations in the file'}; "
                    f"leave it out, got {value}"
                )
        return ""


FLOAT = Scheme("float")


@dataclass(frozen=True)
class Rule:
    """A scheme of their own for some layers; where several rules take a layer, the last one counts.

    Attributes:
        scheme: None leaves the layers in float.
        names: paths of modules in the user's source, each with all below it, e.g.
            ``blocks.0.conv``; ``*`` and ``?`` stand for any characters. Empty for all.
        ops: what the layers compute, e.g. ``conv``, ``depthwise_conv``, ``linear``, ``add``, see
            `harness.quantize.layers`. Empty for all.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    scheme: Scheme | None
    names: tuple[str, ...] = ()
    ops: tuple[str, ...] = ()

    def takes(self, path: str, op: str) -> bool:
        """Whether it is for a layer.

        Args:
            path: of the module that the layer belongs to.
            op: what it computes.
        """
        named = not self.names or any(_below(path, name) for name in self.names)
        return named and (not self.ops or op in self.ops)


def _below(path: str, name: str) -> bool:
    return fnmatchcase(path, name) or fnmatchcase(path, f"{name}.*")


@dataclass(frozen=True)
class Step:
    """One technique on the way to the artifact; see `harness.quantize.techniques`.

    Attributes:
        technique: its name.
        options: by name, as the technique's own model has them; what is left out has its default.
    """

    technique: str
    options: tuple[tuple[str, Option], ...] = ()

    def __str__(self) -> str:
        """As `--recipe` takes it: ``percentile(upper=99.99)``."""
        given = ", ".join(f"{name}={value!r}" for name, value in self.options)
        return f"{self.technique}({given})" if given else self.technique


@dataclass(frozen=True)
class Recipe:
    """How a model's weights and activations are quantized.

    Attributes:
        name: e.g. ``static_wi8_ai8``: mode, weight and activation dtype.
        scheme: of every layer that no rule takes.
        summary: one line for ``edgefarm recipes``.
        steps: techniques, applied stage by stage, within a stage in this order.
        rules: layers with schemes of their own; those of steps come behind them.
        tuned_on: of a recipe that `edgefarm tune` chose: digest of the data that it was chosen by.
            On these data a run leaves out the samples of the tuning split, see
            `harness.sources.split`.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    name: str
    scheme: Scheme
    summary: str = ""
    steps: tuple[Step, ...] = ()
    rules: tuple[Rule, ...] = ()
    tuned_on: str = ""

    @property
    def mode(self) -> Mode:
        """Of the scheme."""
        return self.scheme.mode

    @property
    def weight_bits(self) -> int | None:
        """Of the scheme."""
        return self.scheme.weight_bits

    @property
    def activation_bits(self) -> int | None:
        """Of the scheme."""
        return self.scheme.activation_bits

    @property
    def weight_granularity(self) -> Granularity:
        """Of the scheme."""
        return self.scheme.weight_granularity

    def scheme_of(self, path: str, op: str) -> Scheme:
        """The scheme of one layer, see `Rule.takes`."""
        for rule in reversed(self.rules):
            if rule.takes(path, op):
                return rule.scheme or FLOAT
        return self.scheme

    def digest(self) -> str:
        """Hex sha256 of all that makes a difference to an artifact: without name, summary and
        tuned_on. Options in another order are the same, and so is what stands at its default: a
        key that recipes get later changes no digest of those that leave it out."""
        steps = tuple(replace(one, options=tuple(sorted(one.options))) for one in self.steps)
        said = _without_defaults(replace(self, name="", summary="", tuned_on="", steps=steps))
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()

    def needs_calibration(self) -> bool:
        """Whether the ranges of activations must be observed on data before lowering."""
        return any(scheme.mode == "static" for scheme in self._schemes())

    def has_integer_weights(self) -> bool:
        """Whether weights of any layer become integers."""
        return any(scheme.weight_bits for scheme in self._schemes())

    def _schemes(self) -> list[Scheme]:
        return [self.scheme, *(rule.scheme for rule in self.rules if rule.scheme)]


def _without_defaults(value: object) -> object:
    if is_dataclass(value):
        given = {one.name: getattr(value, one.name) for one in fields(value)}
        defaults = {one.name: one.default for one in fields(value)}
        return {name: _without_defaults(x) for name, x in given.items() if x != defaults[name]}
    return [_without_defaults(x) for x in value] if isinstance(value, tuple) else value


RECIPES: dict[str, Recipe] = {
    name: Recipe(name, scheme, summary)
    for name, scheme, summary in (
        ("float", FLOAT, "no quantization; the baseline"),
        (
            "dynamic_wi8_afp32",
            Scheme("dynamic", 8),
            "int8 weights, activations quantized at run time",
        ),
        (
            "weight_only_wi8_afp32",
            Scheme("weight_only", 8),
            "int8 weights, float arithmetic: smaller, not faster",
        ),
        (
            "static_wi8_ai8",
            Scheme("static", 8, 8),
            "all int8, one weight scale per output channel",
        ),
        (
            "static_wi8_ai8_per_tensor",
            Scheme("static", 8, 8, "tensor"),
            "all int8, one weight scale per tensor",
        ),
        ("static_wi8_ai16", Scheme("static", 8, 16), "int8 weights, int16 activations"),
    )
}

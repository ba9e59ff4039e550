"""Gives named layers weights or activations of other bits: mixed precision by hand."""

from dataclasses import replace
from typing import Literal

from pydantic import model_validator

from harness.quantize.technique import Draft, Options, Technique
from harness.recipe import Recipe, Rule


class Bits(Options):
    """Attributes:
    names: paths of modules, each with all below it, with spaces between them; "" for all.
    ops: what the layers compute, with spaces between them, e.g. ``conv linear``; "" for all.
    weights: bits of their weights; None as the recipe's.
    activations: bits of their activations; None as the recipe's.
    """

    names: str = ""
    ops: str = ""
    weights: Literal[4, 8] | None = None
    activations: Literal[8, 16] | None = None

    @model_validator(mode="after")
    def _says_something(self) -> "Bits":
        if not self.names.split() and not self.ops.split():
            raise ValueError("names and ops are empty: for all layers it is another scheme")
        if self.weights is None and self.activations is None:
            raise ValueError("give weights or activations")
        return self


def give(draft: Draft, options: Bits) -> tuple[Rule, ...]:
    """The recipe's scheme with other bits, as one rule."""
    scheme = draft.recipe.scheme
    scheme = replace(
        scheme,
        weight_bits=options.weights or scheme.weight_bits,
        activation_bits=options.activations or scheme.activation_bits,
    )
    return (Rule(scheme, tuple(options.names.split()), tuple(options.ops.split())),)


def _refuses(recipe: Recipe, runtime: str) -> str:
    if recipe.mode == "float":
        return "the recipe leaves all in float"
    return "" if runtime == "litert" else "for ExecuTorch all layers have one scheme, or are float"


TECHNIQUE = Technique(
    name="bits",
    stage="rules",
    options=Bits,
    apply=give,
    summary="gives named layers weights or activations of other bits",
    reference="Wang et al. 2019, HAQ: Hardware-Aware Automated Quantization with Mixed Precision",
    refuses=_refuses,
    needs_module=False,
    helps=(
        "Where a few layers lose most of the accuracy (16-bit activations for them), or where "
        "the large ones bear 4-bit weights. `edgefarm diagnose` names the layers."
    ),
)

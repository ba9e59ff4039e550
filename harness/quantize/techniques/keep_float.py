"""Leaves named layers in float: for the few that lose more than all the rest."""

from pydantic import Field

from harness.quantize.technique import Draft, Options, Technique
from harness.recipe import Recipe, Rule


class KeepFloat(Options):
    """Attributes:
    names: paths of modules, each with all below it, with spaces between them; ``*`` and ``?``
        stand for any characters.
    """

    names: str = Field(min_length=1, pattern=r"\S")


def keep(_draft: Draft, options: KeepFloat) -> tuple[Rule, ...]:
    """One rule for all names."""
    return (Rule(None, tuple(options.names.split())),)


def _refuses(recipe: Recipe, _runtime: str) -> str:
    return "the recipe leaves all in float" if recipe.mode == "float" else ""


TECHNIQUE = Technique(
    name="keep_float",
    stage="rules",
    options=KeepFloat,
    apply=keep,
    summary="leaves named layers in float",
    reference="Nagel et al. 2021, A White Paper on Neural Network Quantization, section 3.7",
    refuses=_refuses,
    needs_module=False,
    helps=(
        "Where a few layers lose most of the accuracy and a few conversions are cheaper than "
        "that: the first, the last, a softmax. On an accelerator floats run on the CPU, if at "
        "all."
    ),
)

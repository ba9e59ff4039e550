"""Recipe: what to quantize and how. A small JSON file, or one of the named recipes below."""

import difflib
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import ConfigDict, TypeAdapter, ValidationError

from harness.errors import UsageError
from harness.host.plain_files import read_plain

Mode = Literal["float", "dynamic", "weight_only", "static"]
Granularity = Literal["tensor", "channel"]


@dataclass(frozen=True)
class Recipe:
    """How a model's weights and activations are quantized.

    Attributes:
        name: e.g. ``static_wi8_ai8``: mode, weight and activation dtype.
        mode: ``float`` (nothing), ``dynamic`` (integer weights; activations quantized at run time),
            ``weight_only`` (integer weights, float arithmetic), ``static`` (all integers).
        weight_bits: 8 or 4; None when weights stay float.
        activation_bits: 8 or 16; None when activations stay float in the file.
        weight_granularity: one scale per tensor, or one per output channel.
        summary: one line for ``edgefarm recipes``.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    name: str
    mode: Mode
    weight_bits: Literal[4, 8] | None = None
    activation_bits: Literal[8, 16] | None = None
    weight_granularity: Granularity = "channel"
    summary: str = ""

    def needs_calibration(self) -> bool:
        """Whether the ranges of activations must be observed on data before lowering."""
        return self.mode == "static"


RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        Recipe("float", "float", summary="no quantization; the baseline"),
        Recipe(
            "dynamic_wi8_afp32",
            "dynamic",
            8,
            summary="int8 weights, activations quantized at run time",
        ),
        Recipe(
            "weight_only_wi8_afp32",
            "weight_only",
            8,
            summary="int8 weights, float arithmetic: smaller, not faster",
        ),
        Recipe(
            "static_wi8_ai8",
            "static",
            8,
            8,
            summary="all int8, one weight scale per output channel",
        ),
        Recipe(
            "static_wi8_ai8_per_tensor",
            "static",
            8,
            8,
            "tensor",
            summary="all int8, one weight scale per tensor",
        ),
        Recipe("static_wi8_ai16", "static", 8, 16, summary="int8 weights, int16 activations"),
    )
}


def load_recipe(name_or_path: str) -> Recipe:
    """Return the named recipe, or the one in a JSON file (any text that ends in ``.json``).

    Raises:
        UsageError: no such recipe or file, or the file does not describe a recipe.
    """
    if not name_or_path.endswith(".json"):
        if name_or_path in RECIPES:
            return RECIPES[name_or_path]
        raise UsageError(
            f"recipe {name_or_path!r}: no such recipe; "
            f"one of: {', '.join(RECIPES)}, or a .json file"
        )
    path = Path(name_or_path)
    try:
        recipe: Recipe = TypeAdapter(Recipe).validate_json(read_plain(path), strict=True)
    except OSError as error:
        raise UsageError(f"recipe {path}: cannot be read: {error.strerror}") from error
    except ValidationError as error:
        raise UsageError(f"recipe {path}: {_first_fault(error)}") from error
    if reason := _contradiction(recipe):
        raise UsageError(f"recipe {path}: {reason}")
    return recipe


def _first_fault(error: ValidationError) -> str:
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"]) or "the file"
    if first["type"] in {"unexpected_keyword_argument", "extra_forbidden"}:
        known = [field.name for field in fields(Recipe)]
        near = difflib.get_close_matches(where, known, 1, 0.5)
        meant = f"; did you mean {near[0]!r}?" if near else ""
        return f"there is no key {where!r}{meant} (the keys: {', '.join(known)})"
    return f"{where}: {first['msg']}, got {first['input']!r}"


def _contradiction(recipe: Recipe) -> str:
    """Why no backend can do what the recipe says, or ""."""
    if not recipe.name.strip():
        return "name: must not be empty"
    given = {"weight_bits": recipe.weight_bits, "activation_bits": recipe.activation_bits}
    needed = {
        "float": (),
        "dynamic": ("weight_bits",),
        "weight_only": ("weight_bits",),
        "static": ("weight_bits", "activation_bits"),
    }[recipe.mode]
    for key, value in given.items():
        if key in needed and value is None:
            allowed = "8 or 4" if key == "weight_bits" else "8 or 16"
            return f"{key}: mode {recipe.mode!r} needs it: {allowed}"
        if key not in needed and value is not None:
            return (
                f"{key}: mode {recipe.mode!r} does not quantize "
                f"{'weights' if key == 'weight_bits' else 'activations in the file'}; "
                f"leave it out, got {value}"
            )
    same = RECIPES.get(recipe.name)
    if same is not None and replace(recipe, summary="") != replace(same, summary=""):
        return (
            f"name: {recipe.name!r} is a named recipe with other values; give this one its own name"
        )
    return ""

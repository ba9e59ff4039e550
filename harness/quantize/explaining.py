"""What techniques do, for people: their options with meanings, and which targets take them."""

import inspect
import re
import textwrap
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from harness.quantize.technique import Options, Technique
from harness.recipe import RECIPES
from harness.target import Target

_ENTRY = re.compile(r"(?P<names>\w+(?:, \w+)*): (?P<meaning>.*)")


@dataclass(frozen=True)
class OptionTold:
    """One option of a technique.

    Attributes:
        name: as a step has it.
        allowed: its type and limits, e.g. ``integer, 1 to 1000``.
        default: as JSON has it; None where it must be given.
        required: whether it must be given.
        meaning: what its technique says of it.
    """

    name: str
    allowed: str
    default: object
    required: bool
    meaning: str


@dataclass(frozen=True)
class Taken:
    """Whether a target takes a technique.

    Attributes:
        target, runtime: whose.
        recipes: named ones that it can be added to.
        refusal: why there is none; else "".
    """

    target: str
    runtime: str
    recipes: tuple[str, ...]
    refusal: str = ""


def options_told(kind: type[Options]) -> tuple[OptionTold, ...]:
    """The options in order; meanings are from the docstring's Attributes."""
    meanings = _meanings(kind)
    schema = kind.model_json_schema()
    return tuple(
        OptionTold(
            name,
            _allowed(schema["properties"][name]),
            None if field.is_required() else field.default,
            field.is_required(),
            meanings.get(name, ""),
        )
        for name, field in kind.model_fields.items()
    )


def taken_by(technique: Technique, targets: Iterable[Target]) -> tuple[Taken, ...]:
    """Of each target, to which of its recipes the technique can be added, or why to none."""
    return tuple(_taken(technique, target) for target in targets)


def _taken(technique: Technique, target: Target) -> Taken:
    if not target.takes_steps:
        return Taken(target.name, target.runtime, (), "it takes no steps")
    said = {name: technique.refuses(RECIPES[name], target.runtime) for name in target.recipes}
    recipes = tuple(name for name, refusal in said.items() if not refusal)
    # That of the most quantized recipe, the last one, tells most of the target.
    refusal = "" if recipes else next(reversed(said.values()), "it takes no recipes")
    return Taken(target.name, target.runtime, recipes, refusal)


def _meanings(kind: type[Options]) -> dict[str, str]:
    """By option, what the docstring says under ``Attributes:``."""
    text = inspect.cleandoc(kind.__doc__ or "").partition("Attributes:\n")[2].replace("``", "`")
    found: dict[str, str] = {}
    names: list[str] = []
    for line in textwrap.dedent(text).splitlines():
        entry = _ENTRY.fullmatch(line)
        if entry is not None:
            names = entry["names"].split(", ")
            found |= dict.fromkeys(names, entry["meaning"])
        elif line.strip() and names:
            found |= {name: f"{found[name]} {line.strip()}" for name in names}
    return found


def _allowed(schema: dict[str, Any]) -> str:
    """Type and limits of an option, by its JSON schema."""
    if "anyOf" in schema:
        return " or ".join(_allowed(one) for one in schema["anyOf"])
    if "enum" in schema:
        return " or ".join(str(one) for one in schema["enum"])
    if "const" in schema:
        return str(schema["const"])
    limits = [
        f"{words} {schema[key]:g}"
        for key, words in (
            ("minimum", "at least"),
            ("exclusiveMinimum", "above"),
            ("maximum", "at most"),
            ("exclusiveMaximum", "below"),
        )
        if key in schema
    ]
    kind = {"null": "none", "string": "text", "boolean": "true or false"}
    name = str(schema.get("type", "any"))
    return ", ".join([kind.get(name, name), *limits])

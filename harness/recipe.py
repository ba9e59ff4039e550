"""Recipe: what to quantize and how. A small JSON file, or one of the named recipes below."""

import ast
import difflib
import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import ConfigDict, TypeAdapter, ValidationError

from harness.errors import UsageError
from harness.host.plain_files import read_plain

Mode = Literal["float", "dynamic", "weight_only", "static"]
Granularity = Literal["tensor", "channel"]
Option = bool | int | float | str


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
        mode: ``float`` (nothing), ``dynamic`` (integer weights; activations quantized at run time),
            ``weight_only`` (integer weights, float arithmetic), ``static`` (all integers).
        weight_bits: 8 or 4; None when weights stay float.
        activation_bits: 8 or 16; None when activations stay float in the file.
        weight_granularity: one scale per tensor, or one per output channel.
        summary: one line for ``edgefarm recipes``.
        steps: techniques, applied stage by stage, within a stage in this order.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    name: str
    mode: Mode
    weight_bits: Literal[4, 8] | None = None
    activation_bits: Literal[8, 16] | None = None
    weight_granularity: Granularity = "channel"
    summary: str = ""
    steps: tuple[Step, ...] = ()

    def digest(self) -> str:
        """Hex sha256 of all that makes a difference: without name and summary. Options in another
        order are the same."""
        said = asdict(replace(self, name="", summary=""))
        for step in said["steps"]:
            step["options"] = sorted(step["options"])
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()

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
    """The named recipe, one in a JSON file (any text that ends in ``.json``), or either with steps:
    ``static_wi8_ai8 + percentile(upper=99.99)``.

    Raises:
        UsageError: no such recipe or file, or the file does not describe a recipe.
    """
    first, *steps = (part.strip() for part in name_or_path.split("+"))
    recipe = _from_file(Path(first)) if first.endswith(".json") else _named(first)
    if not steps:
        return recipe
    added = tuple(_step(text, name_or_path) for text in steps)
    name = " + ".join((recipe.name, *map(str, added)))
    return replace(recipe, name=name, summary="", steps=(*recipe.steps, *added))


def _named(name: str) -> Recipe:
    if name not in RECIPES:
        raise UsageError(
            f"recipe {name!r}: no such recipe; one of: {', '.join(RECIPES)}, or a .json file"
        )
    return RECIPES[name]


def _from_file(path: Path) -> Recipe:
    try:
        read = json.loads(read_plain(path))
    except OSError as error:
        raise UsageError(f"recipe {path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise UsageError(f"recipe {path}: is not JSON: {error}") from error
    try:
        flat = json.dumps(_flat(read, path))
        recipe: Recipe = TypeAdapter(Recipe).validate_json(flat, strict=True)
    except ValidationError as error:
        raise UsageError(f"recipe {path}: {_first_fault(error)}") from error
    if reason := _contradiction(recipe):
        raise UsageError(f"recipe {path}: {reason}")
    return recipe


def _flat(read: object, path: Path) -> object:
    """A recipe as people write it, in the form of the class: what ``scheme`` holds stands beside
    the rest, and a step is ``{name: {option: value}}``."""
    if not isinstance(read, dict):
        return read
    flat = dict(read)
    scheme = flat.pop("scheme", {})
    if not isinstance(scheme, dict):
        raise UsageError(f"recipe {path}: scheme: must be an object, got {scheme!r}")
    if twice := sorted(flat.keys() & scheme.keys()):
        raise UsageError(f"recipe {path}: {twice[0]!r} is given twice, in the scheme and beside it")
    for key in scheme:
        if key not in _SCHEME_KEYS:
            raise UsageError(
                f"recipe {path}: there is no key 'scheme.{key}'{_meant(key, _SCHEME_KEYS)} "
                f"(the keys: {', '.join(_SCHEME_KEYS)})"
            )
    steps = flat.get("steps", [])
    if not isinstance(steps, list):
        raise UsageError(f"recipe {path}: steps: must be a list, got {steps!r}")
    flat |= scheme
    if steps:
        flat["steps"] = [_written_step(step, path) for step in steps]
    flat.setdefault("name", path.stem)
    return flat


def _written_step(step: object, path: Path) -> dict[str, object]:
    """A step of a file: ``"mse"``, ``{"percentile": {"upper": 99.99}}``, or in full."""
    if isinstance(step, str):
        return {"technique": step}
    if isinstance(step, dict) and "technique" in step:
        return step
    if isinstance(step, dict) and len(step) == 1:
        ((name, options),) = step.items()
        if isinstance(options, dict):
            return {"technique": name, "options": list(options.items())}
    raise UsageError(
        f"recipe {path}: steps: one is {step!r}; write "
        '"TECHNIQUE" or {"TECHNIQUE": {"OPTION": VALUE}}'
    )


def _step(text: str, where: str) -> Step:
    """A step as ``--recipe`` takes it."""
    found = _STEP.fullmatch(text)
    try:
        if found is None:
            raise ValueError(text)
        call = ast.parse(f"f({found[2] or ''})", mode="eval").body
        if not isinstance(call, ast.Call) or call.args:
            raise ValueError(text)
        options = tuple((one.arg or "", ast.literal_eval(one.value)) for one in call.keywords)
        return TypeAdapter(Step).validate_python({"technique": found[1], "options": options})
    except (ValueError, SyntaxError) as error:
        raise UsageError(
            f"recipe {where!r}: step {text!r} is not TECHNIQUE or TECHNIQUE(OPTION=VALUE, ...)"
        ) from error


_SCHEME_KEYS = ("mode", "weight_bits", "activation_bits", "weight_granularity")
_STEP = re.compile(r"([A-Za-z_]\w*)(?:\((.*)\))?", re.DOTALL)


def _meant(key: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(key, list(known), 1, 0.5)
    return f"; did you mean {near[0]!r}?" if near else ""


def _first_fault(error: ValidationError) -> str:
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"]) or "the file"
    if first["type"] in {"unexpected_keyword_argument", "extra_forbidden"}:
        known = [field.name for field in fields(Recipe)]
        return f"there is no key {where!r}{_meant(where, known)} (the keys: {', '.join(known)})"
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

"""A recipe as people write it: a name, a JSON file, or either with steps."""

import ast
import difflib
import json
import re
from collections.abc import Iterable
from dataclasses import fields, replace
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from harness.errors import UsageError
from harness.host.plain_files import read_plain
from harness.host.wording import fault
from harness.recipe.definition import RECIPES, Recipe, Rule, Scheme, Step


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
        nested = json.dumps(_nested(read, path))
        recipe: Recipe = TypeAdapter(Recipe).validate_json(nested, strict=True)
    except ValidationError as error:
        raise UsageError(f"recipe {path}: {_first_fault(error)}") from error
    if reason := _contradiction(recipe):
        raise UsageError(f"recipe {path}: {reason}")
    return recipe


def _nested(read: object, path: Path) -> object:
    """A recipe as people write it, in the form of the class: keys of the scheme may stand beside
    the rest, a step is ``{name: {option: value}}``, and a single name needs no list."""
    if not isinstance(read, dict):
        return read
    nested = dict(read)
    scheme = nested.get("scheme", {})
    if not isinstance(scheme, dict):
        raise UsageError(f"recipe {path}: scheme: must be an object, got {scheme!r}")
    beside = {key: nested.pop(key) for key in _SCHEME_KEYS if key in nested}
    if twice := sorted(beside.keys() & scheme.keys()):
        raise UsageError(f"recipe {path}: {twice[0]!r} is given twice, in the scheme and beside it")
    _check_scheme_keys(scheme, f"recipe {path}: there is no key 'scheme.")
    nested["scheme"] = beside | scheme
    for key in ("steps", "rules"):
        if not isinstance(nested.get(key, []), list):
            raise UsageError(f"recipe {path}: {key}: must be a list, got {nested[key]!r}")
    nested["steps"] = [_written_step(step, path) for step in nested.get("steps", [])]
    nested["rules"] = [_written_rule(rule, path) for rule in nested.get("rules", [])]
    nested.setdefault("name", path.stem)
    return nested


def _check_scheme_keys(scheme: Iterable[str], what: str) -> None:
    for key in scheme:
        if key not in _SCHEME_KEYS:
            raise UsageError(
                f"{what}{key}'{_meant(key, _SCHEME_KEYS)} (the keys: {', '.join(_SCHEME_KEYS)})"
            )


def _written_rule(rule: object, path: Path) -> object:
    """A rule of a file; ``"names": "classifier"`` stands for a list of one."""
    if not isinstance(rule, dict):
        raise UsageError(
            f"recipe {path}: rules: one is {rule!r}; write "
            '{"names": ["MODULE"], "ops": ["OP"], "scheme": {...}}, or "scheme": "float"'
        )
    written = dict(rule)
    for key in ("names", "ops"):
        if isinstance(written.get(key), str):
            written[key] = [written[key]]
    if "scheme" not in written:
        raise UsageError(f"recipe {path}: rules: {rule!r} has no 'scheme' (an object, or null)")
    if written["scheme"] == "float":
        written["scheme"] = None
    if isinstance(written["scheme"], dict):
        _check_scheme_keys(written["scheme"], f"recipe {path}: there is no key 'rules.scheme.")
    return written


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


_SCHEME_KEYS = tuple(field.name for field in fields(Scheme))
_STEP = re.compile(r"([A-Za-z_]\w*)(?:\((.*)\))?", re.DOTALL)


def _meant(key: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(key, list(known), 1, 0.5)
    return f"; did you mean {near[0]!r}?" if near else ""


def _first_fault(error: ValidationError) -> str:
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    if first["type"] in {"unexpected_keyword_argument", "extra_forbidden"}:
        known = [field.name for field in fields(Recipe)] + list(_SCHEME_KEYS)
        if where.startswith("rules"):
            known = [field.name for field in fields(Rule)]
            where = str(first["loc"][-1])
        return f"there is no key {where!r}{_meant(where, known)} (the keys: {', '.join(known)})"
    return fault(first)


def _contradiction(recipe: Recipe) -> str:
    """Why no backend can do what the recipe says, or ""."""
    if not recipe.name.strip():
        return "name: must not be empty"
    if reason := recipe.scheme.contradiction():
        return reason
    for number, rule in enumerate(recipe.rules):
        if rule.scheme and (reason := rule.scheme.contradiction()):
            return f"rules.{number}.scheme.{reason}"
        if not rule.names and not rule.ops:
            return f"rules.{number}: names and ops are empty: write the scheme of all as scheme"
    same = RECIPES.get(recipe.name)
    if same is not None and recipe.digest() != same.digest():
        return (
            f"name: {recipe.name!r} is a named recipe with other values; give this one its own name"
        )
    return ""

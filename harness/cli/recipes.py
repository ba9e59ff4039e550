"""`edgefarm recipes list | show | explain`: what quantizes, and what its steps do."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from harness.cli.output import JsonOption, check_file, print_json, print_rows, stdout
from harness.errors import UsageError
from harness.recipe import RECIPES, Recipe, load_recipe, to_json
from harness.recipe.explaining import rule_in_words, what_it_does, when_it_helps

if TYPE_CHECKING:
    from harness.quantize.technique import Technique

recipes_app = typer.Typer(
    invoke_without_command=True,
    help=(
        "List the named recipes, and the steps that can be added to one.\n\n"
        "A .json file of the same fields is a recipe too; `show NAME --out mine.json` begins one."
        '\n\nExample: edgefarm run MODEL --recipe "static_wi8_ai8 + percentile(upper=99.9)" …'
    ),
)


@recipes_app.callback()
def recipes(context: typer.Context, as_json: JsonOption = False) -> None:
    """List the named recipes, and the steps that can be added to one."""
    if context.invoked_subcommand is None:
        list_recipes(as_json=as_json)


@recipes_app.command("list")
def list_recipes(as_json: JsonOption = False) -> None:
    """List the named recipes, and the steps that can be added to one."""
    if as_json:
        print_json(list(RECIPES.values()))
        return
    from harness.quantize.techniques import all_techniques

    rows = [{"recipe": one.name, "what it makes": one.summary} for one in RECIPES.values()]
    print_rows("Recipes", rows, as_json=False)
    steps = [
        {"step": _with_defaults(one), "what it does": one.summary, "from": one.reference}
        for one in all_techniques().values()
    ]
    print_rows("Steps: RECIPE + STEP(OPTION=VALUE) + …", steps, as_json=False)


@recipes_app.command()
def show(
    name: Annotated[
        str, typer.Argument(help="A named recipe, a .json file, or either with steps.")
    ],
    out: Annotated[
        Path | None, typer.Option(help="Write the recipe to this .json file, to edit it.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show what a recipe says: scheme, steps, digest, and the file that says the same.

    Example: edgefarm recipes show "static_wi8_ai8 + mse" --out mine.json
    """
    recipe = _checked(name)
    if out is not None:
        _save(recipe, out)
    if as_json:
        file = json.loads(to_json(recipe))
        print_json({**file, **asdict(recipe), "digest": recipe.digest(), "file": file})
        return
    card = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    card.add_column(style="dim", no_wrap=True)
    card.add_column(overflow="fold")
    for key, value in _said(recipe):
        card.add_row(key, Text(value))
    digest = Text(f"digest {recipe.digest()}")
    stdout.print(Text(recipe.name, style="bold"), card, digest, Text("\nAs a file:"), sep="\n")
    stdout.print(to_json(recipe), end="", soft_wrap=True, highlight=False)
    if out is not None:
        stdout.print(f"saved: {out}", soft_wrap=True, highlight=False)


@recipes_app.command()
def explain(
    name: Annotated[
        str, typer.Argument(help="A step, or a recipe: a name, a .json file, or either with steps.")
    ],
    as_json: JsonOption = False,
) -> None:
    """Explain a step or a recipe: what it does, when it helps, its options, and who takes it.

    Example: edgefarm recipes explain cross_layer_equalization
    """
    from harness.quantize.techniques import all_techniques

    techniques = all_techniques()
    if name in techniques:
        told = _technique_told(techniques[name])
    elif name in RECIPES or "+" in name or name.endswith(".json"):
        told = _recipe_told(_checked(name))
    else:
        raise UsageError(
            f"{name!r} is neither a step nor a recipe; steps: {', '.join(techniques)}; recipes: "
            f"{', '.join(RECIPES)}, or a .json file"
        )
    if as_json:
        print_json(told)
    else:
        stdout.print(*_page(told), sep="\n")


def _checked(name: str) -> Recipe:
    """The recipe; what its steps say is checked too."""
    from harness.quantize.techniques import options_of

    recipe = load_recipe(name)
    for step in recipe.steps:
        options_of(step)
    return recipe


def _save(recipe: Recipe, out: Path) -> None:
    check_file(out)
    if out.suffix != ".json":
        raise UsageError(f"--out {out}: a recipe's file ends in .json")
    if out.exists():
        raise UsageError(f"--out {out}: is there already; give another name, or move it away")
    try:
        out.write_text(to_json(recipe), encoding="utf-8")
    except OSError as error:
        raise UsageError(f"--out {out}: cannot be written: {error.strerror}") from error


def _said(recipe: Recipe) -> Iterator[tuple[str, str]]:
    if recipe.summary:
        yield "summary", recipe.summary
    yield "scheme", what_it_does(recipe.scheme)
    for key, value in asdict(recipe.scheme).items():
        if value is not None:
            yield f"  {key}", str(value)
    yield "steps", "\n".join(map(str, recipe.steps)) or "none"
    yield "rules", "\n".join(map(rule_in_words, recipe.rules)) or "none"
    if recipe.tuned_on:
        yield "tuned on", recipe.tuned_on


def _technique_told(technique: "Technique") -> dict[str, object]:
    import sys

    from harness.judge.diagnosis.remedies import causes_for
    from harness.quantize.explaining import options_told, taken_by
    from targets import all_targets

    module = sys.modules.get(technique.apply.__module__)
    return {
        "step": technique.name,
        "summary": technique.summary,
        "does": " ".join((module.__doc__ or "").split()) if module else "",
        "stage": technique.stage,
        "helps": technique.helps,
        "causes": list(causes_for(technique.name)),
        "options": [asdict(one) for one in options_told(technique.options)],
        "reference": technique.reference,
        "keeps_values": technique.keeps_values,
        "needs_module": technique.needs_module,
        "targets": [asdict(one) for one in taken_by(technique, all_targets().values())],
    }


def _recipe_told(recipe: Recipe) -> dict[str, object]:
    from harness.quantize.checks import check_listed
    from harness.quantize.techniques import get_technique
    from targets import all_targets

    targets = []
    for target in all_targets().values():
        try:
            check_listed(target, recipe)
            refusal = ""
        except UsageError as error:
            refusal = str(error)
        targets.append({"target": target.name, "runtime": target.runtime, "refusal": refusal})
    return {
        "recipe": recipe.name,
        "summary": recipe.summary,
        "does": what_it_does(recipe.scheme),
        "helps": when_it_helps(recipe.scheme),
        "steps": [
            {"step": str(step), "summary": get_technique(step.technique).summary}
            for step in recipe.steps
        ],
        "rules": [rule_in_words(rule) for rule in recipe.rules],
        "calibration": recipe.needs_calibration(),
        "digest": recipe.digest(),
        "targets": targets,
    }


_STAGES = {
    "graph": "changes the float model before it is quantized",
    "rules": "gives layers schemes of their own",
    "weights": "chooses the values that the weights' integers stand for",
    "ranges": "chooses the ranges that the activations' integers span",
}


def _page(told: dict[str, Any]) -> Iterator[RenderableType]:
    """An explanation for the terminal."""
    head = Text(str(told.get("step") or told["recipe"]), style="bold")
    if told["summary"]:
        head.append(f": {told['summary']}", style="not bold")
    yield head
    if told["does"]:
        yield from _part("What it does", told["does"])
    if "stage" in told:
        yield from _part("Stage", f"{told['stage']}: {_STAGES[told['stage']]}")
    helps = [told["helps"]] if told["helps"] else []
    if told.get("causes"):
        helps.append(f"`edgefarm diagnose` names it for: {', '.join(told['causes'])}.")
    yield from _part("When it helps", " ".join(helps) or "its author does not say")
    if "options" in told:
        lines = [_option_line(one) for one in told["options"]]
        yield from _part("Options", *(lines or ["none"]))
        yield from _part("From", told["reference"])
        if not told["keeps_values"]:
            yield from _part(
                "Mind", "tensors inside the model change; outputs stay comparable with float's"
            )
        if told["needs_module"]:
            yield from _part("Takes", "PyTorch models; no .tflite")
    if told.get("steps"):
        yield from _part("Steps", *(f"{one['step']}: {one['summary']}" for one in told["steps"]))
    if told.get("rules"):
        yield from _part("Rules", *told["rules"])
    if "calibration" in told:
        yield from _part("Calibration samples", "needed" if told["calibration"] else "not needed")
    yield from _part("Targets", *_target_lines(told["targets"]))


def _option_line(one: dict[str, Any]) -> str:
    default = "must be given" if one["required"] else f"default {one['default']!r}"
    return f"{one['name']} ({one['allowed']}; {default}): {one['meaning'] or 'no description'}"


def _target_lines(targets: list[dict[str, Any]]) -> Iterator[str]:
    """Targets that say the same on one line."""
    said: dict[str, list[str]] = {}
    for one in targets:
        recipes = one.get("recipes")
        told = f"no: {one['refusal']}" if one["refusal"] else "yes"
        told += f", with {', '.join(recipes)}" if recipes else ""
        said.setdefault(told, []).append(f"{one['target']} ({one['runtime']})")
    for told, names in said.items():
        yield f"{', '.join(names)}: {told}"


def _part(title: str, *lines: str) -> Iterator[RenderableType]:
    yield Text(title, style="dim")
    for line in lines:
        yield Padding(Text(line), (0, 0, 0, 2))


def _with_defaults(technique: "Technique") -> str:
    """As a recipe has it, each option with its default."""
    options = technique.options.model_fields.items()
    given = ", ".join(
        f"{name}=…" if field.is_required() else f"{name}={field.default!r}"
        for name, field in options
    )
    return f"{technique.name}({given})" if given else technique.name

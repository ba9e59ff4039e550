"""A recipe as a file that people read and edit; `load_recipe` reads it back."""

import json
from dataclasses import asdict
from typing import Any

from harness.recipe.definition import Recipe, Rule, Scheme


def to_json(recipe: Recipe) -> str:
    """The recipe in the short form; what stands at its default is left out."""
    content: dict[str, Any] = {"name": recipe.name}
    if recipe.summary:
        content["summary"] = recipe.summary
    content["scheme"] = _scheme(recipe.scheme)
    if recipe.steps:
        content["steps"] = [
            {step.technique: dict(step.options)} if step.options else step.technique
            for step in recipe.steps
        ]
    if recipe.rules:
        content["rules"] = [_rule(rule) for rule in recipe.rules]
    if recipe.tuned_on:
        content["tuned_on"] = recipe.tuned_on
    return json.dumps(content, indent=2) + "\n"


def _scheme(scheme: Scheme) -> dict[str, Any]:
    said = {key: value for key, value in asdict(scheme).items() if value is not None}
    if said["weight_granularity"] == "channel":
        del said["weight_granularity"]
    return said


def _rule(rule: Rule) -> dict[str, Any]:
    lists = {"names": list(rule.names), "ops": list(rule.ops)}
    scheme = _scheme(rule.scheme) if rule.scheme else None
    return {key: value for key, value in lists.items() if value} | {"scheme": scheme}

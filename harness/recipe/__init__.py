"""Recipe: what to quantize and how. A small JSON file, one of the named recipes, or either with
steps; see docs/recipes.md."""

from harness.recipe.definition import RECIPES, Mode, Option, Recipe, Rule, Scheme, Step
from harness.recipe.reading import load_recipe
from harness.recipe.writing import to_json

__all__ = [
    "RECIPES",
    "Mode",
    "Option",
    "Recipe",
    "Rule",
    "Scheme",
    "Step",
    "load_recipe",
    "to_json",
]

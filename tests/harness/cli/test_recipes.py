"""`edgefarm recipes list | show | explain`: what is said of recipes and steps, and their files."""

import json
from pathlib import Path

import pytest

from harness.quantize.explaining import options_told, taken_by
from harness.quantize.technique import Options
from harness.quantize.techniques import all_techniques
from harness.recipe import RECIPES, load_recipe
from targets import all_targets, get_target
from tests.harness.cli.command import Edgefarm

STEPPED = "static_wi8_ai8 + cross_layer_equalization(rounds=3) + percentile(upper=99.9)"


def test_without_a_word_more_it_lists(edgefarm: Edgefarm) -> None:
    assert edgefarm("recipes", "list").out == edgefarm("recipes").out
    listed = edgefarm("recipes", "list", "--json").json
    assert listed == edgefarm("recipes", "--json").json
    assert [one["name"] for one in listed] == list(RECIPES)
    assert "keep_float(names=…)" in " ".join(edgefarm("recipes").out.split())


def test_a_recipe_is_shown_as_a_file_that_says_the_same(edgefarm: Edgefarm, tmp_path: Path) -> None:
    said = edgefarm("recipes", "show", STEPPED, "--out", "mine.json")
    recipe = load_recipe(STEPPED)
    assert load_recipe(str(tmp_path / "mine.json")) == recipe
    for word in (recipe.digest(), "percentile(upper=99.9)", "activation_bits", "saved: mine.json"):
        assert word in said.out
    again = edgefarm("recipes", "show", "static_wi8_ai8", "--out", "mine.json")
    assert (again.code, "is there already" in again.err) == (2, True)
    shown = edgefarm("recipes", "show", STEPPED, "--json").json
    assert shown["digest"] == recipe.digest()
    assert shown["scheme"]["weight_granularity"] == "channel"
    (tmp_path / "back.json").write_text(json.dumps(shown["file"]))
    assert load_recipe(str(tmp_path / "back.json")).digest() == recipe.digest()


@pytest.mark.parametrize("name", sorted(all_techniques()))
def test_a_step_is_explained(edgefarm: Edgefarm, name: str) -> None:
    """In words of its own: what for, every option's meaning, where from, and who takes it."""
    told = edgefarm("recipes", "explain", name, "--json").json
    assert told["step"] == name
    assert told["does"]
    assert told["reference"]
    assert all(one["meaning"] for one in told["options"]), told["options"]
    taken = {one["target"]: one for one in told["targets"]}
    assert taken.keys() == all_targets().keys()
    assert taken["hexagon-executorch"]["refusal"] == "it takes no steps"
    assert all(bool(one["recipes"]) != bool(one["refusal"]) for one in taken.values())
    page = " ".join(edgefarm("recipes", "explain", name).out.split())
    for one in told["options"]:
        assert f"{one['name']} ({one['allowed']}; " in page
    assert " ".join(told["reference"].split()) in page


def test_what_is_allowed_of_an_option_is_said(edgefarm: Edgefarm) -> None:
    told = edgefarm("recipes", "explain", "percentile", "--json").json
    assert told["options"] == [
        {
            "name": "lower",
            "allowed": "number, at least 0, below 100",
            "default": 0.01,
            "required": False,
            "meaning": "percentiles of the values that the range begins and ends with.",
        },
        {
            "name": "upper",
            "allowed": "number, above 0, at most 100",
            "default": 99.99,
            "required": False,
            "meaning": "percentiles of the values that the range begins and ends with.",
        },
    ]
    assert "static_wi8_ai8" in told["targets"][0]["recipes"]
    assert "dynamic_wi8_afp32" not in told["targets"][0]["recipes"]
    assert "activation-outlier" in told["causes"]
    names = edgefarm("recipes", "explain", "keep_float", "--json").json["options"][0]
    assert (names["required"], names["default"]) == (True, None)


class Ordinary(Options):
    """Options as docstrings usually have them.

    Attributes:
        first: what it is,
            on two lines.
        last: of all.
    """

    first: int = 1
    last: bool = False


def test_meanings_are_read_from_ordinary_docstrings() -> None:
    first, last = options_told(Ordinary)
    assert (first.meaning, first.allowed) == ("what it is, on two lines.", "integer")
    assert (last.meaning, last.allowed) == ("of all.", "true or false")


@pytest.mark.parametrize("recipe", [*RECIPES, STEPPED])
def test_a_recipe_is_explained(edgefarm: Edgefarm, recipe: str) -> None:
    told = edgefarm("recipes", "explain", recipe, "--json").json
    assert told["recipe"] == recipe
    assert told["does"]
    assert told["helps"]
    refused = {one["target"]: one["refusal"] for one in told["targets"]}
    for name, target in all_targets().items():
        if recipe in RECIPES:
            assert (refused[name] == "") == (recipe in target.recipes)
    page = edgefarm("recipes", "explain", recipe).out
    assert max(map(len, page.splitlines())) <= 80


def test_what_is_neither_is_refused_with_what_there_is(edgefarm: Edgefarm) -> None:
    said = edgefarm("recipes", "explain", "percentil")
    assert said.code == 2
    assert "steps: " in said.err
    assert "static_wi8_ai8" in said.err
    wrong = edgefarm("recipes", "show", "static_wi8_ai8 + percentile(high=1)")
    assert (wrong.code, "the options: lower, upper" in wrong.err) == (2, True)


def test_a_target_that_applies_no_steps_refuses_them_before_the_work(edgefarm: Edgefarm) -> None:
    (taken,) = taken_by(all_techniques()["mse"], [get_target("hexagon-executorch")])
    assert taken.recipes == ()
    said = edgefarm(
        *("quantize", "zoo:digits-cnn", "--target", "hexagon-executorch", "--soc", "SM8650"),
        *("--recipe", "static_wi8_ai8 + mse", "--out", "made"),
    )
    assert said.code == 2
    assert "hexagon-executorch takes no steps and no rules; leave out step mse" in said.err

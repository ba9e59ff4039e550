"""Recipes in files: what they may say, and what is refused before anything is done."""

import hashlib
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from harness.errors import UsageError
from harness.model import Model, ModelInput
from harness.quantize.checks import check_recipe
from harness.recipe import RECIPES, Recipe, Rule, Scheme, load_recipe, to_json
from targets import get_target

STATIC = {"name": "mine", "mode": "static", "weight_bits": 8, "activation_bits": 8}
MODEL = Model("net.py:net", "/net.py:net", "0" * 64, (ModelInput((1, 2), "float32"),))


def written(folder: Path, content: dict[str, Any]) -> str:
    path = folder / "recipe.json"
    path.write_text(json.dumps(content))
    return str(path)


def test_a_recipe_file_is_read(tmp_path: Path) -> None:
    read = load_recipe(written(tmp_path, {**STATIC, "weight_granularity": "tensor"}))
    assert read == Recipe("mine", Scheme("static", 8, 8, "tensor"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"exclude": ["head"]}, r"there is no key 'exclude' \(the keys: name, scheme, "),
        ({"weight_bit": 8}, "there is no key 'weight_bit'; did you mean 'weight_bits'"),
        ({"granularity": "tensor"}, "did you mean 'weight_granularity'"),
        ({"weight_bits": 3}, "weight_bits: Input should be 4 or 8, got 3"),
        ({"activation_bits": 4}, "activation_bits: Input should be 8 or 16, got 4"),
        ({"weight_bits": "8"}, "weight_bits: Input should be 4 or 8, got '8'"),
        ({"weight_bits": None}, "weight_bits: mode 'static' needs it: 8 or 4"),
        ({"activation_bits": None}, "activation_bits: mode 'static' needs it: 8 or 16"),
        ({"mode": "dynamic"}, "activation_bits: mode 'dynamic' does not quantize activations"),
        ({"mode": "float"}, "weight_bits: mode 'float' does not quantize weights"),
        ({"mode": "qat"}, "mode: Input should be 'float', 'dynamic'"),
        ({"weight_granularity": "block"}, "weight_granularity: Input should be 'tensor'"),
        ({"name": " "}, "name: must not be empty"),
        ({"name": "static_wi8_ai16"}, "is a named recipe with other values"),
    ],
)
def test_what_no_backend_does_is_refused(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        load_recipe(written(tmp_path, STATIC | change))


@pytest.mark.parametrize("name", RECIPES)
def test_the_named_recipes_are_recipes_of_a_file_too(tmp_path: Path, name: str) -> None:
    assert load_recipe(written(tmp_path, asdict(RECIPES[name]))) == RECIPES[name]


HEAD = {"names": "head", "scheme": None}


def test_rules_of_a_file_are_read(tmp_path: Path) -> None:
    four = {"mode": "static", "weight_bits": 4, "activation_bits": 8}
    rules = [{"names": ["blocks.?.conv"], "ops": "conv", "scheme": four}, HEAD]
    read = load_recipe(written(tmp_path, {**STATIC, "rules": rules}))
    assert read.rules == (
        Rule(Scheme("static", 4, 8), ("blocks.?.conv",), ("conv",)),
        Rule(None, ("head",)),
    )
    assert read.scheme_of("blocks.3.conv", "conv") == Scheme("static", 4, 8)
    assert read.scheme_of("blocks.3.conv", "depthwise_conv") == read.scheme
    assert read.scheme_of("blocks.12.conv", "conv") == read.scheme
    assert read.scheme_of("head.linear", "linear") == Scheme("float")
    assert read.scheme_of("header", "linear") == read.scheme
    assert read.digest() != load_recipe(written(tmp_path, STATIC)).digest()


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ("head", "rules: one is 'head'; write"),
        ({"names": "head"}, "has no 'scheme'"),
        ({**HEAD, "name": "x"}, "there is no key 'name'; did you mean 'names'"),
        ({**HEAD, "scheme": {"mode": "static"}}, "rules.0.scheme.weight_bits: mode 'static' needs"),
        ({**HEAD, "scheme": {"bits": 4}}, "there is no key 'rules.scheme.bits'"),
        ({"scheme": None}, "rules.0: names and ops are empty"),
        ({**HEAD, "names": [3]}, "rules.0.names.0: Input should be a valid string, got 3"),
    ],
)
def test_a_rule_that_means_nothing_is_refused(tmp_path: Path, rule: object, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        load_recipe(written(tmp_path, {**STATIC, "rules": [rule]}))


@pytest.mark.parametrize(
    ("target", "recipe", "said"),
    [
        ("host-executorch", Recipe("a", Scheme("static", 8, 16)), "static (8-bit)"),
        ("host-executorch", Recipe("b", Scheme("weight_only", 8)), "modes: dynamic, float, static"),
        ("host-executorch", Recipe("c", Scheme("dynamic", 4)), "weight_bits 4; it takes 8"),
        ("edge-tpu", Recipe("d", Scheme("dynamic", 8)), "does not take recipe d"),
    ],
)
def test_what_a_target_has_no_kernels_for_is_refused(
    target: str, recipe: Recipe, said: str
) -> None:
    with pytest.raises(UsageError) as refused:
        check_recipe(get_target(target), MODEL, recipe)
    assert said in str(refused.value)


def test_bits_that_a_target_has_are_taken() -> None:
    check_recipe(get_target("host-litert"), MODEL, Recipe("w4", Scheme("static", 4, 16, "tensor")))
    check_recipe(
        get_target("host-executorch"), MODEL, Recipe("t", Scheme("static", 8, 8, "tensor"))
    )


def test_a_digest_is_of_what_makes_a_difference() -> None:
    plain = RECIPES["static_wi8_ai8"]
    assert plain.digest() == replace(plain, name="mine", summary="of mine").digest()
    text = "static_wi8_ai8 + percentile(lower=1, upper=99)"
    stepped = load_recipe(text)
    assert stepped.name == text
    assert stepped.digest() == load_recipe("static_wi8_ai8+percentile(upper=99, lower=1)").digest()
    others = [f"static_wi8_ai8 + {x}" for x in ("percentile(upper=99)", "mse", "mse + percentile")]
    assert len({plain.digest(), stepped.digest(), *(load_recipe(x).digest() for x in others)}) == 5


def test_a_file_has_a_scheme_and_steps(tmp_path: Path) -> None:
    scheme = {key: value for key, value in STATIC.items() if key != "name"}
    read = load_recipe(
        written(tmp_path, {"scheme": scheme, "steps": [{"percentile": {"upper": 99.9}}, "mse"]})
    )
    assert read.name == "recipe"
    assert [str(step) for step in read.steps] == ["percentile(upper=99.9)", "mse"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"scheme": {"weight_bit": 8}}, "'scheme.weight_bit'; did you mean 'weight_bits'"),
        ({"scheme": {"mode": "static"}}, "'mode' is given twice"),
        ({"step": ["mse"]}, "no key 'step'; did you mean 'steps'"),
        ({"steps": [{"mse": {}, "percentile": {}}]}, "steps: one is .*write"),
        ({"steps": "mse"}, "steps: must be a list"),
    ],
)
def test_faults_of_scheme_and_steps_are_told(
    tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        load_recipe(written(tmp_path, STATIC | change))


@pytest.mark.parametrize("step", ["", "mse(", "mse(3)", "mse(a=open('x'))", "mse(a=[1])", "1+1"])
def test_text_that_is_no_step_is_refused(step: str) -> None:
    with pytest.raises(UsageError, match="is not TECHNIQUE"):
        load_recipe(f"static_wi8_ai8 + {step}")


def test_a_digest_stays_when_recipes_get_more_keys() -> None:
    """So that nights before an update and those after it are one series."""
    scheme = {"mode": "static", "weight_bits": 8, "activation_bits": 8}
    said = {"name": "", "scheme": scheme}
    text = json.dumps(said, sort_keys=True).encode()
    assert RECIPES["static_wi8_ai8"].digest() == hashlib.sha256(text).hexdigest()
    tuned = replace(RECIPES["static_wi8_ai8"], tuned_on="f" * 64)
    assert tuned.digest() == RECIPES["static_wi8_ai8"].digest(), "it makes the same artifact"


@pytest.mark.parametrize(
    "given",
    [
        *({"name": "mine", **asdict(one.scheme)} for one in RECIPES.values()),
        {**STATIC, "steps": ["mse", {"percentile": {"upper": 99.5}}], "summary": "all of it"},
        {**STATIC, "rules": [{"names": ["a", "b.*"], "ops": ["conv"], "scheme": None}, HEAD]},
        {**STATIC, "weight_granularity": "tensor", "tuned_on": "0" * 64},
    ],
)
def test_what_is_written_is_read_back(tmp_path: Path, given: dict[str, Any]) -> None:
    recipe = load_recipe(written(tmp_path, given))
    (tmp_path / "again.json").write_text(to_json(recipe))
    assert load_recipe(str(tmp_path / "again.json")) == recipe
    assert "null" not in to_json(recipe) or recipe.rules

"""`edgefarm run` with several recipes: which are run, what is printed, kept and returned."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from harness.cli.comparing import chosen
from harness.errors import UsageError
from harness.recipe import RECIPES
from harness.records import Outcome, Run, exit_code
from harness.request import Request
from reports.store import read_runs
from targets import get_target
from tests.farm.jobs_in import a_run
from tests.harness.cli.command import Edgefarm

CALL = ("run", "zoo:digits-cnn", "--target", "host-litert", "--out", "kept")
STEPPED = "static_wi8_ai8 + percentile(upper=99.9)"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Request]:
    """Every request that is evaluated; static_wi8_ai16 fails, static_wi8_ai8 looks wrong."""
    requests: list[Request] = []
    outcomes = {"static_wi8_ai16": Outcome.FAIL, "static_wi8_ai8": Outcome.WARN}

    def evaluated(request: Request, *_args: object, **_options: object) -> Run:
        requests.append(request)
        assert request.recipe is not None
        name = request.recipe.name
        return replace(
            a_run(outcomes.get(name, Outcome.PASS)),
            id=f"r{len(requests)}",
            recipe=name,
            recipe_digest=request.recipe.digest(),
        )

    monkeypatch.setattr("harness.evaluate.evaluate", evaluated)
    return requests


def names(requests: list[Request]) -> list[str]:
    return [one.recipe.name if one.recipe else "" for one in requests]


def test_float_is_always_beside_and_the_worst_is_the_exit_code(
    edgefarm: Edgefarm, asked: list[Request], tmp_path: Path
) -> None:
    said = edgefarm(*CALL, "--recipe", "static_wi8_ai8", "--recipe", STEPPED)
    assert names(asked) == ["float", "static_wi8_ai8", STEPPED]
    assert said.code == exit_code([Outcome.WARN])
    assert "report: kept/report.html" in said.out
    assert (tmp_path / "kept" / "report.html").exists()
    assert {run.recipe for _, run in read_runs(tmp_path / "kept")[0]} == set(names(asked))
    assert all(one.device == asked[0].device for one in asked)


def test_all_are_those_of_the_target_and_json_is_a_list(
    edgefarm: Edgefarm, asked: list[Request]
) -> None:
    said = edgefarm(*CALL, "--recipe", "all", "--recipe", STEPPED, "--json")
    assert names(asked) == [*get_target("host-litert").recipes, STEPPED]
    assert said.code == exit_code([Outcome.FAIL])
    rows = said.json
    assert [row["recipe"] for row in rows] == names(asked)
    assert rows[0]["against_float"] is None
    assert rows[1]["against_float"].keys() == {"latency_ratio", "slower", "why"}
    assert {"recipe_digest", "manifest", "accuracy"} <= rows[1].keys()


def test_one_recipe_is_one_run_as_ever(edgefarm: Edgefarm, asked: list[Request]) -> None:
    said = edgefarm(*CALL, "--recipe", "static_wi8_ai8", "--json")
    assert names(asked) == ["static_wi8_ai8"]
    assert isinstance(said.json, dict)


def test_a_recipe_that_is_refused_is_refused_before_anything_runs(
    edgefarm: Edgefarm, asked: list[Request]
) -> None:
    said = edgefarm(*CALL, "--recipe", "static_wi8_ai8", "--recipe", "float + percentile")
    assert said.code == 2
    assert "stores no ranges" in said.err
    said = edgefarm(*CALL, "--recipe", "static_wi8_ai8", "--recipe", "static_wi8")
    assert (said.code, asked) == (2, [])
    assert "no such recipe" in said.err


def test_all_are_judged_on_what_no_recipe_of_them_was_chosen_by(tmp_path: Path) -> None:
    scheme = {"mode": "static", "weight_bits": 8, "activation_bits": 8}
    for name, tuned_on in (("a", "1" * 64), ("b", "2" * 64)):
        text = json.dumps({"scheme": scheme, "steps": ["mse"], "tuned_on": tuned_on})
        (tmp_path / f"{name}.json").write_text(
            text.replace("mse", "mse" if name == "a" else "percentile")
        )
    host = get_target("host-litert")
    a, b = (str(tmp_path / f"{name}.json") for name in "ab")
    assert {one.tuned_on for one in chosen([a, "all"], host)} == {"1" * 64}
    (tmp_path / "c.json").write_text(json.dumps({"scheme": scheme, "tuned_on": "3" * 64}))
    same = chosen(["static_wi8_ai8", str(tmp_path / "c.json")], host)
    assert [(one.name, one.tuned_on) for one in same] == [
        ("float", "3" * 64), ("static_wi8_ai8", "3" * 64),
    ]  # fmt: skip
    with pytest.raises(UsageError, match="a, b: tuned on different data"):
        chosen([a, b], host)


def test_a_target_without_float_has_none_beside() -> None:
    tpu = get_target("edge-tpu")
    assert "float" not in tpu.recipes
    assert [one.name for one in chosen(["all"], tpu)] == list(tpu.recipes)
    again = chosen(["static_wi8_ai8", "all"], get_target("host-litert"))
    assert [one.name for one in again][:2] == ["float", "static_wi8_ai8"]
    assert len(again) == len(get_target("host-litert").recipes)
    assert chosen(["static_wi8_ai8", "static_wi8_ai8"], tpu) == [RECIPES["static_wi8_ai8"]]

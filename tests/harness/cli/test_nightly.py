"""`edgefarm nightly run` on nights that are done: latency against the nights before."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from farm.database import Database, open_database
from farm.nightly.night import submit_night
from farm.nightly.plan import load_plan
from farm.parts import accept
from harness.records import Latency, Outcome
from tests.farm.jobs_in import a_run, add_devices, claim_on, mark_prepared
from tests.harness.cli.command import Edgefarm

PLAN = """
[nightly]
name = "t"
slower = "{slower}"

[[models]]
model = "zoo:digits-cnn"
recipes = ["float"]

[[devices]]
target = "host-litert"
on = "name=a"
"""
NIGHTS = 10


@pytest.fixture
def farm(own_home: Path) -> Iterator[Database]:
    database = open_database(f"sqlite:///{own_home / 'farm.sqlite'}")
    add_devices(database, ["a"])
    yield database
    database.close()


def play_nights(farm: Database, plan: Path) -> None:
    """Ten nights; the last two are 10 % slower."""
    for number in range(1, NIGHTS + 1):
        slower = 1.1 if number > NIGHTS - 2 else 1
        play_night(farm, plan, number, median=1e6 * (1 + number % 3 / 1000) * slower)


def play_night(farm: Database, plan: Path, number: int, median: float) -> None:
    """One night of one job, whose run has no digest of its own, as those of before it was kept."""
    (submitted,) = submit_night(farm, load_plan(plan), f"t-{number}")
    mark_prepared(farm, submitted.request)
    claimed = claim_on(farm, "a")
    assert claimed is not None
    latency = Latency((), ((int(median),),), median, (median, median), median, median, True)
    run = replace(a_run(), created=f"2026-11-{number:02}T02:00:00Z", latency=latency)
    with farm.begin() as connection:
        assert accept(connection, claimed, run)


@pytest.mark.parametrize(("slower", "code"), [("tell", 0), ("fail", 1)])
def test_a_slower_night_is_told_or_fails(
    edgefarm: Edgefarm, farm: Database, tmp_path: Path, slower: str, code: int
) -> None:
    plan = tmp_path / "nightly.toml"
    plan.write_text(PLAN.format(slower=slower))
    play_nights(farm, plan)
    said = edgefarm("nightly", "run", plan, "--night", f"t-{NIGHTS}", "--out", "out", "--json")
    assert said.code == code
    (row,) = said.json["rows"]
    assert row["slower"]
    assert row["latency"].startswith("slower: +10.0% against 1.00 ms over 8 nights before")
    assert row["outcome"] == (Outcome.FAIL if code else Outcome.PASS)
    junit = (tmp_path / "out" / f"t-{NIGHTS}" / "junit.xml").read_text()
    assert ("slower" in junit) == (slower == "fail")
    shown = edgefarm("nightly", "run", plan, "--night", f"t-{NIGHTS}").out
    assert "slower" in shown
    assert json.loads(edgefarm("nightly", "schema").out)


def test_a_recipe_that_changed_under_its_name_is_not_held_against_what_it_was(
    edgefarm: Edgefarm, farm: Database, tmp_path: Path
) -> None:
    """The file is edited after five nights: the slower ones behind are of another recipe."""
    plan = tmp_path / "nightly.toml"
    plan.write_text(PLAN.format(slower="fail").replace('"float"', '"mine.json"'))
    for number in range(1, NIGHTS + 1):
        bits = 8 if number <= NIGHTS // 2 else 16
        scheme = {"mode": "static", "weight_bits": 8, "activation_bits": bits}
        (tmp_path / "mine.json").write_text(json.dumps({"scheme": scheme}))
        play_night(farm, plan, number, median=1e6 * (1 if bits == 8 else 2))
    said = edgefarm("nightly", "run", plan, "--night", f"t-{NIGHTS}", "--json")
    (row,) = said.json["rows"]
    assert not row["slower"]
    assert "over 3 nights before" in row["latency"]


def test_recipes_of_one_name_have_rows_of_their_own(
    edgefarm: Edgefarm, farm: Database, tmp_path: Path
) -> None:
    for folder, bits in (("a", 8), ("b", 16)):
        (tmp_path / folder).mkdir()
        scheme = {"mode": "static", "weight_bits": 8, "activation_bits": bits}
        (tmp_path / folder / "mine.json").write_text(json.dumps({"scheme": scheme}))
    plan = tmp_path / "nightly.toml"
    plan.write_text(PLAN.format(slower="tell").replace('"float"', '"a/mine.json", "b/mine.json"'))
    for submitted in submit_night(farm, load_plan(plan), "t-1"):
        mark_prepared(farm, submitted.request)
    for _ in range(2):
        claimed = claim_on(farm, "a")
        assert claimed is not None
        with farm.begin() as connection:
            assert accept(connection, claimed, a_run())
    said = edgefarm("nightly", "run", plan, "--night", "t-1", "--json")
    names = [row["recipe"] for row in said.json["rows"]]
    assert len(set(names)) == 2
    assert all(name.startswith("mine (digest ") for name in names)

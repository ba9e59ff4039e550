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
        (submitted,) = submit_night(farm, load_plan(plan), f"t-{number}")
        mark_prepared(farm, submitted.request)
        claimed = claim_on(farm, "a")
        assert claimed is not None
        median = 1e6 * (1 + number % 3 / 1000) * (1.1 if number > NIGHTS - 2 else 1)
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

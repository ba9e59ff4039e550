"""`edgefarm targets`: every word of what was verified is there to read."""

from targets import all_targets
from tests.harness.cli.command import Edgefarm


def test_what_was_verified_is_shown_in_full(edgefarm: Edgefarm) -> None:
    ended = edgefarm("targets")
    assert ended.code == 0
    said = " ".join(ended.out.split())
    for target in all_targets().values():
        assert target.name in said
        assert " ".join(target.evidence.split()) in said


def test_the_steps_of_recipes_are_listed_with_their_defaults(edgefarm: Edgefarm) -> None:
    told = " ".join(edgefarm("recipes").out.split())
    assert "static_wi8_ai8_per_tensor" in told
    assert "mse(candidates=100)" in told
    assert {one["name"] for one in edgefarm("recipes", "--json").json} >= {"float"}

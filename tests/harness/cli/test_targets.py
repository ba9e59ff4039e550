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

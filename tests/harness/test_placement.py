"""The placement as a limit, and in words."""

from dataclasses import replace

import pytest

from harness.judge.limits import Limits, PlacementLimits, judge
from harness.placement import Placement, PlacementReport, say_left
from harness.records import Outcome
from reports import words

CONV = Placement(0, "CONV_2D", "a", "edge-tpu", "mapped")
SOFTMAX = Placement(1, "SOFTMAX", "b", "cpu", "too long")
PARTIAL = PlacementReport((CONV, SOFTMAX), (1,))
FULL = PlacementReport((CONV, replace(SOFTMAX, where="edge-tpu")))


@pytest.mark.parametrize(
    ("placement", "delegated", "said"),
    [
        (FULL, None, ""),
        (FULL, 2, ""),
        (FULL, 0, "took 0 of 2 nodes"),
        (PARTIAL, None, "node 1 (SOFTMAX, 'b'): too long"),
        (None, None, "cannot be evaluated"),
    ],
)
def test_full_delegation_is_a_limit(
    placement: PlacementReport | None, delegated: int | None, said: str
) -> None:
    def judged(limits: Limits) -> tuple[Outcome, str]:
        nothing = {"exactness": None, "cost": None, "accuracy": None, "latency": None}
        judgement = judge(limits, **nothing, placement=placement, delegated=delegated)
        return judgement.outcome, "".join(judgement.reasons)

    outcome, reasons = judged(Limits(placement=PlacementLimits(full_delegation=True)))
    assert outcome is (Outcome.FAIL if said else Outcome.PASS)
    assert said in reasons
    assert judged(Limits()) == (Outcome.PASS, "")


def test_in_words() -> None:
    assert words.placement(PARTIAL) == "1 on edge-tpu, 1 on cpu; 1 left behind"
    assert words.placement(FULL) == "2 on edge-tpu"
    assert say_left(FULL) == ""
    nowhere = PlacementReport((replace(CONV, where="none"),), (0,))
    assert words.placement(nowhere) == "1 nowhere; 1 left behind"
    assert [one.op for one in nowhere.impossible] == ["CONV_2D"]

"""The demo's exit code: whether this installation works, not whether every recipe is good."""

from dataclasses import replace

import pytest

from harness.cli import demo
from harness.records import Outcome, Run
from harness.request import Request
from tests.farm.jobs_in import a_run
from tests.harness.cli.conftest import Edgefarm

PER_TENSOR = "static_wi8_ai8_per_tensor"


@pytest.mark.parametrize(
    ("ends", "code"),
    [
        ((PER_TENSOR, Outcome.WARN), 0),
        ((PER_TENSOR, Outcome.FAIL), 1),
        (("static_wi8_ai8", Outcome.WARN), 4),
    ],
)
def test_only_the_recipe_that_is_shown_for_its_harm_may_look_wrong(
    edgefarm: Edgefarm, monkeypatch: pytest.MonkeyPatch, ends: tuple[str, Outcome], code: int
) -> None:
    def evaluated(request: Request, *_: object, **__: object) -> Run:
        recipe = request.recipe.name if request.recipe else ""
        return replace(a_run(ends[1] if recipe == ends[0] else Outcome.PASS), recipe=recipe)

    def no_board(_progress: object) -> None:
        return None

    monkeypatch.setattr(demo, "_board", no_board)
    monkeypatch.setattr(demo, "evaluate", evaluated)
    assert edgefarm("demo", "--out", "out").code == code

"""A budget as a person writes it."""

import math

import pytest

from harness.errors import UsageError
from harness.tune.budget import Budget, parse_budget


@pytest.mark.parametrize(
    ("text", "budget"),
    [
        ("", Budget(0.01)),
        ("drop=1%", Budget(0.01)),
        ("drop=0.5", Budget(0.005)),
        ("size=2MB", Budget(0.01, 2e6)),
        ("drop=2%, size=300KiB,latency=5ms", Budget(0.02, 300 * 1024, 5.0)),
        ("latency=250us", Budget(0.01, math.inf, 0.25)),
    ],
)
def test_what_a_budget_means(text: str, budget: Budget) -> None:
    assert parse_budget(text) == budget


@pytest.mark.parametrize(
    "text",
    ["drop", "drop=x%", "size=2TB", "speed=3", "drop=1%,drop=2%", "size=-1MB", "latency=1..2ms"],
)
def test_what_is_no_budget_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--budget"):
        parse_budget(text)

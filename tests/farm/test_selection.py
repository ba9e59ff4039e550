"""Selectors: what they choose, and what they refuse."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farm.selection import Selector, parse_selector
from harness.device import Device
from harness.errors import UsageError

PI = Device("pi", "ssh", ("arm-neon-litert",), tags=("lab2", "fast"))
BOARD = Device("board", "ssh", ("arm-neon-litert",), tags=("lab2",), virtual=True)


@pytest.mark.parametrize(
    ("text", "chosen"),
    [
        ("target=arm-neon-litert", {"pi", "board"}),
        ("target=edge-tpu", set()),
        ("tag=lab2", {"pi", "board"}),
        ("tag=lab2, tag=fast", {"pi"}),
        ("name=board", {"board"}),
        ("kind=physical", {"pi"}),
        ("kind=virtual tag=lab2", {"board"}),
        ("host=desk", {"pi"}),
        ("", {"pi", "board"}),
    ],
)
def test_a_selector_chooses(text: str, chosen: set[str]) -> None:
    selector = parse_selector(text)
    on = {"pi": "desk", "board": "rack"}
    assert {d.name for d in (PI, BOARD) if selector.matches(d, on[d.name])} == chosen


def test_how_many_devices() -> None:
    assert parse_selector("target=x").count == 1
    assert parse_selector("target=x, count=3").count == 3
    assert parse_selector("target=x, each").count is None


@pytest.mark.parametrize(
    "text",
    ["pi", "colour=red", "target=", "name=a,name=b", "count=0", "count=x", "kind=soft", "each=2",
     "count=99999999999", "count=²"],
)  # fmt: skip
def test_a_wrong_selector_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"allowed|twice"):
        parse_selector(text)


WORDS = st.text(st.characters(codec="ascii", categories=("L", "N")), min_size=1, max_size=8)


@given(WORDS, st.lists(WORDS, max_size=3), st.sampled_from([1, 3, None]))
def test_the_one_spelling_reads_back(target: str, tags: list[str], count: int | None) -> None:
    selector = Selector(target=target, tags=tuple(tags), count=count)
    again = parse_selector(str(selector))
    assert again.of_one == selector.of_one
    assert again.count == count

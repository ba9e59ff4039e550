"""What others say is shown whole, with the place in the user's code."""

import re
import sys
from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict, ValidationError

from harness.host.wording import first_fault, first_line, innermost, users_place


def test_the_first_line_that_says_anything_is_whole() -> None:
    assert first_line("\n  \n  it broke here \nand there") == "it broke here"
    assert first_line("") == ""


def test_a_long_line_ends_before_a_word_or_a_bracket_that_would_be_cut() -> None:
    assert first_line("one two three four", 12) == "one two …"
    assert first_line("call of f(a b c, d e f) and more", 20) == "call of …"
    assert first_line("call (a b) of f and more words", 20) == "call (a b) of f and …"
    assert first_line("x" * 30, 20) == "(one very long word)"


def test_the_users_own_innermost_frame_is_named(tmp_path: Path) -> None:
    site = str(tmp_path / "site-packages" / "torch" / "nn.py")
    frames = [("/srv/net.py", 3, "model"), ("/srv/net.py", 12, "forward"), (site, 5, "call")]
    assert innermost(frames) == "/srv/net.py:12 in forward"
    assert innermost([(site, 5, "call"), ("<string>", 1, "<module>")]) == ""
    try:
        raise ValueError
    except ValueError:
        assert users_place(sys.exc_info()[2]).startswith("tests/harness/host/test_wording.py:")


class Settings(BaseModel):
    """What a user may write."""

    model_config = ConfigDict(extra="forbid")

    speed: int = 0
    names: list[str] = []


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ('{"speed": "fast"}', r"speed: Input should be a valid integer, .*, got 'fast'"),
        ('{"names": ["a", 3]}', r"names\.1: Input should be a valid string, got 3"),
        ('{"sped": 3}', r"sped: Extra inputs are not permitted, got 3"),
        ("[]", r"Input should be an object, got \[\]"),
        ('{"speed": ', r"Invalid JSON: EOF while parsing a value at line 1 column 10"),
    ],
)
def test_what_pydantic_found_wrong_is_said_in_one_line(written: str, said: str) -> None:
    with pytest.raises(ValidationError) as raised:
        Settings.model_validate_json(written)
    assert re.fullmatch(said, first_fault(raised.value))

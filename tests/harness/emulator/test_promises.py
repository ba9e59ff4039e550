"""The table of promises: what it says of entries, and that the documented one is up to date."""

from dataclasses import replace
from pathlib import Path

import pytest

from harness.arithmetic.profile import ArithmeticProfile, Entry, Evidence
from harness.emulator.profiles import PROFILES, get_profile
from harness.emulator.promises import BEGIN, END, matrix_text, update
from harness.errors import UsageError

PROMISES = Path(__file__).parents[3] / "docs/promises.md"


def entry(op: str, semantics: str, evidence: Evidence = Evidence.MEASURED, **more: object) -> Entry:
    return Entry((op,), ("int8", "uint8"), semantics, evidence, "a file", **more)  # type: ignore[arg-type]  # any field


def table(*entries: Entry) -> list[str]:
    text = matrix_text(
        (ArithmeticProfile("p", "a machine", entries), ArithmeticProfile("q", "", ()))
    )
    return [line for line in text.splitlines() if line.startswith("| ")]


@pytest.mark.parametrize(
    ("entries", "word"),
    [
        ((entry("ADD", "S1"),), "exact"),
        ((entry("ADD", "S1", Evidence.SOURCE),), "exact"),
        ((entry("ADD", "S1", Evidence.ASSUMED),), "assumed"),
        ((entry("ADD", "float", Evidence.ASSUMED),), "float"),
        ((entry("ADD", "S1", when=lambda _: True, condition="c"),), "exact*"),
        ((entry("ADD", "S1", when=lambda _: True), entry("ADD", "S2")), "exact"),
        ((entry("ADD", "S1", when=bool), entry("ADD", "S2", Evidence.ASSUMED)), "exact, assumed"),
        ((entry("ADD", "S1"), entry("ADD", "S2", Evidence.ASSUMED)), "exact"),
    ],
)
def test_a_cell(entries: tuple[Entry, ...], word: str) -> None:
    assert f"| ADD | int8, uint8 | {word} | · |" in table(*entries)


def test_weights_are_rows_of_their_own() -> None:
    rows = table(entry("ADD", "S1"), entry("ADD", "S2", Evidence.ASSUMED, weights=("int4",)))
    assert "| ADD | int8, uint8 | exact | · |" in rows
    assert "| ADD | int8 x int4, uint8 x int4 | assumed | · |" in rows


def test_what_is_not_exact_is_listed_with_what_was_tried() -> None:
    one = entry("ADD", "S1", Evidence.ASSUMED, condition="large", tried="twenty models")
    assert "| ADD | int8, uint8 | large | A | twenty models |" in table(one)


def test_what_was_read_and_not_run_is_listed_with_its_source() -> None:
    one = entry("ADD", "S1", Evidence.SOURCE, condition="large")
    assert "| ADD | int8, uint8 | large | A | a file |" in table(one)
    assert "| ADD | int8, uint8 |  | A | a file |" not in table(entry("ADD", "S1"))


def test_the_documented_list_has_every_entry_that_is_not_exact() -> None:
    listed = PROMISES.read_text().partition("What is not exact")[2]
    missing = [
        (profile.name, e.ops, e.condition)
        for profile in PROFILES.values()
        for e in profile.entries
        if e.evidence is Evidence.ASSUMED and e.semantics != "float" and not profile.assumed
        if f"| {', '.join(e.ops)} | {', '.join(e.dtypes)} | {e.condition} |" not in listed
    ]
    assert not missing


def test_every_assumed_entry_says_what_was_tried() -> None:
    silent = [
        (profile.name, e.ops, e.condition)
        for profile in PROFILES.values()
        for e in profile.entries
        if e.evidence is Evidence.ASSUMED and e.semantics != "float" and not e.tried
    ]
    assert not silent


def test_the_documented_table_is_the_generated_one() -> None:
    text = PROMISES.read_text().partition(BEGIN)[2].partition(END)[0]
    assert text == "\n" + matrix_text(tuple(PROFILES.values())), (
        "run: edgefarm profiles matrix --update docs/promises.md"
    )


def test_update_changes_what_is_between_the_markers_only(tmp_path: Path) -> None:
    file = tmp_path / "doc.md"
    file.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    assert update(file)
    assert not update(file)
    text = file.read_text()
    assert text.startswith(f"before\n{BEGIN}\n- **A** `litert-ref`")
    assert text.endswith(f"\n{END}\nafter\n")


def test_entries_from_the_source_alone_are_listed() -> None:
    read = replace(get_profile("litert-ref"), entries=(entry("ADD", "S1", Evidence.SOURCE),))
    heading = "Read in the source"
    assert heading not in matrix_text((get_profile("litert-ref"),))
    listed = matrix_text((read,)).partition(heading)[2]
    assert "| ADD |" in listed


def test_a_file_without_markers_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "plain.md"
    file.write_text("text")
    with pytest.raises(UsageError, match="no markers"):
        update(file)
    with pytest.raises(UsageError, match="No such file"):
        update(tmp_path / "absent.md")

"""docs/numerics.md: its table of roundings is what the definitions compute."""

from pathlib import Path

import numpy as np

from harness.arithmetic.requantize import ROUNDINGS

PAGE = Path(__file__).resolve().parents[3] / "docs" / "numerics.md"
NAMES = [f"S{n}" for n in range(1, 8)]


def rows() -> list[list[str]]:
    lines = PAGE.read_text().splitlines()
    first = lines.index("| M | acc | exact | " + " | ".join(NAMES) + " |") + 2
    table = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[first:]]
    return table[: next(i for i, row in enumerate(table) if len(row) != len(NAMES) + 3)]


def test_the_table_of_roundings() -> None:
    assert len(rows()) == 7
    for m, acc, exact, *printed in rows():
        real = np.asarray([m], np.float32)
        assert float(exact) == round(float(real[0]) * int(acc), 8)
        for name, expected in zip(NAMES, printed, strict=True):
            multiplier, shift = ROUNDINGS[name].encode(real)
            got = ROUNDINGS[name].apply(np.asarray([int(acc)]), multiplier, shift)
            assert got.tolist() == [int(expected)], (name, m, acc)


def test_every_rounding_has_its_row() -> None:
    text = PAGE.read_text()
    assert all(f"\n| {name} | " in text for name in ROUNDINGS)

"""Damage between host and device, in small; `bench/damage.py` does 1,000 files."""

from bench.damage import measure


def test_damage_is_seen_wherever_it_is_done() -> None:
    figures = measure(files=40, seed=2)
    assert len(figures) == 5
    assert [one for one in figures if not one.holds] == []

"""`make outdated` names the pins that lag, and no other package."""

import json

from tests.pins import lagging, pins


def test_pins_are_those_of_both_files() -> None:
    found = pins()
    version, file = found["executorch"]
    assert (version, file) == ("1.5.1", "pyproject.toml")
    assert found["dbos"][1] == "pyproject.toml", "with an extra"
    assert found["absl-py"][1] == "constraints.txt"
    assert "pytest" not in found or found["pytest"][1] == "constraints.txt", "a range is no pin"


def test_only_pins_that_lag_are_named_chosen_ones_first() -> None:
    told = [
        {"name": "Absl_Py", "version": "1", "latest_version": "9"},
        {"name": "numpy", "version": "2", "latest_version": "3"},
        {"name": "torch", "version": "2.13.0+cpu", "latest_version": "2.14.0"},
        {"name": "nobody-pins-this", "version": "1", "latest_version": "2"},
    ]
    known = {
        "absl-py": ("1", "constraints.txt"),
        "numpy": ("3", "constraints.txt"),
        "torch": ("2.13.0", "pyproject.toml"),
        "executorch": ("1.5.1", "pyproject.toml"),
    }
    lines = [line.split() for line in lagging(json.dumps(told), known)]
    assert lines == [
        ["pyproject.toml", "torch", "2.13.0", "->", "2.14.0"],
        ["constraints.txt", "absl-py", "1", "->", "9"],
    ]

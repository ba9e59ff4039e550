"""`make outdated`: which of our pinned versions lag behind what pip's index has.

Reads what `pip list --outdated --format=json` prints on stdin. Pins of pyproject.toml come first,
for those are chosen; the others of constraints.txt only fit together with them.
"""

import json
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_PIN = re.compile(r"([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^;\s]+)")


def pins() -> dict[str, tuple[str, str]]:
    """By normalized name: the version, and the file that pins it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    chosen = [*project["dependencies"], *(line for extra in extras for line in extra)]
    fitting = (ROOT / "constraints.txt").read_text().splitlines()
    made = {name: (version, "constraints.txt") for name, version in _pinned(fitting)}
    return made | {name: (version, "pyproject.toml") for name, version in _pinned(chosen)}


def _pinned(lines: list[str]) -> Iterator[tuple[str, str]]:
    for line in lines:
        if found := _PIN.fullmatch(line.split(";")[0].strip()):
            yield normalized(found[1]), found[2]


def normalized(name: str) -> str:
    """A package's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def lagging(outdated: str, pinned: Mapping[str, tuple[str, str]]) -> list[str]:
    """A line for each pin that is not the newest version.

    Args:
        outdated: JSON of `pip list --outdated`.
        pinned: see `pins`.
    """
    newest = {normalized(row["name"]): row["latest_version"] for row in json.loads(outdated)}
    rows = sorted((file, name, version) for name, (version, file) in pinned.items())
    rows.sort(key=lambda row: row[0] != "pyproject.toml")
    return [
        f"{file:16} {name:34} {version:22} -> {newest[name]}"
        for file, name, version in rows
        if newest.get(name, version) != version
    ]


def main() -> int:
    """Print them."""
    known = pins()
    found = lagging(sys.stdin.read(), known)
    print("\n".join([*found, f"{len(found)} of {len(known)} pins lag"]))
    return 0


if __name__ == "__main__":
    sys.exit(main())

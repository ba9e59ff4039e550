"""A user's Python file as a module: it may have any name and any neighbours, and replaces nothing.

A model may lie in ``numpy.py`` or beside a ``targets.py``. Libraries import more of their own all
the time; what they get then must be theirs. So a file whose name is taken becomes a module of
another name, and a neighbour is found before what is installed only where nothing needs the latter.
"""

import importlib.util
import re
import sys
from collections.abc import Sequence
from functools import cache
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

from harness.errors import UsageError

_OURS = {"harness", "targets", "farm", "reports"}


def import_file(path: Path) -> ModuleType:
    """Run a Python file as a module, which can import its neighbours.

    Raises:
        UsageError: it cannot be imported at all.
    """
    name = _free_name(path.stem)
    _find_neighbours(path.parent)
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UsageError(f"{path}: cannot be imported as a Python module")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # pickle and dataclasses look a class's module up by its name
    spec.loader.exec_module(module)
    return module


def _free_name(stem: str) -> str:
    """The file's own name where it is free, for the processes that it starts know it by that."""
    if not _is_taken(stem):
        return stem
    name, number = f"user_file_{stem}", 1
    while name in sys.modules:
        number += 1
        name = f"user_file{number}_{stem}"
    return name


def _is_taken(name: str) -> bool:
    if name in sys.modules or _is_needed(name) or _as_in_metadata(name) in _required():
        return True
    try:
        return name.isidentifier() and importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return True


def _find_neighbours(folder: Path) -> None:
    if str(folder) not in sys.path:
        sys.path.append(str(folder))  # processes that the user's code starts get this list
    sys.meta_path.insert(0, _Neighbours(str(folder)))


class _Neighbours(MetaPathFinder):
    """Finds the modules of one folder, but none in place of what libraries need."""

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The spec of a module in the folder; None for others to find it."""
        if path is not None:
            return None
        found = PathFinder.find_spec(fullname, [self._folder], target)
        if found is None or found.origin is None or _is_needed(fullname):
            return None
        return found


def _is_needed(name: str) -> bool:
    """Whether a top-level module is Python's, ours, or of something that others require."""
    if name in sys.stdlib_module_names or name in _OURS:
        return True
    owners = _owners().get(name, ())
    return any(_as_in_metadata(owner) in _required() for owner in owners)


@cache
def _owners() -> dict[str, list[str]]:
    from importlib.metadata import packages_distributions  # with the email package

    return dict(packages_distributions())


@cache
def _required() -> frozenset[str]:
    """All that installed distributions require or may use, installed or not."""
    from importlib.metadata import distributions

    lines = (line for one in distributions() for line in one.requires or ())
    names = (re.match(r"[A-Za-z0-9._-]+", line) for line in lines)
    return frozenset(_as_in_metadata(found[0]) for found in names if found)


def _as_in_metadata(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()

"""What other installed distributions add, through their entry points."""

from importlib.metadata import EntryPoint, entry_points
from typing import Protocol, TypeVar

from harness.errors import UsageError


class Named(Protocol):
    """Something that tables hold by its name."""

    @property
    def name(self) -> str:
        """What it goes by."""


One = TypeVar("One", bound=Named)


def with_additions(own: dict[str, One], group: str, kind: type[One]) -> dict[str, One]:
    """A table of ours, and what installed distributions add to it.

    Args:
        own: by name.
        group: of entry points, e.g. ``edgefarm.targets``; each points to a `kind`.

    Raises:
        UsageError: one of those cannot be loaded, is no `kind`, or takes a name that is in use.
    """
    table = dict(own)
    for entry in entry_points(group=group):
        one = _load(entry, kind)
        if one.name in table:
            raise UsageError(f"{_origin(entry)}: the name {one.name!r} is in use already")
        table[one.name] = one
    return table


def _load(entry: EntryPoint, kind: type[One]) -> One:
    try:
        found = entry.load()
    except Exception as error:
        raise UsageError(f"{_origin(entry)}: cannot be loaded: {error}") from error
    if not isinstance(found, kind):
        got = type(found).__name__
        raise UsageError(f"{_origin(entry)}: {entry.value} is a {got}, no {kind.__name__}")
    return found


def _origin(entry: EntryPoint) -> str:
    package = entry.dist.name if entry.dist else "an unnamed distribution"
    what = entry.group.rpartition(".")[2].removesuffix("s")
    return f"{what} {entry.name!r} of {package}"

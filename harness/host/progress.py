"""Progress: how long work tells what it is doing."""

from collections.abc import Callable

Progress = Callable[[str, int, int | None], None]
"""Called with (what is being done, steps done, steps in all or None when not known)."""


def no_progress(_stage: str, _done: int, _total: int | None) -> None:
    """Report to nobody."""

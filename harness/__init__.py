"""edgefarm's domain: contracts, quantization, the emulator, comparison, and the straight way
through them.

``harness.run``, ``harness.build`` and ``harness.load_runs`` are the public Python API; see
docs/python.md.
"""

from importlib import import_module

__version__ = "0.1.0"

_PUBLIC = ("build", "load_runs", "run")
"""Of `harness.api`, which puts all packages together and is imported when it is asked for."""


def __getattr__(name: str) -> object:
    """A name of the public API."""
    if name in _PUBLIC:
        return getattr(import_module("harness.api"), name)
    raise AttributeError(f"module 'harness' has no attribute {name!r}")

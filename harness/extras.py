"""Optional dependencies: say what to install when an extra is missing."""

from importlib.util import find_spec

from harness.errors import UsageError


def require_extra(extra: str, *modules: str) -> None:
    """Check that top-level modules of an extra are installed, without importing them.

    Raises:
        UsageError: one is missing; the message says how to install the extra.
    """
    missing = [module for module in modules if find_spec(module) is None]
    if missing:
        raise UsageError(
            f"this needs the Python package{'s' if len(missing) > 1 else ''} "
            f"{', '.join(missing)}; install with: pip install 'edgefarm[{extra}]'"
        )

"""Optional dependencies: say what to install when an extra is missing."""

from importlib.util import find_spec

from harness.errors import UsageError


def require_extra(extra: str, *modules: str) -> None:
    """Check that modules of an extra are installed, without importing them.

    Raises:
        UsageError: one is missing; the message says how to install the extra.
    """
    missing = [module for module in modules if not _is_installed(module)]
    if missing:
        raise UsageError(
            f"this needs the Python package{'s' if len(missing) > 1 else ''} "
            f"{', '.join(missing)}; install with: pip install 'edgefarm[{extra}]'"
        )


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # its package is missing
        return False

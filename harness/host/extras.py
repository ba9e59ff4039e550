"""Optional dependencies: say what to install when an extra is missing."""

from importlib.util import find_spec

from harness.errors import UsageError

_TORCH = (
    "torch itself comes with gigabytes of CUDA on most machines: install torch==2.13.0 before, "
    "from the index that PyTorch's install selector shows for CPU"
)


def require_extra(extra: str, *modules: str) -> None:
    """Check that modules of an extra are installed, without importing them.

    Raises:
        UsageError: one is missing; the message says how to install the extra.
    """
    missing = [module for module in modules if not _is_installed(module)]
    if missing:
        hint = f"; {_TORCH}" if "torch" in missing else ""
        raise UsageError(
            f"this needs the Python package{'s' if len(missing) > 1 else ''} "
            f"{', '.join(missing)}; install with: pip install 'edgefarm[{extra}]'{hint}"
        )


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # its package is missing
        return False

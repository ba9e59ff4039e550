"""Versions of the packages that lowerings use, and of this one: part of every cache key."""

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from harness.host.cache import sources_key

_TOOLS = (
    "torch",
    "litert-torch",
    "litert-converter",
    "litert-quantizer",
    "ai-edge-litert",
    "executorch",
    "torchao",
)


def tool_versions() -> dict[str, str]:
    """Installed versions; missing packages are left out."""
    versions = {}
    for name in _TOOLS:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


def own_sources() -> str:
    """Digest of this package's source: a change of the lowering makes new artifacts."""
    return sources_key(Path(__file__).parent)

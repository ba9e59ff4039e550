"""What was found out about a model, where its content is known without running any of its code.

That is so for the zoo, whose models are those of named packages, and for ``.pt2`` files. A ``.py``
may read whatever it likes: its model is opened anew each time.
"""

from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from harness.artifact import sha256_file
from harness.host.cache import content_key, default_cache, sources_key
from harness.model import Model
from harness.sources.references import Reference

_KIND = "models"
_FILE = "model.json"
_MODEL = TypeAdapter(Model)


def remembered(text: str, reference: Reference, describe: Callable[[], Model]) -> Model:
    """The description of a model: from the cache, or by `describe`, which takes seconds."""
    parts = _content(reference)
    if parts is None:
        return describe()
    sources = sources_key(Path(__file__).parent)
    key = content_key({"reference": str(reference), "sources": sources, **parts})
    stored = default_cache().entry(_KIND, key) / _FILE
    try:
        return replace(_MODEL.validate_json(stored.read_bytes()), reference=text)
    except (OSError, ValidationError):
        described = describe()
    with default_cache().fill(_KIND, key) as folder:
        (folder / _FILE).write_bytes(_MODEL.dump_json(described))
    return described


def _content(reference: Reference) -> dict[str, str] | None:
    """All that a model depends on; None where that cannot be told."""
    if reference.kind == ".pt2" and reference.path is not None:
        return {"file": sha256_file(reference.path), "torch": version("torch")}
    if reference.kind != "zoo":
        return None
    entry = import_module(f"harness.sources.zoo.{reference.name.replace('-', '_')}")
    packages = {name: version(name) for name in entry.PACKAGES}
    return {"zoo": Path(str(entry.__file__)).read_text("utf-8"), **packages}

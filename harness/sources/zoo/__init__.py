"""Models with data that packages carry, for demos and tests: ``zoo:NAME`` is a MODEL and a DATA.

An entry is one file: ``SUMMARY`` (one line), ``PACKAGES`` (the distributions that its model depends
on), ``model()`` returning (module, example inputs) and ``data()`` returning a `Dataset`. Its name
is the file's, with hyphens. Both run in isolation.
"""

import pkgutil


def zoo_names() -> tuple[str, ...]:
    """Names of all entries, sorted."""
    return tuple(sorted(info.name.replace("_", "-") for info in pkgutil.iter_modules(__path__)))

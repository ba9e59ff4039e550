"""What a recipe may cost: ``drop=1%,size=2MB,latency=5ms``."""

import math
import re
from dataclasses import dataclass

from harness.errors import UsageError

_FORM = re.compile(r"(drop|size|latency)\s*=\s*([0-9.]+)\s*([A-Za-z%]*)")
_UNITS: dict[str, dict[str, float]] = {
    "drop": {"%": 0.01, "": 0.01, "points": 0.01},
    "size": {"": 1.0, "B": 1.0, "kB": 1e3, "MB": 1e6, "KiB": 1024.0, "MiB": 1024.0**2},
    "latency": {"ms": 1.0, "": 1.0, "us": 1e-3, "s": 1e3},
}


@dataclass(frozen=True)
class Budget:
    """Attributes:
    drop: most that the score may be below the float model's, as a share of the samples.
    size: most bytes of the artifact.
    latency: most milliseconds of one invocation, the median.
    """

    drop: float = 0.01
    size: float = math.inf
    latency: float = math.inf


def parse_budget(text: str) -> Budget:
    """The budget that a person wrote; what is left out is not limited, but for a drop of 1 %.

    Raises:
        UsageError: it is no budget.
    """
    given: dict[str, float] = {}
    for part in filter(None, (one.strip() for one in text.split(","))):
        found = _FORM.fullmatch(part)
        unit = _UNITS[found[1]].get(found[3]) if found else None
        number = _number(found[2]) if found else None
        if found is None or unit is None or number is None:
            raise UsageError(
                f"--budget {text!r}: {part!r} is not drop=NUMBER%, size=NUMBER(kB|MB|KiB|MiB) or "
                "latency=NUMBER(ms|us|s)"
            )
        if found[1] in given:
            raise UsageError(f"--budget {text!r}: {found[1]} is given twice")
        given[found[1]] = number * unit
    return Budget(**given)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None

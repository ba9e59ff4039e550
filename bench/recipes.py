"""What each recipe makes of a model: size, score, fidelity, time; the table of docs/recipes.md.

python bench/recipes.py zoo:efficientnet-lite0 --target host-litert --update docs/recipes.md
"""

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

from farm.transports import connect
from harness.device import NO_DEVICE
from harness.host.cache import default_cache
from harness.prepare import open_for_tuning
from harness.quantize.reference import float_outputs
from harness.quantize.techniques import all_techniques
from harness.recipe import RECIPES
from harness.request import Request
from harness.tune.bench import Bench
from harness.tune.records import Trial
from targets import get_target

_BASES = ("static_wi8_ai8", "static_wi8_ai8_per_tensor")
_NARROW = "static_wi8_ai8 + bits(ops='conv linear', weights=4)"
_BEGIN, _END = "<!-- recipes -->", "<!-- end of recipes -->"


def recipes() -> Iterator[str]:
    """The named ones, every step alone on two of them, and 4-bit weights with every step."""
    yield from RECIPES
    steps = [name for name, one in all_techniques().items() if one.stage != "rules"]
    for base in (*_BASES, _NARROW):
        if base not in RECIPES:
            yield base
        for name in steps:
            yield f"{base} + {name}"


def table(model: str, target: str, chosen: list[str]) -> str:
    """Markdown, one row a recipe; those that the target refuses are left out."""
    request = Request(model, model, get_target(target), None)
    opened, cache = open_for_tuning(request), default_cache()
    in_float = float_outputs(opened.model, opened.samples.tuning, cache=cache)
    if in_float is None:
        raise SystemExit(f"{model} came quantized")
    bench = Bench(
        request, opened, in_float, NO_DEVICE, request.target, connect, cache, lambda *_: None
    )
    count = len(opened.samples.tuning[0])
    lines = [
        f"### {model} on {target}, {count} samples",
        "",
        "| recipe | bytes | score | SQNR dB | cosine | s |",
        "|---|---|---|---|---|---|",
    ]
    for recipe in chosen:
        began = time.monotonic()
        tried = bench.trial(recipe, "")
        took = time.monotonic() - began
        print(f"{recipe}: {tried}", flush=True)
        if isinstance(tried, Trial):
            made = tried.metrics
            lines.append(
                f"| {recipe} | {made.bytes:,} | {made.score_is} {made.score:.3f} "
                f"| {made.sqnr_db:.1f} | {made.cosine:.4f} | {took:.0f} |"
            )
    return "\n".join(lines) + "\n"


def update(path: Path, made: str) -> None:
    """Put a table among those of the file, in place of the one with the same heading."""
    head, rest = path.read_text().split(_BEGIN)
    old, tail = rest.split(_END)
    parts = [f"### {one}" for one in old.split("### ")[1:]]
    heading = made.split(",", maxsplit=1)[0]
    kept = [one for one in parts if one.split(",", maxsplit=1)[0] != heading]
    tables = "\n".join(one.strip() + "\n" for one in (*kept, made))
    path.write_text(f"{head}{_BEGIN}\n{tables}{_END}{tail}")


def main() -> None:
    """Print a table, and write it where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help="e.g. zoo:digits-cnn: one that brings its data")
    parser.add_argument("--target", default="host-litert")
    parser.add_argument("--recipe", action="append", help="only these; once for each")
    parser.add_argument("--update", type=Path, help="the document to put the table into")
    asked = parser.parse_args()
    made = table(asked.model, asked.target, asked.recipe or list(recipes()))
    print(made)
    if asked.update:
        update(asked.update, made)


if __name__ == "__main__":
    main()

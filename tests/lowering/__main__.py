"""`python -m tests.lowering`: lower, run and judge every kind of module; `--record` keeps that,
case by case, and writes the page of all that is kept.

Each case goes the straight way, `harness.evaluate`, as a user's model would. An hour on two cores.
"""

import argparse
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from rich.console import Console

from farm.inventory import host_device
from farm.transports import connect
from harness.errors import HarnessError
from harness.evaluate import evaluate
from harness.on_device.deploy import MeasurePlan
from harness.recipe import RECIPES
from harness.request import Request
from targets import get_target
from tests.lowering.catalogue import CASES, draw
from tests.lowering.table import Cell, cell_of, record, refused, write_table

CATALOGUE = Path(__file__).with_name("catalogue.py")
TARGETS = {"host-litert": "LiteRT", "host-executorch": "ExecuTorch"}
RECIPE = "static_wi8_ai8"
SAMPLES = 24
MEASURE = MeasurePlan(restarts=1, warmup_runs=0, timed_runs=1, min_time_s=0.0)


def write_samples(name: str, folder: Path) -> Path:
    """Seeded samples for a case."""
    entry, path = CASES[name], folder / f"{name}.npz"
    torch.manual_seed(1)
    columns = [
        torch.cat([draw(entry, shape) for _ in range(SAMPLES)]).numpy() for shape in entry.shapes
    ]
    arrays = {f"in{index}": np.ascontiguousarray(x) for index, x in enumerate(columns)}
    np.savez(path, **arrays)
    return path


def judge(name: str, target: str, folder: Path) -> Cell:
    """One case on one runtime."""
    request = Request(
        model=f"{CATALOGUE}:{name}",
        data=str(write_samples(name, folder)),
        target=get_target(target),
        recipe=RECIPES[RECIPE],
        device=host_device(),
        measure=MEASURE,
    )
    try:
        return cell_of(evaluate(request, connect))
    except HarnessError as error:
        return refused(str(error))


def run_all(names: list[str], workers: int) -> Iterator[tuple[str, dict[str, Cell]]]:
    """Every case on every runtime, in the catalogue's order."""
    with tempfile.TemporaryDirectory() as scratch, ThreadPoolExecutor(workers) as pool:
        waiting = {
            name: {
                runtime: pool.submit(judge, name, target, Path(scratch))
                for target, runtime in TARGETS.items()
            }
            for name in names
        }
        for name, runtimes in waiting.items():
            yield name, {runtime: future.result() for runtime, future in runtimes.items()}


def main() -> int:
    """Run; 1 when a case differs where it is promised exact."""
    parser = argparse.ArgumentParser(prog="python -m tests.lowering", description=__doc__)
    parser.add_argument("cases", nargs="*", default=list(CASES), help="default: all of them")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--record", action="store_true", help="write docs/modules.md")
    options = parser.parse_args()
    console, differs = Console(), False
    for name, cells in run_all(options.cases, options.workers):
        words = "; ".join(f"{runtime}: {cell.text}" for runtime, cell in cells.items())
        console.print(f"{CASES[name].title:36} {words}", markup=False, highlight=False)
        differs |= any(cell.differs for cell in cells.values())
        if options.record:
            write_table(record(name, cells), list(TARGETS.values()), RECIPE)
    return int(differs)


if __name__ == "__main__":
    raise SystemExit(main())

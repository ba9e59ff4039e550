"""What the native runner costs and saves beside the Python one, on one device that can run both.

    python bench/runners.py model.tflite --device kitchen-pi --rounds 5

Each round runs both, a whole process each; the table shows medians.
"""

import argparse
import statistics
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from farm.inventory import host_device, inventory_path, load_inventory
from farm.transports import connect
from harness.artifact import Artifact, TensorSpec, describe
from harness.device import Device, Transport
from harness.emulator.formats.tflite import read_tflite
from harness.emulator.graph import Array, Graph
from harness.on_device.deploy import NONE, DeviceRun, choose_runner, run_job
from harness.target import Runner, RunnerName
from harness.verify.random_inputs import random_inputs
from targets import get_target

CONSOLE = Console()
RUNNERS: tuple[RunnerName, ...] = ("python", "native")


@dataclass
class Cost:
    """Of one runner, a value for each round."""

    runner: Runner
    process_ms: list[float] = field(default_factory=list)
    load_ms: list[float] = field(default_factory=list)
    peak_mb: list[float] = field(default_factory=list)
    outputs: tuple[Array, ...] = ()

    def row(self) -> tuple[str, ...]:
        """Cells of the table."""
        pushed = sum(path.stat().st_size for path in self.runner.files)
        medians = (statistics.median(x) for x in (self.process_ms, self.load_ms, self.peak_mb))
        return (self.runner.name, f"{pushed / 1e6:.2f}", *(f"{value:.1f}" for value in medians))


class Stopwatch:
    """A transport that times the runner's process: the command that is neither shell nor rm."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self.run_ms = 0.0

    def __getattr__(self, name: str) -> object:
        return getattr(self._transport, name)

    def run(self, argv: tuple[str, ...], **options: object) -> object:
        """Run and time."""
        start = time.perf_counter()
        ended = self._transport.run(argv, **options)
        if argv[0] not in ("sh", "rm", "uname"):
            self.run_ms = (time.perf_counter() - start) * 1e3
        return ended


def artifact_of(path: Path, graph: Graph) -> Artifact:
    """The file with a manifest of its inputs and outputs."""
    specs = [
        tuple(TensorSpec(t.name, t.shape, t.dtype) for t in (graph.tensors[i] for i in indices))
        for indices in (graph.inputs, graph.outputs)
    ]
    return describe(path, "litert", path.name, *specs)


def measure(path: Path, device: Device, rounds: int) -> list[Cost]:
    """Run both runners in turns."""
    graph = read_tflite(path).main
    artifact, inputs = artifact_of(path, graph), random_inputs(graph, [0])
    target = get_target("host-litert" if device.transport == "local" else device.targets[0])
    with connect(device) as transport:
        watch = Stopwatch(transport)
        costs = [Cost(choose_runner(transport, target, name)) for name in RUNNERS]
        for _ in range(rounds):
            for cost in costs:
                done: DeviceRun = run_job(watch, cost.runner, artifact, inputs, NONE)
                result = done.results[0]
                cost.process_ms.append(watch.run_ms)
                cost.load_ms.append(result.load_ns / 1e6)
                cost.peak_mb.append((result.peak_rss_bytes or 0) / 1e6)
                cost.outputs = done.outputs
    return costs


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--device", help="of the inventory; this host without it")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    device = host_device()
    if options.device:
        device = load_inventory(inventory_path()).get_device(options.device)
    costs = measure(options.model, device, options.rounds)
    table = Table(title=f"{options.model.name} on {device.name}, medians of {options.rounds}")
    for heading in ("runner", "pushed, MB", "process, ms", "load, ms", "peak memory, MB"):
        table.add_column(heading, justify="right")
    for cost in costs:
        table.add_row(*cost.row())
    CONSOLE.print(table)
    equal = all(map(np.array_equal, costs[0].outputs, costs[1].outputs))
    CONSOLE.print(f"outputs bit-equal: {'yes' if equal else 'NO'}")


if __name__ == "__main__":
    main()

"""How fast the emulator is beside the runtimes it stands for: interleaved, medians, ratios.

    python bench/emulator.py model.tflite folder/ --rounds 9

Each round runs every engine once, so that whatever else the machine does falls on all of them.
"""

import argparse
import contextlib
import os
import platform
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ai_edge_litert.interpreter import Interpreter, OpResolverType
from rich.console import Console
from rich.table import Table

from harness.emulator import core
from harness.emulator.formats.tflite import read_tflite
from harness.emulator.graph import Array, Graph
from harness.emulator.interpreter import Emulator
from harness.emulator.profiles import get_profile
from harness.verify.random_inputs import EXTREMES, random_inputs

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.recorded import Recorded, Row

CONSOLE = Console()
OURS, REFERENCE, PRODUCTION = "edgefarm", "LiteRT BUILTIN_REF", "LiteRT XNNPACK"


@dataclass
class Engine:
    """One way to run a model: `run` takes `samples` of them."""

    name: str
    samples: int
    run: Callable[[], object]
    ms: list[float] = field(default_factory=list)

    @property
    def median_ms(self) -> float:
        """Per sample."""
        return statistics.median(self.ms)


def inputs_for(graph: Graph, samples: int) -> list[Array]:
    """Random inputs for a number of samples, each of the file's batch."""
    drawn = random_inputs(graph, range(samples))
    return [x[: len(x) * samples // (samples + EXTREMES)] for x in drawn]


def emulator_engines(graph: Graph, profile: str, batches: list[int]) -> Iterator[Engine]:
    """The emulator, prepared once, at each batch."""
    emulator = Emulator(graph, get_profile(profile))
    for batch in batches:
        inputs = inputs_for(graph, batch)
        yield Engine(f"{OURS}, batch {batch}", batch, lambda x=inputs: emulator.run(x))


def litert_engine(
    name: str, path: Path, graph: Graph, threads: int, resolver: OpResolverType
) -> Engine:
    """A LiteRT interpreter at the file's batch."""
    interpreter = Interpreter(
        model_path=str(path), num_threads=threads, experimental_op_resolver_type=resolver
    )
    interpreter.allocate_tensors()
    details = interpreter.get_input_details()
    for detail, x in zip(details, inputs_for(graph, 1), strict=True):
        interpreter.set_tensor(detail["index"], x)
    return Engine(name, 1, interpreter.invoke)


def tflm_engine(path: Path, graph: Graph) -> Engine | None:
    """The TFLM interpreter; None where the package is missing or the model does not fit it."""
    with contextlib.suppress(ImportError, RuntimeError, ValueError):
        from tflite_micro.python.tflite_micro import runtime

        interpreter = runtime.Interpreter.from_file(str(path), arena_size=64 << 20)
        for position, x in enumerate(inputs_for(graph, 1)):
            interpreter.set_input(x, position)
        interpreter.invoke()
        return Engine("TFLM", 1, interpreter.invoke)
    return None


def engines_for(path: Path, graph: Graph, options: argparse.Namespace) -> list[Engine]:
    """All engines that run this model."""
    threads = options.threads
    found = list(emulator_engines(graph, options.profile, options.batch))
    found += [
        litert_engine(PRODUCTION, path, graph, threads, OpResolverType.AUTO),
        litert_engine(
            "LiteRT built-in",
            path,
            graph,
            threads,
            OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        ),
        litert_engine(REFERENCE, path, graph, threads, OpResolverType.BUILTIN_REF),
    ]
    tflm = tflm_engine(path, graph)
    return [*found, tflm] if tflm else found


def measure(engines: list[Engine], rounds: int, least_ms: float) -> None:
    """Rounds over all engines; each time at least `least_ms`, per sample."""
    for engine in engines:
        engine.run()
    for _ in range(rounds):
        for engine in engines:
            calls, started = 0, time.perf_counter()
            while calls == 0 or (time.perf_counter() - started) * 1e3 < least_ms:
                engine.run()
                calls += 1
            engine.ms.append((time.perf_counter() - started) * 1e3 / calls / engine.samples)


def show(path: Path, engines: list[Engine]) -> None:
    """The table of one model; a ratio above 1 is faster than that column's engine."""
    by_name = {engine.name: engine for engine in engines}
    table = Table(title=path.name, title_justify="left")
    table.add_column("engine")
    for heading in ("ms / sample", "fastest", "x BUILTIN_REF", "x XNNPACK"):
        table.add_column(heading, justify="right")
    for engine in engines:
        table.add_row(
            engine.name,
            f"{engine.median_ms:.3f}",
            f"{min(engine.ms):.3f}",
            f"{by_name[REFERENCE].median_ms / engine.median_ms:.1f}",
            f"{by_name[PRODUCTION].median_ms / engine.median_ms:.2f}",
        )
    CONSOLE.print(table)


def show_breakdown(graph: Graph, profile: str, batch: int, rounds: int) -> None:
    """Where the emulator's time goes: per op, the least of some runs."""
    emulator, inputs = Emulator(graph, get_profile(profile)), inputs_for(graph, batch)
    runs = [emulator.run(inputs).node_ns for _ in range(rounds + 1)][1:]
    least_ns = [min(times) for times in zip(*runs, strict=True)]
    per_op: dict[str, list[int]] = defaultdict(list)
    for node, ns in zip(graph.nodes, least_ns, strict=True):
        per_op[node.op].append(ns)
    table = Table(title=f"where the time goes, batch {batch}", title_justify="left")
    for heading in ("op", "nodes", "ms / sample", "share"):
        table.add_column(heading, justify="left" if heading == "op" else "right")
    for op, times in sorted(per_op.items(), key=lambda item: -sum(item[1])):
        share = sum(times) / max(1, sum(least_ns))
        table.add_row(op, str(len(times)), f"{sum(times) / 1e6 / batch:.3f}", f"{share:.0%}")
    CONSOLE.print(table)


def ratios(path: Path, engines: list[Engine]) -> Iterator[Row]:
    """The emulator's rows of the recorded table."""
    by_name = {engine.name: engine for engine in engines}
    for engine in engines:
        if engine.name.startswith(OURS):
            yield Row(
                path.stem,
                engine.samples,
                by_name[REFERENCE].median_ms / engine.median_ms,
                by_name[PRODUCTION].median_ms / engine.median_ms,
            )


def model_files(paths: list[Path]) -> list[Path]:
    """The .tflite files named, those in named folders included."""
    files = [f for p in paths for f in (sorted(p.glob("*.tflite")) if p.is_dir() else [p])]
    return [f for f in files if "edgetpu" not in f.name]


def main() -> None:
    """Measure every model and print its tables."""
    given = os.environ.get("EDGEFARM_TEST_MODELS")
    machine = {"x86_64": "x86", "aarch64": "arm"}[platform.machine()]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("models", nargs="*", type=Path, default=[Path(given)] if given else [])
    parser.add_argument("--batch", nargs="+", type=int, default=[1, 32])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--least-ms", type=float, default=50.0, help="time per engine and round")
    parser.add_argument("--profile", default=f"litert-xnnpack-{machine}")
    parser.add_argument(
        "--record", type=Path, metavar="CSV", help="add the ratios to this table, by commit"
    )
    parser.add_argument("--breakdown", action="store_true", help="show the emulator's time per op")
    options = parser.parse_args()
    os.environ.setdefault("EDGEFARM_THREADS", str(options.threads))
    CONSOLE.print(f"core {core.level()}, {options.threads} threads, profile {options.profile}")
    table = Recorded(options.record, core.level(), options.threads) if options.record else None
    for path in model_files(options.models):
        graph = read_tflite(path).main
        engines = engines_for(path, graph, options)
        measure(engines, options.rounds, options.least_ms)
        show(path, engines)
        for row in ratios(path, engines) if table else ():
            for fall in table.add(row):
                CONSOLE.print(f"[bold red]slower[/]: {fall}")
        if options.breakdown:
            show_breakdown(graph, options.profile, max(options.batch), options.rounds)


if __name__ == "__main__":
    main()

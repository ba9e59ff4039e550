"""Whether the nightly regression detector raises false alarms, and what slowdowns it finds.

    python bench/regressions.py --nights 40

Each row is one noise: drawn, or recorded here by running the golden model night by night through
the real runner. Nothing changes in them (A/A), so that every "slower" or "faster" is a false alarm;
then the last two nights are slowed by 5 %. Exit code 1 when a figure is not reached.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from rich.progress import track  # noqa: E402  the tree is not installed

from bench.figures import Figure, print_figures  # noqa: E402
from bench.runners import artifact_of  # noqa: E402
from farm.golden import MODEL, SAMPLES  # noqa: E402
from farm.inventory import host_device  # noqa: E402
from farm.transports import connect  # noqa: E402
from harness.emulator.formats.tflite import read_tflite  # noqa: E402
from harness.on_device.deploy import MeasurePlan, run_job  # noqa: E402
from harness.on_device.latency import latency_from  # noqa: E402
from reports.regressions import MIN_NIGHTS, WANTED, WINDOW, judge_latest  # noqa: E402
from targets import get_target  # noqa: E402

Draw = Callable[[np.random.Generator, int], NDArray[np.float64]]
"""So many nights of a noise of standard deviation 1."""

SHAPES: dict[str, Draw] = {
    "normal": lambda random, n: random.normal(size=n),
    "long-tailed (t of 4)": lambda random, n: random.standard_t(4, n) / np.sqrt(2),
    "with busy nights": lambda random, n: random.normal(size=n) + 10 * (random.random(n) < 0.05),
    "skewed (gamma of 2)": lambda random, n: (random.gamma(2, size=n) - 2) / np.sqrt(2),
}
NOISES = (0.003, 0.01, 0.02, 0.04)
FALSE_ALARMS = 0.01
MISSED = 0.05
ONE_NIGHT = MeasurePlan(restarts=3, warmup_runs=5, timed_runs=50, min_time_s=0.0)


def judged(series: Iterable[NDArray[np.float64]]) -> tuple[Counter[str], Counter[str]]:
    """What is told of series of logarithms as they are, and with the last two nights slowed."""
    same, slowed = Counter[str](), Counter[str]()
    for x in series:
        nights = np.exp(x)
        same[judge_latest(list(nights)).verdict] += 1
        nights[-2:] *= 1 + WANTED
        change = judge_latest(list(nights))
        seen = "found" if change.verdict == "slower" else "missed"
        slowed["underpowered" if seen == "missed" and change.underpowered else seen] += 1
    return same, slowed


def figures(name: str, series: Iterable[NDArray[np.float64]]) -> list[Figure]:
    """Two rows: false alarms, and what became of a slowdown."""
    same, slowed = judged(series)
    alarms = (same["slower"] + same["faster"]) / same.total()
    missed = slowed["missed"] / slowed.total()
    told = ", ".join(f"{count / slowed.total():.1%} {what}" for what, count in slowed.items())
    return [
        Figure(f"{name}: false alarms of {same.total():,} nights", f"{alarms:.2%}",
               f"{FALSE_ALARMS:.0%}", alarms <= FALSE_ALARMS),
        Figure(f"{name}: slowed by {WANTED:.0%}", told, f"{MISSED:.0%} missed", missed <= MISSED),
    ]  # fmt: skip


def drawn(shape: Draw, noise: float, count: int, seed: int) -> Iterable[NDArray[np.float64]]:
    """Series of all lengths that are judged."""
    random = np.random.default_rng(seed)
    for _ in range(count):
        yield 15 + noise * shape(random, int(random.integers(MIN_NIGHTS + 2, WINDOW + 3)))


def record(nights: int) -> NDArray[np.float64]:
    """Logarithms of the nightly medians of the golden model on this host."""
    device, runner = host_device(), get_target("host-litert").runner
    artifact = artifact_of(MODEL, read_tflite(MODEL).main)
    with np.load(SAMPLES) as samples:
        inputs = [samples["in0"]]
    medians = []
    with connect(device) as transport:
        for _ in track(range(nights), "recording nights", transient=True):
            done = run_job(transport, runner, artifact, inputs, ONE_NIGHT)
            latency = latency_from(done.results, device)
            assert latency is not None  # noqa: S101  for readers: it was timed
            medians.append(latency.median_ns)
    return np.log(medians)


def redrawn(x: NDArray[np.float64], count: int, seed: int) -> Iterable[NDArray[np.float64]]:
    """The recorded nights in other orders, of all lengths that are judged."""
    random = np.random.default_rng(seed)
    for _ in range(count):
        longest = min(len(x), WINDOW + 2)
        yield random.permutation(x)[: int(random.integers(MIN_NIGHTS + 2, longest + 1))]


def measure(series: int, nights: int, seed: int) -> list[Figure]:
    """All rows."""
    found = []
    for name, shape in SHAPES.items():
        for noise in NOISES:
            found += figures(f"{name}, {noise:.1%}", drawn(shape, noise, series, seed))
    if nights:
        x = record(nights)
        title = f"recorded here ({nights} nights, {np.std(x, ddof=1):.1%})"
        found += figures(title, redrawn(x, series, seed))
    return found


def main() -> None:
    """Judge and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--series", type=int, default=1000, help="judged for each noise")
    parser.add_argument("--nights", type=int, default=40, help="recorded on this host; 0 for none")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    options = parser.parse_args()
    found = measure(options.series, options.nights, options.seed)
    sys.exit(print_figures("regression detector", found, as_json=options.json))


if __name__ == "__main__":
    main()

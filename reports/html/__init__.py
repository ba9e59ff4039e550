"""One self-contained report.html: no network, no scripts, nothing executed.

Every string comes from a model, a device or a file and is untrusted: the template escapes all of
them, and the page's content security policy forbids scripts and requests altogether.
"""

import datetime
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemBytecodeCache, FileSystemLoader, StrictUndefined
from markupsafe import Markup

import harness
from harness.errors import UsageError
from harness.host.cache import cache_folder
from harness.protocol import MachineState, OpTime
from harness.records import Outcome, Run, TensorComparison, TensorCost
from reports import plots, words
from reports.beside_float import comparisons, said_of_speed
from reports.regressions import latest_changes

_HERE = Path(__file__).parent
_MOST_ROWS = 400
_MOST_OPS = 12


@dataclass(frozen=True)
class Page:
    """One run as the template shows it.

    Attributes:
        run: the run.
        anchor: of its section.
        inside: compared tensors in execution order, outputs included.
        around: of these, the first that differs and its neighbours.
        costs: by tensor in execution order.
        ops: the slowest nodes of the first profiled restart.
        histogram, growth, sqnr, latency: drawings; empty where there is nothing to draw.
    """

    run: Run
    anchor: str
    inside: tuple[TensorComparison, ...]
    around: tuple[TensorComparison, ...]
    costs: tuple[TensorCost, ...]
    ops: tuple[OpTime, ...]
    histogram: Markup
    growth: Markup
    sqnr: Markup
    latency: Markup


def write_report(runs: Sequence[Run], path: Path) -> Path:
    """Write the report of some runs, whole or not at all.

    Returns:
        The path.

    Raises:
        UsageError: the file cannot be written.
    """
    partial = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(render(runs), encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        raise UsageError(f"report {path}: cannot be written: {error.strerror}") from error
    return path


def render(runs: Sequence[Run]) -> str:
    """The report as HTML."""
    environment = Environment(
        loader=FileSystemLoader(_HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        bytecode_cache=_compiled(),
    )
    environment.globals.update(words=words, most_rows=_MOST_ROWS, Outcome=Outcome)
    environment.filters.update(shown=words.printable, fastest=_fastest_mhz, hottest=_hottest)
    environment.globals.update(series=latest_changes(runs), draws=plots.available())
    environment.globals.update(recipe_of=words.recipes(runs))
    environment.globals.update(groups=comparisons(runs), said_of_speed=said_of_speed)
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
    counts = Counter(run.outcome for run in runs)
    return environment.get_template("report.html.j2").render(
        pages=[_page(run, f"run-{number}") for number, run in enumerate(runs, 1)],
        counts=[(outcome, counts[outcome]) for outcome in Outcome if counts[outcome]],
        style=Markup((_HERE / "style.css").read_text(encoding="utf-8")),  # noqa: S704  our own file
        now=now,
        version=harness.__version__,
    )


def _compiled() -> FileSystemBytecodeCache | None:
    """Where compiled templates are kept, which takes longer than to fill them in; None where the
    cache cannot be written."""
    folder = cache_folder() / "templates"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return FileSystemBytecodeCache(str(folder)) if os.access(folder, os.W_OK) else None


def _page(run: Run, anchor: str) -> Page:
    """Put a run's tensors in order and draw its plots."""
    inside = _in_execution_order(run)
    node_of = {one.name: one.node for one in inside if one.node is not None}
    costs = () if run.cost is None else run.cost.tensors
    costs = tuple(sorted(costs, key=lambda cost: node_of.get(cost.name, -1)))
    first = run.exactness.first_divergence if run.exactness else None
    judged = [one for one in inside if one.promise != "float"]
    differing = any(one.differing for one in judged)
    finite = sum(abs(cost.sqnr_db) != float("inf") for cost in costs)
    draws = plots.available()
    # What altair and Vega draw is escaped by them.
    return Page(
        run=run,
        anchor=anchor,
        inside=inside,
        around=_around(inside, first),
        costs=costs,
        ops=words.slowest_ops(run)[:_MOST_OPS],
        histogram=Markup(plots.lsb_histogram(first) if draws and first and first.differing else ""),  # noqa: S704
        growth=Markup(plots.growth(judged) if draws and differing and len(judged) > 2 else ""),  # noqa: S704
        sqnr=Markup(plots.sqnr(costs) if draws and finite > 2 else ""),  # noqa: S704
        latency=Markup(plots.latency(run.latency) if draws and run.latency else ""),  # noqa: S704
    )


def _in_execution_order(run: Run) -> tuple[TensorComparison, ...]:
    """Outputs and intermediates of the comparison, by node."""
    if run.exactness is None:
        return ()
    compared = (*run.exactness.intermediates, *run.exactness.outputs)
    return tuple(sorted(compared, key=lambda one: -1 if one.node is None else one.node))


def _around(
    inside: tuple[TensorComparison, ...], first: TensorComparison | None
) -> tuple[TensorComparison, ...]:
    """A few tensors before the first diverging one, and those that follow."""
    at = next((i for i, one in enumerate(inside) if first and one.tensor == first.tensor), None)
    return () if at is None else inside[max(0, at - 2) : at + 6]


def _fastest_mhz(state: MachineState) -> str:
    """Frequency of the fastest core."""
    fastest = max(state.frequencies_khz, default=None)
    return "-" if fastest is None else f"{fastest / 1000:,.0f}"


def _hottest(state: MachineState) -> str:
    """Temperature and name of the hottest zone."""
    zones = state.temperatures_millidegree
    if not zones:
        return "-"
    zone = max(zones, key=lambda name: zones[name])
    return f"{zones[zone] / 1000:.1f} ({words.printable(zone, 24)})"

"""Tables for the terminal: several runs at a glance, and one run in full."""

from collections.abc import Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from harness.placement import Placement
from harness.records import Accuracy, Latency, Outcome, Run, TensorComparison
from reports import words
from reports.beside_float import Beside, said_of_speed
from reports.regressions import Series

STYLES = {
    Outcome.PASS: "bold green",
    Outcome.WARN: "bold yellow",
    Outcome.FAIL: "bold red",
    Outcome.ERROR: "bold magenta",
    Outcome.TIMEOUT: "bold blue",
    Outcome.CANCELLED: "dim",
}
_VERDICT_STYLES = {"exact": "green", "differs": "red", "assumed": "yellow", "unknown": "yellow"}
_CHANGE_STYLES = {
    "slower": "red",
    "faster": "green",
    "suspect": "yellow",
    "steady": "",
    "underpowered": "dim",
}
_SHOWN_TENSORS = 10
_SHOWN_OPS = 5
_BAR_CHARS = 40
_LONGEST_REASON = 4000
"""Of a line: far above any that edgefarm words itself; what others said is cut to this."""


def runs_table(runs: Sequence[Run]) -> Table:
    """One row for each run."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("Outcome", no_wrap=True)
    for header in ("Model, recipe, device", "Right", "Fast"):
        table.add_column(header, overflow="fold")
    called = words.recipes(runs)
    for run in runs:
        exactness = Text(words.exactness(run.exactness), style=_exactness_style(run))
        table.add_row(
            outcome_text(run.outcome),
            _identity_lines(run, called(run)),
            Text("\n").join([exactness, *_accuracy_lines(run), *_judged_lines(run)]),
            Text("\n".join(_time_lines(run)) or "-"),
        )
    return table


def nights_table(series: Sequence[Series]) -> Table:
    """The latest latency of each model on each device against the nights before."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for header in ("Model, recipe, device", "Latest", "Against the nights before"):
        table.add_column(header, overflow="fold")
    for one in series:
        table.add_row(
            Text(words.series(one)),
            words.duration(one.change.latest_ns),
            Text(words.latency_change(one.change), style=_CHANGE_STYLES[one.change.verdict]),
        )
    return table


def recipes_table(group: Sequence[Beside]) -> Table:
    """Recipes beside each other, one row each; right at 80 columns."""
    labelled = any(one.run.accuracy and one.run.accuracy.top1 for one in group)
    # Without padding on the left the longest named recipe has room for its name.
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("Recipe", overflow="fold")
    for header in ("Top-1" if labelled else "As float", "Drop", "Size", "Latency", "Memory"):
        table.add_column(header, justify="right", no_wrap=True)
    for one in group:
        name = Text(one.called.replace(" + ", "\n+ "))
        drop = one.run.accuracy.drop if one.run.accuracy else None
        time = one.run.latency
        latency = [] if time is None else [words.duration(time.median_ns)]
        if time is not None and not time.representative:
            latency.append(f"({words.mark_word(time)})")
        if one.ratio is not None:
            latency.append(f"{one.ratio:.3g}x float")
        table.add_row(
            Text("\n").join([name, outcome_text(one.run.outcome)]),
            "-" if one.accuracy is None else words.percent(one.accuracy.value),
            "-" if drop is None or one.in_float is None else f"{100 * drop.value:+.1f} pts",
            words.size(one.run.manifest.bytes if one.run.manifest else None),
            Text("\n".join(latency) or "-", style="red" if one.slower else ""),
            words.size(one.peak_bytes),
        )
    return table


def recipes_detail(group: Sequence[Beside]) -> RenderableType:
    """The table, what is slower than float and why, and why a run is not PASS."""
    first = group[0].run
    where = f"on {words.device(first)}" if first.on_device else "no device, emulated"
    head = Text(words.printable(words.model_name(first)), style="bold")
    head.append(f"  {where} ({words.printable(first.target)})", style="not bold")
    parts: list[RenderableType] = [head, recipes_table(group)]
    parts += [_bullet(told, "yellow") for told in said_of_speed(group)]
    for one in group:
        reasons = words.reasons(one.run)
        failure = one.run.failure
        told = [*reasons, *([f"{failure.kind}: {failure.message}"] if failure else [])]
        style = STYLES[one.run.outcome]
        parts += [_bullet(f"{one.called}: {one.run.outcome}: {reason}", style) for reason in told]
    notes = dict.fromkeys(note for one in group for note in one.run.notes)
    return Group(*parts, *(_bullet(note, "dim") for note in notes))


def outcome_text(outcome: Outcome) -> Text:
    """The outcome as symbol and word, coloured."""
    return Text(f"{words.SYMBOLS[outcome]} {outcome}", style=STYLES[outcome])


def run_detail(run: Run) -> RenderableType:
    """Everything that a person at a terminal asks of one run."""
    outcome = Text(f"{words.SYMBOLS[run.outcome]} {words.outcome(run)}", style=STYLES[run.outcome])
    head = Text.assemble(outcome, "  ", (words.title(run), "bold"))
    where = f"on {words.device(run)}" if run.on_device else words.device(run)
    head.append(f"  {where} ({words.printable(run.target)})")
    parts: list[RenderableType] = [head]
    parts += [_bullet(reason, STYLES[run.outcome]) for reason in words.reasons(run)]
    if run.outcome is not Outcome.WARN:
        parts += [_bullet(f"looks wrong: {one}", STYLES[Outcome.WARN]) for one in run.warnings]
    if run.failure is not None:
        parts.append(_bullet(f"{run.failure.kind}: {run.failure.message}", STYLES[run.outcome]))
    parts += [_bullet(note, "dim") for note in run.notes]
    parts += _placement_part(run)
    parts += _exactness_part(run)
    parts += _cost_part(run)
    if run.accuracy is not None:
        parts += [_heading(f"Accuracy, {words.origin(run)}"), _indented(_accuracy_table(run))]
    if run.latency is not None or run.host_latency is not None or run.emulator_ns is not None:
        parts += [_heading("Time of one invocation"), _indented(_time_table(run))]
    if run.manifest is not None:
        size = words.size(run.manifest.bytes)
        if words.reached(run):
            parts.append(_bullet(words.printable(words.reached(run), 600), "dim"))
        parts.append(_bullet(f"artifact sha256 {run.manifest.sha256} ({size})", "dim"))
    return Group(*parts)


def comparison_table(compared: Sequence[TensorComparison], title: str | None = None) -> Table:
    """Tensors compared element by element, e.g. of two `.npz` files."""
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("Tensor", overflow="fold")
    made = any(one.node is not None for one in compared)
    if made:
        table.add_column("Made by", overflow="fold")
    for header in ("Elements", "Differing", "Largest"):
        table.add_column(header, justify="right")
    table.add_column("First difference, or why not compared", overflow="fold")
    for one in compared:
        style = "red" if one.differing and one.promise != "float" else ""
        style = "yellow" if one.differing is None else style
        node = "" if one.node is None else f"{one.node} {words.printable(one.op or '')}"
        table.add_row(
            Text(words.tensor(one.name)),
            *([Text(node)] if made else []),
            words.count(one.elements),
            words.count(one.differing),
            "" if one.max_lsb is None else f"{one.max_lsb:,} {words.unit((one,))}",
            Text(words.example(one)),
            style=style,
        )
    return table


def placement_table(placed: Sequence[Placement]) -> Table:
    """Ops with where they run and why."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("Node", justify="right")
    for header in ("Op", "Output", "Where", "Why"):
        table.add_column(header, overflow="fold")
    for one in placed:
        table.add_row(
            str(one.node),
            Text(words.printable(one.op)),
            Text(words.tensor(one.output)),
            one.where,
            Text(words.printable(one.why, 400)),
            style="red" if one.where == "none" else "",
        )
    return table


def _placement_part(run: Run) -> list[RenderableType]:
    report = run.placement
    if report is None:
        return []
    parts: list[RenderableType] = [
        _heading("Placement"),
        _indented(Text(words.placement(report))),
        *(_bullet(note, "dim") for note in report.notes),
    ]
    if report.left:
        parts.append(_indented(placement_table(report.left_ops[:_SHOWN_TENSORS])))
    return parts


def _exactness_part(run: Run) -> list[RenderableType]:
    found = run.exactness
    if not run.on_device and found is not None:
        return _distances_part(run, found.reason)
    if found is None:
        return []
    said = words.exactness(found).removeprefix(f"{found.verdict}: ")
    verdict = Text(f"{found.verdict}: {said}", style=_exactness_style(run))
    parts: list[RenderableType] = [_heading("Device against emulator"), _indented(verdict)]
    if found.first_divergence is None and found.reason and found.verdict != "unknown":
        parts.append(_indented(Text(words.printable(found.reason, 400))))
    if found.first_divergence is not None:
        parts.append(_indented(Text(words.divergence(found.first_divergence))))
        parts.append(_indented(histogram_text(found.first_divergence)))
    if words.traced(run):
        parts.append(_indented(Text(words.traced(run), style="dim")))
    parts.append(_indented(comparison_table(found.outputs)))
    worse = [one for one in found.intermediates if one.differing and one.promise != "float"]
    if worse:
        title = f"tensors inside that differ: {len(worse)} of {len(found.intermediates)} compared"
        if len(worse) > _SHOWN_TENSORS:
            title += f", the first {_SHOWN_TENSORS}:"
        parts.append(_indented(comparison_table(worse[:_SHOWN_TENSORS], title)))
    return parts


def _distances_part(run: Run, reason: str) -> list[RenderableType]:
    """Without a device: what stood in, and how far related machines are from it."""
    parts: list[RenderableType] = [
        _heading(f"Emulated by {words.printable(run.emulated_by)}"),
        _indented(Text(words.printable(reason), style="yellow")),
    ]
    for found in run.distances:
        against = f"{words.printable(found.against)} against {words.printable(found.profile)}"
        parts.append(_indented(Text(f"{against}: {words.distance(found)}")))
        parts.append(_indented(Text(words.printable(found.why, 400), style="dim")))
    return parts


def histogram_text(one: TensorComparison) -> Text:
    """How far the elements are off, as bars; ±17 holds everything beyond ±16."""
    most = max((count for step, count in one.histogram if step), default=1)
    lines = []
    for step, count in one.histogram:
        label = words.histogram_label(step)
        # The equal ones would leave no room for the others.
        bar = "" if step == 0 else "█" * max(1, round(_BAR_CHARS * count / most))
        lines.append(f"{label:>5} {words.unit((one,))} {count:>12,} {bar}")
    return Text("\n".join(lines))


def _cost_part(run: Run) -> list[RenderableType]:
    if run.cost is None or not run.cost.tensors:
        return []
    worst = sorted(run.cost.tensors, key=lambda tensor: tensor.sqnr_db)[:_SHOWN_TENSORS]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("Tensor", overflow="fold")
    table.add_column("SQNR", justify="right")
    table.add_column("Cosine", justify="right")
    for tensor in worst:
        table.add_row(
            Text(words.tensor(tensor.name)),
            words.decibels(tensor.sqnr_db),
            f"{tensor.cosine:.6f}",
        )
    reference = Text(f"reference: {words.printable(run.cost.reference)}", style="dim")
    by = f" (emulated by {words.printable(run.emulated_by)})" if run.emulated_by else ""
    inside = f"; {words.traced(run)}" if words.traced(run) else ""
    title = f"Emulator against float: what quantization cost, worst tensors first{by}{inside}"
    return [_heading(title), _indented(reference), _indented(table)]


def _accuracy_table(run: Run) -> Table:
    table, accuracy = _plain_table(), run.accuracy or Accuracy(0)
    emulated = "" if run.on_device else f", emulated by {words.printable(run.emulated_by)}"
    for name, proportion in (
        (f"top-1{emulated}", accuracy.top1),
        (f"top-5{emulated}", accuracy.top5),
        ("top-1 of the float model", accuracy.float_top1),
        (f"same class as the float model{emulated}", accuracy.agreement),
    ):
        if proportion is not None:
            table.add_row(name, words.share(proportion))
    if accuracy.drop is not None:
        table.add_row("top-1 lost against the float model", words.points(accuracy.drop))
    if accuracy.scored:
        table.add_row("scored", words.printable(accuracy.scored, 300))
    table.add_row("samples", f"{accuracy.samples:,}; intervals are 95 %")
    return table


def _time_table(run: Run) -> Table:
    table = _plain_table()
    for name, measured in (("device", run.latency), ("host runtime", run.host_latency)):
        if measured is not None:
            table.add_row(name, Text(_spread(measured)))
    if run.emulator_ns is not None:
        table.add_row("emulator", f"{words.duration(run.emulator_ns)} for one sample")
    for place, op in enumerate(words.slowest_ops(run)[:_SHOWN_OPS]):
        node = "" if op.node is None else f"node {op.node}, "
        each = f"{node}{words.printable(op.op)}: {words.duration(op.total_ns / (op.runs or 1))}"
        table.add_row("" if place else "slowest steps", Text(each))
    return table


def _spread(measured: Latency) -> str:
    low, high = (words.duration(bound) for bound in measured.interval_ns)
    said = (
        f"median {words.duration(measured.median_ns)} (95 %: {low} to {high}), "
        f"p90 {words.duration(measured.p90_ns)}, p99 {words.duration(measured.p99_ns)}; "
        f"{words.plural(sum(map(len, measured.samples_ns)), 'run')} in "
        f"{words.plural(len(measured.samples_ns), 'restart')}"
    )
    return f"{said}; {words.printable(measured.remark, 200)}" if measured.remark else said


def _plain_table() -> Table:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim")
    table.add_column()
    return table


def _identity_lines(run: Run, recipe: str) -> Text:
    unit = f"{words.device(run)}, {words.printable(run.target)}"
    return Text.assemble(
        words.printable(words.model_name(run)),
        *([f"\n{recipe}"] if run.recipe else []),
        (f"\n{unit}", "dim"),
    )


def _accuracy_lines(run: Run) -> list[Text]:
    lines, accuracy = [], run.accuracy
    emulated = "" if run.on_device else f", emulated by {words.printable(run.emulated_by)}"
    if accuracy is not None and accuracy.top1 is not None:
        low, high = (f"{100 * bound:.0f}" for bound in (accuracy.top1.low, accuracy.top1.high))
        lines.append(f"top-1 {words.percent(accuracy.top1.value)} ({low} to {high}){emulated}")
    if accuracy is not None and accuracy.agreement is not None:
        lines.append(f"as float {words.percent(accuracy.agreement.value)}{emulated}")
    return [Text(line) for line in lines]


def _judged_lines(run: Run) -> list[Text]:
    said = words.beside_outcome(run)
    style = STYLES[run.outcome] if run.outcome is Outcome.WARN else "dim"
    return [Text(said, style=style)] if said else []


def _time_lines(run: Run) -> list[str]:
    lines = []
    if run.latency is not None:
        lines.append(words.latency(run.latency))
    if run.host_latency is not None:
        lines.append(f"host {words.latency(run.host_latency)}")
    if run.emulator_ns is not None:
        lines.append(f"emulator {words.duration(run.emulator_ns)}")
    return lines


def _exactness_style(run: Run) -> str:
    return "dim" if run.exactness is None else _VERDICT_STYLES.get(run.exactness.verdict, "")


def _heading(text: str) -> Text:
    return Text(f"\n{text}", style="bold")


def _indented(content: RenderableType) -> Padding:
    return Padding(content, (0, 0, 0, 2))


def _bullet(text: str, style: str) -> Padding:
    lines = "\n".join(words.printable(line, _LONGEST_REASON) for line in text.splitlines())
    return _indented(Text(f"· {lines}", style=style))

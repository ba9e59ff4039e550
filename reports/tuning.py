"""A search for a recipe in the terminal: each trial in a line, the front, what to take."""

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from harness.host.wording import first_line
from harness.tune.records import Metrics, Recommended, Refused, Trial, Tuning
from reports import words

_NS_PER_MS = 1e6


def trial_line(trial: Trial | Refused) -> str:
    """One recipe as soon as it was tried."""
    said = (
        _metrics(trial.metrics)
        if isinstance(trial, Trial)
        else f"not judged: {first_line(trial.reason)}"
    )
    return f"{trial.recipe}: {said}"


def tuning_detail(found: Tuning) -> RenderableType:
    """What a person at a terminal asks, the answer first; right at 80 columns."""
    device = f" on {found.device}" if found.device else ""
    head = f"{words.printable(found.model)} · {found.target}{device}"
    parts: list[RenderableType] = [Text(head, style="bold"), *_answer(found.recommended)]
    judged = f"{words.plural(len(found.trials), 'recipe')} tried on {found.samples} samples"
    by = f", judged by {found.judged_by}" if found.judged_by else ""
    parts += [Text(f"{judged}{by}; {found.stopped}"), _front(found)]
    parts += [Text(f"note: {note}", style="dim") for note in found.notes]
    return Group(*parts)


def _answer(taken: Recommended | None) -> list[RenderableType]:
    if taken is None:
        return [Text("no recipe could be judged", style="bold red")]
    style = "bold green" if taken.within_budget else "bold yellow"
    verdict = "take" if taken.within_budget else "nothing is within the budget; the nearest is"
    lines = [Text.assemble((f"{verdict} ", style), taken.recipe)]
    indented = [_metrics(taken.metrics)]
    scores = (
        f", {name} {words.percent(value)}"
        for name, value in taken.evaluated.items()
        if isinstance(value, float)
    )
    evaluated = f"{taken.evaluated['outcome']}{''.join(scores)}"
    indented += [
        f"on {taken.evaluated['samples']} samples that chose nothing: {evaluated}",
        f"recipe: {taken.file}",
        taken.command,
    ]
    return [*lines, *(Padding(Text(line), (0, 0, 0, 2)) for line in indented)]


def _front(found: Tuning) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    table.add_column("No other is better in all of this", overflow="fold", ratio=1)
    for header in ("Score", "SQNR", "Size", "Time"):
        table.add_column(header, justify="right", no_wrap=True)
    for trial in found.front:
        table.add_row(Text(trial.recipe), *_columns(trial.metrics))
    return table


def _columns(metrics: Metrics) -> tuple[str, str, str, str]:
    score = f"{metrics.score:.4f}" if metrics.score_is == "cosine" else words.percent(metrics.score)
    latency = None if metrics.latency_ms is None else metrics.latency_ms * _NS_PER_MS
    return (
        score,
        words.decibels(metrics.sqnr_db),
        words.size(metrics.bytes),
        words.duration(latency) if latency is not None else "-",
    )


def _metrics(metrics: Metrics) -> str:
    score, sqnr, size, latency = _columns(metrics)
    time = "" if latency == "-" else f", {latency}"
    return f"{metrics.score_is} {score}, {sqnr}, cosine {metrics.cosine:.4f}, {size}{time}"

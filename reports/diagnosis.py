"""A diagnosis in the terminal: the ranking, and of the worst layers why and what helps."""

from collections.abc import Iterator

from rich import box
from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from harness.judge.diagnosis.records import Diagnosis, LayerDiagnosis, Loss
from reports import words

_MOST_ROWS = 12
_MOST_EXPLAINED = 3
_LEAST_SHARE = 0.01


def diagnosis_tables(found: Diagnosis) -> Iterator[RenderableType]:
    """What a person at a terminal asks, in parts; right at 80 columns."""
    head = f"{words.printable(found.model)} · {words.printable(found.recipe)} · {found.target}"
    yield Text(head, style="bold")
    yield Text(
        f"loss at the outputs, on {found.samples} of {found.calibration} calibration samples"
    )
    yield _totals(found)
    yield Text()
    yield _ranking(found)
    for number, layer in enumerate(_explained(found), 1):
        yield _explanation(number, layer)


def _totals(found: Diagnosis) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    total = found.total
    exact = f"not known: {total.exact_by}" if total.exact is None else _loss(total.exact)
    table.add_row("  by the artifact's integers", Text(exact))
    table.add_row("  simulated", Text(_loss(total.simulated)))
    return table


def _loss(loss: Loss) -> str:
    said = f"{words.decibels(loss.sqnr_db)}, cosine {loss.cosine:.4f}"
    if loss.agreement is None:
        return said
    return f"{said}, same class {words.percent(loss.agreement)}"


def _ranking(found: Diagnosis) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    table.add_column("Layer", overflow="fold", ratio=1)
    for header in ("Share", "Alone\ndB", "Gain\ndB", "Own\ndB"):
        table.add_column(header, justify="right", no_wrap=True)
    table.add_column("Cause", no_wrap=True)
    for layer in found.layers[:_MOST_ROWS]:
        table.add_row(
            Text(words.printable(layer.module)),
            _percent(layer.share),
            _number(layer.alone.sqnr_db),
            f"{layer.regained_db:+.1f}",
            _number(layer.added_sqnr_db),
            "-" if layer.cause == "none" else layer.cause,
        )
    rest = found.layers[_MOST_ROWS:]
    if rest:
        share = _percent(sum(layer.share for layer in rest))
        table.add_row(f"{len(rest)} more", share, "", "", "", "", style="dim")
    return table


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _number(sqnr_db: float) -> str:
    return words.decibels(sqnr_db).removesuffix(" dB")


def _explained(found: Diagnosis) -> list[LayerDiagnosis]:
    worst = found.layers[:_MOST_EXPLAINED]
    return [layer for layer in worst if layer.share >= _LEAST_SHARE and layer.cause != "none"]


def _explanation(number: int, layer: LayerDiagnosis) -> RenderableType:
    said = Text.assemble(f"{number}. ", (words.printable(layer.module), "bold"), f": {layer.why}")
    if layer.channels:
        said.append(f"; channels {', '.join(map(str, layer.channels))}")
    if layer.step:
        said.append(f"\ntry {layer.step}:\n{layer.command}")
    else:
        said.append("\nno step of this target addresses it")
    return Padding(said, (0, 0, 0, 2))

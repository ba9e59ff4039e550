"""Words: how reports say numbers, verdicts and places. The terminal and the page say the same.

Names come from model files and devices, so every one passes through `printable` before it is
shown.
"""

from collections import Counter
from collections.abc import Callable, Iterable

from harness.host.wording import short_name, told_apart
from harness.placement import PlacementReport
from harness.protocol import OpTime
from harness.quantize.reached import reached_line
from harness.records import (
    Distance,
    Exactness,
    Latency,
    Outcome,
    Proportion,
    Run,
    TensorComparison,
)
from reports.regressions import MIN_NIGHTS, Change, Series

SYMBOLS = {
    Outcome.PASS: "✓",
    Outcome.WARN: "⚠",
    Outcome.FAIL: "✗",
    Outcome.ERROR: "!",
    Outcome.TIMEOUT: "⧗",
    Outcome.CANCELLED: "○",
}
"""Beside the word and the colour, so that neither is needed to read an outcome."""

VERDICT_MEANINGS = {
    "exact": "Every output integer is the one the emulator computed, by verified arithmetic only.",
    "differs": "The device computed something else than the emulator, where exact is promised.",
    "assumed": "The emulator's arithmetic for part of this graph is assumed, not verified.",
    "float": "Part of the graph computes in floating point, which is not promised bit for bit.",
    "unknown": "The outputs could not be compared; this is not a pass.",
}

_LONGEST_NAME = 120


def printable(text: str, limit: int = _LONGEST_NAME) -> str:
    """The text without control, bidirectional and other invisible characters (they are shown as
    escapes), cut in the middle to `limit` characters."""
    shown = text if len(text) <= limit else f"{text[: limit // 2 - 1]}…{text[-limit // 2 :]}"
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in shown
    )


def count(number: int | None) -> str:
    """``12,000``; a dash for None."""
    return "-" if number is None else f"{number:,}"


def latency_change(found: Change) -> str:
    """What a night's latency is against those before it, in one line."""
    before = f"{duration(found.expected_ns)} over {plural(found.nights, 'night')} before"
    told = f"{found.verdict}: {found.ratio:+.1%} against {before}"
    if found.nights < MIN_NIGHTS:
        return f"{told}; a verdict needs {MIN_NIGHTS}"
    if found.verdict == "suspect":
        told += "; another such night confirms it"
    if found.underpowered and found.verdict not in {"slower", "faster"}:
        return f"{told}; only {percent(found.detectable)} or more would surely be seen"
    return f"{told}; p = {found.p:.2g}"


def series(one: Series) -> str:
    """Model, recipe and device of a series of nights."""
    return " · ".join(printable(part) for part in (one.model, one.recipe, one.device) if part)


def duration(ns: float | None) -> str:
    """A time with three significant digits in the unit that suits it, e.g. ``5.12 ms``."""
    if ns is None:
        return "-"
    name, scale = time_unit(ns)
    value = ns / scale
    if scale == 1:
        return f"{value:.0f} {name}"
    return f"{value:,.0f} {name}" if value >= 99.95 else f"{value:#.3g} {name}"


def time_unit(ns: float) -> tuple[str, float]:
    """The unit that suits a time, and its nanoseconds."""
    for name, scale in (("s", 1e9), ("ms", 1e6), ("µs", 1e3)):
        # 999.5 µs would print as 1000 µs.
        if ns >= scale * 0.9995:
            return name, scale
    return "ns", 1


def plural(number: int, thing: str) -> str:
    """``1 restart``, ``5 restarts``."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def size(number: int | None) -> str:
    """A number of bytes, e.g. ``3.42 MiB``."""
    if number is None:
        return "-"
    for unit, scale in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if number >= scale:
            return f"{number / scale:.4g} {unit}"
    return f"{number} B"


def percent(value: float) -> str:
    """A share, e.g. ``71.2 %``; 100 % and 0 % only when it is all or nothing."""
    text = f"{100 * value:.1f}"
    if (text == "100.0" and value < 1) or (text == "0.0" and value > 0):
        text = f"{100 * value:.6g}"
    return f"{text.removesuffix('.0') if value in (0, 1) else text} %"


def share(proportion: Proportion | None) -> str:
    """A share with its interval, e.g. ``71.2 % (68.1 to 74.1)``."""
    if proportion is None:
        return "-"
    return f"{percent(proportion.value)} ({interval(proportion)})"


def points(difference: Proportion) -> str:
    """A difference of two shares in percentage points, e.g. ``0.8 points (-0.2 to 1.9)``."""
    return f"{100 * difference.value:.1f} points ({interval(difference)})"


def interval(proportion: Proportion) -> str:
    """The interval of a share in percent, e.g. ``68.1 to 74.1``."""
    return f"{100 * proportion.low:.1f} to {100 * proportion.high:.1f}"


def load(average: float | None) -> str:
    """A load average."""
    return "-" if average is None else f"{average:.2f}"


def change(before: str, after: str) -> str:
    """``before → after``, or the one when nothing changed."""
    return before if before == after else f"{before} → {after}"


def decibels(sqnr_db: float) -> str:
    """``38.2 dB``; ``equal`` for a tensor without any noise."""
    if sqnr_db == float("inf"):
        return "equal"
    return "-inf dB" if sqnr_db == float("-inf") else f"{sqnr_db:.1f} dB"


def exactness(found: Exactness | None) -> str:
    """The comparison with the emulator in one line, e.g. ``0 of 12,000 differ``."""
    if found is None:
        return "not compared"
    if found.verdict == "unknown":
        return f"unknown: {printable(found.reason, 200)}"
    worst = max((one.max_lsb or 0 for one in found.outputs), default=0)
    if found.verdict == "float":
        return f"float: not judged; {float_distance(found.outputs)}"
    elements = sum(one.elements for one in found.outputs)
    differing = sum(one.differing or 0 for one in found.outputs)
    said = f"{differing:,} of {elements:,} differ"
    if worst:
        said += f", at most {worst:,} {unit(found.outputs)}"
    if found.verdict == "differs" and not differing:
        mismatch = any(one.differing is None for one in found.outputs)
        return "another shape or dtype" if mismatch else f"{said}, but a tensor inside does"
    return said if found.verdict in ("exact", "differs") else f"{said} ({found.verdict})"


def float_distance(outputs: tuple[TensorComparison, ...]) -> str:
    """How far outputs are from the emulator's: the worst SQNR of the float ones, and the relative
    error that it means."""
    known = [one.sqnr_db for one in outputs if one.sqnr_db is not None]
    if not known:
        worst = max((one.max_lsb or 0 for one in outputs), default=0)
        return f"outputs at most {worst:,} {unit(outputs)} apart"
    if min(known) == float("inf"):
        return "outputs equal the emulator's"
    if min(known) == float("-inf"):
        return "outputs are NaN or infinite where the emulator's are not, or it expects zeros alone"
    error = 10 ** min(300.0, -min(known) / 20)  # a run.json from anywhere may hold any number
    return f"relative error {error:.2g} against the emulator ({decibels(min(known))})"


def differing_share(found: Exactness) -> str:
    """``34 of 12,000``, over the outputs that were compared; a dash when none was."""
    compared = [one for one in found.outputs if one.differing is not None]
    if not compared:
        return "-"
    differing = sum(one.differing or 0 for one in compared)
    return f"{differing:,} of {sum(one.elements for one in compared):,}"


def equal_elements(one: TensorComparison) -> str:
    """How many elements the histogram leaves out, because they are equal."""
    return f"{one.elements - (one.differing or 0):,} elements are equal and not drawn."


def unit(compared: tuple[TensorComparison, ...]) -> str:
    """What a step between two values is called: LSB of integers, ULP of floats."""
    return "ULP" if any(one.promise == "float" for one in compared) else "LSB"


def latency(measured: Latency | None) -> str:
    """``5.12 ms``, marked when it says nothing about a device."""
    if measured is None:
        return "-"
    return f"{duration(measured.median_ns)}{mark(measured)}"


def mark(measured: Latency) -> str:
    """`` (virtual)``, `` (throttled)`` or nothing."""
    return f" ({mark_word(measured)})" if mark_word(measured) else ""


def mark_word(measured: Latency) -> str:
    """Why it says nothing about a device, in a word; empty when it does."""
    if measured.representative:
        return ""
    words = measured.remark.split()
    return printable(words[0].strip(":")) if words else "?"


def traced(run: Run) -> str:
    """On how many samples the tensors inside were looked at, e.g. ``tensors inside: 16 of 1,198
    samples``; empty when none was."""
    ranges = run.exactness.traced_samples if run.exactness else ()
    some = sum(end - first for first, end in ranges)
    return f"tensors inside: {some:,} of {plural(run.samples, 'sample')}" if some else ""


def beside_outcome(run: Run) -> str:
    """What the outcome's line says behind the outcome, e.g. ``exact; accuracy not judged: no
    limits``; empty where it says no more."""
    return printable(run.summary.partition(" (")[2].removesuffix(")"), 300)


def outcome(run: Run) -> str:
    """The outcome with what was not judged, e.g. ``PASS (exact; accuracy not judged: no
    limits)``."""
    return printable(run.summary, 300) or str(run.outcome)


def reached(run: Run) -> str:
    """What the recipe reached: ``12 of 14 layers quantized; not quantized: …``; "" where it
    quantizes nothing."""
    return "" if run.manifest is None else reached_line(run.manifest.reached)


def placement(report: PlacementReport) -> str:
    """How many ops run where, e.g. ``66 on edge-tpu, 2 on cpu; 2 left behind``."""
    counts = Counter(one.where for one in report.placement)
    said = ", ".join(
        f"{number:,} {'nowhere' if where == 'none' else f'on {where}'}"
        for where, number in counts.items()
    )
    left = f"; {len(report.left):,} left behind" if report.left else ""
    return f"{said or 'no ops'}{left}"


def tensor(name: str) -> str:
    """A tensor's name, short and printable."""
    return printable(short_name(name))


def place(one: TensorComparison) -> str:
    """Which tensor, and which operator made it."""
    name = f"“{tensor(one.name)}”"
    if one.node is None:
        return f"tensor {name}"
    return f"{printable(one.op or 'node')} (node {one.node}, {name})"


def divergence(first: TensorComparison) -> str:
    """The first difference, told as a person would."""
    if first.differing is None or first.example is None:
        return f"{place(first)}: {printable(first.remark)}."
    example = first.example
    step = "LSB" if first.promise != "float" else "ULP"
    source = (
        "" if example.accumulator is None else f" (from the accumulator {example.accumulator:,})"
    )
    index = ", ".join(str(i) for i in example.index)
    return (
        f"{place(first)} is the first that differs. At [{index}] the emulator expects "
        f"{element(example.expected)}{source}, the device computed {element(example.got)}. "
        f"{first.differing:,} of its {first.elements:,} elements differ, "
        f"by at most {count(first.max_lsb)} {step}."
    )


def example(one: TensorComparison) -> str:
    """The first differing element in short, or why there was no comparison."""
    if one.example is None:
        return printable(one.remark)
    index = ", ".join(str(i) for i in one.example.index)
    return f"[{index}] expected {element(one.example.expected)}, got {element(one.example.got)}"


def element(value: int | float) -> str:
    """One element of a tensor; nine digits tell any two float32 apart."""
    return f"{value:.9g}" if isinstance(value, float) else str(value)


def histogram_label(step: int) -> str:
    """A bin of the histogram: ``-3``, ``0``, ``+16``; ``>+16`` and ``<-16`` for the outermost."""
    if abs(step) <= 16:
        return f"{step:+d}" if step else "0"
    return ">+16" if step > 0 else "<-16"


def origin(run: Run) -> str:
    """Where the numbers of a run come from: ``on the device``, or which emulator stood in."""
    if run.on_device:
        return "on the device"
    return f"no device, emulated by {printable(run.emulated_by) or 'nothing'}"


def distance(found: Distance) -> str:
    """Two emulations against each other in one line."""
    compared = [one for one in found.outputs if one.differing is not None]
    elements = sum(one.elements for one in compared)
    differing = sum(one.differing or 0 for one in compared)
    if not elements:
        return "could not be compared: " + "; ".join(one.remark for one in found.outputs)
    worst = max(one.max_lsb or 0 for one in compared)
    far = f", at most {worst:,} {unit(found.outputs)}" if worst else ""
    said = [f"{_differing(differing, elements)}{far}"]
    if found.agreement is not None:
        said.append(
            f"the largest output is the same one in {percent(found.agreement.value)} of the samples"
        )
    first = found.first_op
    if first is not None and first.differing is not None:
        place = f"node {first.node} ({printable(first.op or '')})"
        share = f"{percent(first.differing / first.elements)} of {first.elements:,} elements"
        most = f"at most {first.max_lsb or 0:,} {unit((first,))}"
        said.append(f"of the first op that differs, {place}, {share} do, {most}")
    return "; ".join(said)


def _differing(differing: int, elements: int) -> str:
    share_of_all = percent(differing / elements)
    return f"{differing:,} of {elements:,} output elements differ ({share_of_all})"


def slowest_ops(run: Run) -> tuple[OpTime, ...]:
    """Steps of the runtime's plan in the first profiled restart, the slowest first."""
    profiled = next((result for result in run.results if result.op_times), None)
    return tuple(sorted(profiled.op_times, key=lambda op: -op.total_ns)) if profiled else ()


def recipes(runs: Iterable[Run]) -> Callable[[Run], str]:
    """How each run's recipe is called beside the others: by name, and where recipes of one name
    differ, with the digest's beginning."""
    names = told_apart((run.recipe, run.recipe_digest) for run in runs)
    return lambda run: printable(names[run.recipe, run.recipe_digest])


def title(run: Run) -> str:
    """Model and recipe."""
    recipe = f" · {printable(run.recipe)}" if run.recipe else ""
    return f"{printable(model_name(run))}{recipe}"


def reasons(run: Run) -> tuple[str, ...]:
    """Why the run is not PASS, without what its failure says anyway."""
    said = run.failure.message if run.failure else None
    return tuple(reason for reason in run.reasons if reason != said)


def model_name(run: Run) -> str:
    """The model as submitted, without the folders of a path."""
    scheme, colon, rest = run.model.partition(":")
    return f"{scheme.rsplit('/', 1)[-1]}{colon}{rest}"


def device(run: Run) -> str:
    """The device's name, marked when it is virtual; without one, what stood in."""
    if not run.on_device:
        return origin(run)
    return f"{printable(run.device.name)}{' (virtual)' if run.device.virtual else ''}"

"""Recipes beside each other: one model on one device, float among them, and why a recipe is slower
than float where it is."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from harness.placement import Placement
from harness.protocol import OpTime
from harness.recipe import RECIPES
from harness.records import Proportion, Run
from reports import words
from reports.regressions import MIN_CHANGE

_FLOAT = RECIPES["float"].digest()
_MOST_KINDS = 3
_CONVERSION = re.compile(r"quantize|^convert\b", re.IGNORECASE)
_IN_FLOAT = re.compile(r"\bF(16|32)\b")
_IN_INTEGERS = re.compile(r"\bQ\w*\d")


@dataclass(frozen=True)
class Beside:
    """One recipe's run beside the float one of the same model on the same device.

    Attributes:
        run: the recipe's.
        called: the recipe, told apart from the others.
        in_float: the float run; None where there is none, and for itself.
        ratio: its latency to float's; above 1 is slower. None where one of them was not timed.
        why: it is slower than float, one sentence each; empty where it is not.
    """

    run: Run
    called: str
    in_float: Run | None
    ratio: float | None
    why: tuple[str, ...]

    @property
    def slower(self) -> bool:
        """Whether it is slower than float, by more than `MIN_CHANGE`."""
        return self.ratio is not None and self.ratio > 1 + MIN_CHANGE

    @property
    def accuracy(self) -> Proportion | None:
        """Top-1; without labels the share of samples that get the float model's class."""
        found = self.run.accuracy
        return None if found is None else found.top1 or found.agreement

    @property
    def peak_bytes(self) -> int | None:
        """Most memory of the runner on the device."""
        return self.run.results[0].peak_rss_bytes if self.run.results else None


def comparisons(runs: Iterable[Run]) -> list[list[Beside]]:
    """The runs by model, data, target and device, where several recipes ran and float is one of
    them: of each recipe the newest, float first."""
    groups: dict[tuple[object, ...], dict[tuple[str, str], Run]] = {}
    for run in sorted(runs, key=lambda one: (one.created, one.id)):
        how = (run.model, run.data, run.target, run.device.name, run.threads, run.samples)
        recipes = groups.setdefault(how, {})
        recipes.pop((run.recipe, run.recipe_digest), None)
        recipes[run.recipe, run.recipe_digest] = run
    found = [beside(list(recipes.values())) for recipes in groups.values() if len(recipes) > 1]
    return [group for group in found if any(one.in_float is not None for one in group)]


def beside(runs: Sequence[Run]) -> list[Beside]:
    """Runs of one model on one device, one for each recipe, float first."""
    called = words.recipes(runs)
    in_float = next((run for run in runs if is_float(run)), None)
    ordered = sorted(runs, key=lambda run: run is not in_float)
    return [_beside(run, called(run), None if run is in_float else in_float) for run in ordered]


def is_float(run: Run) -> bool:
    """Whether nothing is quantized."""
    return run.recipe_digest == _FLOAT or (run.recipe == "float" and not run.recipe_digest)


def said_of_speed(group: Sequence[Beside]) -> list[str]:
    """One paragraph for each recipe that is slower than float."""
    return [_speed(one) for one in group if one.slower]


def _speed(one: Beside) -> str:
    run, in_float = one.run, one.in_float
    if one.ratio is None or in_float is None or run.latency is None or in_float.latency is None:
        return ""
    told = (
        f"{one.called} is slower than float: {words.duration(run.latency.median_ns)} against "
        f"{words.duration(in_float.latency.median_ns)}"
    )
    if run.latency.interval_ns[0] <= in_float.latency.interval_ns[1]:
        told += " (the 95 % intervals overlap: it may be chance)"
    if not run.latency.representative:
        told += f"; {words.printable(run.latency.remark, 200) or 'not representative'}"
    reasons = one.why or (
        "no float layers, ops left behind or conversions between ops are seen: the time goes into "
        "the runtime's integer kernels themselves",
    )
    return "\n".join([told, *(f"  - {reason}" for reason in reasons)])


def _beside(run: Run, called: str, in_float: Run | None) -> Beside:
    ratio = None
    if in_float is not None and run.latency is not None and in_float.latency is not None:
        ratio = run.latency.median_ns / max(in_float.latency.median_ns, 1.0)
    made = Beside(run, called, in_float, ratio, ())
    if in_float is None or not made.slower:
        return made
    return Beside(run, called, in_float, ratio, why_slower(run, in_float))


def why_slower(run: Run, in_float: Run) -> tuple[str, ...]:
    """What makes a quantized run slower than the float one, as far as placement, the recipe's
    reach and the runtime's profile tell: one sentence each."""
    return (*_in_float(run), *_left(run, in_float), *_converted(run), *_slower_ops(run, in_float))


def _in_float(run: Run) -> list[str]:
    """Layers that the recipe did not reach."""
    layers = run.manifest.reached if run.manifest else ()
    if all(layer.reached == "quantized" for layer in layers):
        return []
    return [words.printable(f"ops stay float: {words.reached(run)}", 600)]


def _left(run: Run, in_float: Run) -> list[str]:
    """Ops that the delegate or accelerator does not take, beyond those of float."""
    if run.placement is None or not run.placement.left:
        return []
    left = run.placement.left_ops
    before = len(in_float.placement.left) if in_float.placement else 0
    told = f"{len(left)} of {len(run.placement.placement)} ops are not delegated (float: {before})"
    kinds = Counter(one.op for one in left).most_common(_MOST_KINDS)
    return [f"{told}: {'; '.join(_kind(op, count, left) for op, count in kinds)}"]


def _kind(op: str, count: int, left: Sequence[Placement]) -> str:
    why = next(one.why for one in left if one.op == op)
    return f"{count} {words.printable(op)} ({words.printable(why, 160)})"


def _converted(run: Run) -> list[str]:
    """QUANTIZE and DEQUANTIZE: integers to floats, back, and to another scale."""
    placed = run.placement.placement if run.placement else ()
    counts = Counter(one.op for one in placed if _CONVERSION.search(one.op))
    ops = words.slowest_ops(run)
    spent = sum(op.total_ns for op in ops if _CONVERSION.search(op.op))
    if not counts and not spent:
        return []
    share = f", {words.percent(spent / max(1, _total(ops)))} of the time" if spent else ""
    if not counts:
        return [f"values are converted between integers and floats or scales{share}"]
    kinds = ", ".join(f"{count} {words.printable(op)}" for op, count in counts.most_common())
    total = sum(counts.values())
    told = f"{total} of {len(placed)} ops convert between floats, integers and scales{share}"
    return [f"{told}: {kinds}"]


def _slower_ops(run: Run, in_float: Run) -> list[str]:
    """By the runtime's profile: kinds of ops that take longer than float's, and float kernels."""
    ours, theirs = _by_kind(words.slowest_ops(run)), _by_kind(words.slowest_ops(in_float))
    if not ours or not theirs:
        return []
    more = sorted(((ns - theirs.get(kind, 0.0), kind) for kind, ns in ours.items()), reverse=True)
    told = [
        f"{words.printable(kind)} takes {words.duration(ours[kind])}, in float "
        f"{words.duration(theirs[kind]) if kind in theirs else 'none'}"
        for extra, kind in more[:_MOST_KINDS]
        if extra > 0 and not _CONVERSION.search(kind)
    ]
    ops = words.slowest_ops(run)
    floats = sum(op.total_ns for op in ops if _is_float_kernel(op.op))
    if floats:
        told.append(f"float kernels take {words.percent(floats / max(1, _total(ops)))} of the time")
    return told


def _is_float_kernel(op: str) -> bool:
    return bool(_IN_FLOAT.search(op)) and not _IN_INTEGERS.search(op)


def _by_kind(ops: Sequence[OpTime]) -> dict[str, float]:
    """Time of one run, in ns, by what a step computes, whatever its types are."""
    found: dict[str, float] = {}
    for op in ops:
        kind = op.op.partition(" (")[0]
        found[kind] = found.get(kind, 0.0) + op.total_ns / max(1, op.runs)
    return found


def _total(ops: Sequence[OpTime]) -> int:
    return sum(op.total_ns for op in ops)

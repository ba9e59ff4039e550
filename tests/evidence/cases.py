"""What is run: a few models of each family, and more until every entry of a profile was met."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache

import numpy as np

from harness.arithmetic.profile import ArithmeticProfile, Entry, Signature
from harness.emulator.binding import signature
from harness.emulator.formats.tflite import read_tflite
from harness.emulator.graph import Graph
from tests.evidence.rare import rare_models
from tests.harness.emulator.test_recurrent import LSTMS, SVDFS, samples
from tests.oracle import control, recurrent
from tests.oracle.build import Array
from tests.oracle.catalogue import FAMILIES, draw
from tests.oracle.hybrid_families import around_dot_products, rows_on_ties
from tests.oracle.kernel_choice import CHOICES, inputs_of
from tests.oracle.models import Model

MODELS = 3
"""At least so many of each family."""
DRAWS = 24
"""At most so many are looked at for entries that no other model met."""

Calls = tuple[tuple[Array, ...], ...]


@dataclass(frozen=True, eq=False)
class Case:
    """A model and the inputs of each call of it.

    Attributes:
        family: what it is one of.
        needed: always run; else only where it meets an entry that no needed one does.
    """

    family: str
    name: str
    data: bytes
    calls: Calls
    needed: bool = True


@dataclass(frozen=True)
class Row:
    """One operator and dtypes that an entry speaks for."""

    op: str
    dtype: str
    weights: str
    semantics: str
    condition: str


def row_of(entry: Entry, op: str, dtype: str, weights: str) -> Row:
    """The row of an entry."""
    return Row(op, dtype, weights if entry.weights else "", entry.semantics, entry.condition)


def cases_of(
    patterns: Sequence[str] = ("*",), models: int = MODELS, draws: int = DRAWS
) -> list[Case]:
    """Those of the families whose names fit one of the patterns.

    Args:
        patterns: e.g. ``CONV_2D-*``.
        models: of a drawn family, how many are needed.
        draws: how many are made.
    """

    def fits(family: str) -> bool:
        return any(fnmatchcase(family, pattern) for pattern in patterns)

    others = (*_rare(), *_chosen(), *_stateful(), *_of_several_graphs())
    drawn = (case for family in filter(fits, FAMILIES) for case in _drawn(family, models, draws))
    return [*drawn, *(case for case in others if fits(case.family))]


def chosen_for(profile: ArithmeticProfile, cases: Sequence[Case]) -> list[tuple[Case, set[Row]]]:
    """Those that a profile is held against, each with the rows it meets."""
    met: set[Row] = set()
    chosen = []
    for case in cases:
        rows = rows_met(case.data, profile)
        if case.needed or not rows <= met:
            met |= rows
            chosen.append((case, rows))
    return chosen


def rows_met(data: bytes, profile: ArithmeticProfile) -> set[Row]:
    """The rows by which a profile decides on a model's nodes."""
    rows = set()
    for s in _signatures(data):
        entry = profile.lookup(s)
        if entry is not None:
            rows.add(row_of(entry, s.op, s.dtypes[0], s.dtypes[1] if len(s.dtypes) > 1 else ""))
    return rows


@cache
def _signatures(data: bytes) -> tuple[Signature, ...]:
    graph = read_tflite(data).main
    return tuple(s for part in graph.library or (graph,) for s in _of_graph(part))


def _of_graph(graph: Graph) -> Iterator[Signature]:
    for node in graph.nodes:
        inputs = [None if i < 0 else graph.tensors[i] for i in node.inputs]
        yield signature(node, inputs, [graph.tensors[i] for i in node.outputs])


def _drawn(family: str, needed: int, draws: int) -> Iterator[Case]:
    for number, model in enumerate(draw(family, draws)):
        lowest, highest, zero_point = model.extremes()
        calls: Calls = (model.sample(0), zero_point)
        if number == 0:
            calls += (lowest, highest)
        yield Case(family, model.name, model.data, calls, needed=number < needed)


def _rare() -> Iterator[Case]:
    for family, model in rare_models():
        yield _case(family, model, (model.sample(0), *model.extremes()))


def _chosen() -> Iterator[Case]:
    for choice, models in CHOICES.items():
        for model in models():
            yield _case(f"shapes: {choice}", model, inputs_of(model))
    for model in around_dot_products():
        yield _case("shapes: dot products", model, (model.sample(0), rows_on_ties(model)))


def _case(family: str, model: Model, calls: Calls) -> Case:
    return Case(family, model.name, model.data, calls)


def _stateful() -> Iterator[Case]:
    for name, options in LSTMS.items():
        model = recurrent.lstm(0, **options)
        calls = tuple((x,) for x in samples(model, 3))
        yield Case(f"LSTM {name}", name, model, calls)
    for name, options in SVDFS.items():
        model = recurrent.svdf(0, **options)
        yield Case(f"SVDF {name}", name, model, tuple((x,) for x in samples(model, 3)))


def _of_several_graphs() -> Iterator[Case]:
    rng = np.random.default_rng(0)

    def x(*shape: int) -> Array:
        return rng.integers(-128, 128, shape).astype(np.int8)

    conditions = [np.array([value], np.bool_) for value in (1, 0, 0, 1)]
    calls: dict[str, tuple[bytes, Calls]] = {
        "IF": (control.branches(), tuple((c, x(1, 5)) for c in conditions)),
        "WHILE": (control.loop(), tuple((np.array(n, np.int32), x(1, 5)) for n in (0, 1, 3))),
        "WHILE, growing": (
            control.growing(),
            tuple((np.array(n, np.int32), x(2)) for n in (0, 1, 3)),
        ),
        "IF over floats": (control.float_branch(), tuple((c, x(1, 5)) for c in conditions)),
        "constants as outputs": (control.constant_outputs(), ((x(2, 3),), (x(2, 3),))),
        "inputs of rank 0": (
            control.scalars(),
            tuple(
                (c[0], x(2, 5), np.array(n, np.int32), np.array(9, np.int32))
                for n, c in enumerate(conditions)
            ),
        ),
        "CALL_ONCE, variables": (control.running_sum(), tuple((x(1, 5),) for _ in range(5))),
        "resized inputs": (control.open_shapes(), ((x(3, 4, 5, 3),), (x(1, 6, 4, 3),))),
    }
    for family, (model, inputs) in calls.items():
        yield Case(family, family, model, inputs)

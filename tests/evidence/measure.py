"""Runs cases in one batch and holds each result against the emulator."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from harness.arithmetic.profile import ArithmeticProfile
from harness.device import Transport
from harness.emulator.formats.tflite import read_tflite
from harness.emulator.interpreter import Emulator
from harness.emulator.profiles import get_profile
from harness.emulator.shapes import with_batch
from tests.evidence.cases import Case, Row, chosen_for
from tests.oracle.build import Array
from tests.oracle.runtimes import Answer, Kernels, Request, run_all, run_on


@dataclass
class Tally:
    """What the models of a family gave, under one profile.

    Attributes:
        models: how many.
        delegated: how many of them a delegate took.
        elements: of outputs declared exact.
        differing: of those.
        loose: elements that are not declared exact.
        loose_differing: of those.
        unknown: outputs without a definition.
        refused: what the runtime said instead of an answer.
        wrong: names of the models that differ.
    """

    models: int = 0
    delegated: int = 0
    elements: int = 0
    differing: int = 0
    loose: int = 0
    loose_differing: int = 0
    unknown: int = 0
    refused: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


@dataclass
class Measured:
    """What became of all cases under a profile: by family, and by row of the profile.

    Attributes:
        elements: compared and equal.
        differing: rows of models that differ.
    """

    families: dict[str, Tally] = field(default_factory=dict)
    elements: Counter[Row] = field(default_factory=Counter)
    differing: set[Row] = field(default_factory=set)

    @property
    def total(self) -> Tally:
        """Of all families."""
        total = Tally()
        for tally in self.families.values():
            for name, value in vars(tally).items():
                setattr(total, name, getattr(total, name) + value)
        return total


def measure_all(
    profiles: Mapping[str, Kernels], cases: Sequence[Case], transport: Transport | None
) -> dict[str, Measured]:
    """The cases under every profile, in one batch.

    Args:
        profiles: names, with the kernels of each.
        cases: see `chosen_for`.
        transport: to a device; None for this host.
    """
    chosen = {name: chosen_for(get_profile(name), cases) for name in profiles}
    requests = [
        Request(c.data, c.calls[0], kernels, all_tensors=False, again=c.calls[1:])
        for name, kernels in profiles.items()
        for c, _ in chosen[name]
    ]
    answers = iter(run_all(requests) if transport is None else run_on(transport, requests))
    return {name: _measure(own, answers, get_profile(name)) for name, own in chosen.items()}


def _measure(
    cases: Sequence[tuple[Case, set[Row]]], answers: Iterator[Answer], profile: ArithmeticProfile
) -> Measured:
    """Hold as many of the answers against the emulator."""
    measured = Measured()
    for case, rows in cases:
        answer = next(answers)
        tally = measured.families.setdefault(case.family, Tally())
        tally.models += 1
        tally.delegated += bool(answer.delegated)
        if answer.error:
            tally.refused.append(answer.error.strip().splitlines()[-1])
            continue
        one = _compare(case, answer, profile)
        for name in ("elements", "differing", "loose", "loose_differing", "unknown"):
            setattr(tally, name, getattr(tally, name) + getattr(one, name))
        if one.differing:
            tally.wrong.append(case.name)
            measured.differing |= rows
        elif not one.loose and not one.unknown:
            measured.elements.update(dict.fromkeys(rows, one.elements))
    return measured


def _compare(case: Case, answer: Answer, profile: ArithmeticProfile) -> Tally:
    tally = Tally()
    graph = read_tflite(case.data).main
    resized = bool(graph.inputs) and graph.tensors[graph.inputs[0]].free_axes
    emulator = Emulator(graph, profile)
    for inputs, tensors in zip(case.calls, answer.calls, strict=True):
        if resized:
            emulator = Emulator(with_batch(graph, len(inputs[0])), profile)
        emulation = emulator.run(inputs)
        for index, expected in zip(graph.outputs, emulation.outputs, strict=True):
            if expected is None:
                tally.unknown += 1
            elif expected.size:
                differing = _differing(expected, tensors[index])
                if emulation.promises.get(index, "exact") == "exact":
                    tally.elements += expected.size
                    tally.differing += differing
                else:
                    tally.loose += expected.size
                    tally.loose_differing += differing
    return tally


def _differing(expected: Array, got: Array) -> int:
    if expected.size != got.size or expected.dtype != got.dtype:
        return expected.size
    return int(np.count_nonzero(expected != got.reshape(expected.shape)))

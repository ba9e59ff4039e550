"""The emulator against the runtimes on this host: one generated model per op, dtype, granularity.

All models run in a few processes, once a session; each case compares one family under one profile.
"""

import platform
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from harness.emulator.formats.tflite import read_tflite
from harness.emulator.interpreter import emulate
from harness.emulator.profiles import get_profile
from harness.records import Promise
from tests.oracle import elementwise
from tests.oracle.build import Array
from tests.oracle.catalogue import FAMILIES, draw
from tests.oracle.kernel_choice import BEYOND_REGISTERS, CHOICES, assert_exact, inputs_of
from tests.oracle.models import Model
from tests.oracle.runtimes import Answer, Kernels, Request, run_all

PROFILES: dict[str, Kernels] = {"litert-ref": "reference"}
if platform.machine() == "x86_64":
    PROFILES |= {"litert-builtin-x86": "builtin", "litert-xnnpack-x86": "xnnpack"}
MODELS = 3
GOLDEN = Path(__file__).parents[2] / "golden/promised"

PROMISED = {profile: (GOLDEN / f"{profile}.txt").read_text().split() for profile in PROFILES}
"""Families that a profile must promise to be exact; a promise beyond these is checked too."""

ABSENT = {("litert-ref", "ELU-int8")}
"""Ops that a resolver has no kernel for: the runtime refuses the file."""

Case = tuple[Model, tuple[Array, ...]]


def cases(family: str) -> Iterator[Case]:
    for number, model in enumerate(draw(family, MODELS)):
        lowest, highest, zero_point = model.extremes()
        yield model, model.sample(0)
        yield model, zero_point
        if number == 0:
            yield model, lowest
            yield model, highest


@pytest.fixture(scope="session")
def answers(request: pytest.FixtureRequest) -> dict[tuple[str, str], list[Answer]]:
    """By profile and family of the tests that were selected, in the order of `cases`."""
    selected = [getattr(item, "callspec", None) for item in request.session.items]
    asked = [spec.params for spec in selected if spec is not None]
    keys = [(p["profile"], p["family"]) for p in asked if {"profile", "family"} <= p.keys()]
    work = [(key, Request(m.data, x, PROFILES[key[0]])) for key in keys for m, x in cases(key[1])]
    results = run_all([each for _, each in work])
    found: dict[tuple[str, str], list[Answer]] = {key: [] for key in keys}
    for (key, _), answer in zip(work, results, strict=True):
        found[key].append(answer)
    return found


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("profile", PROFILES)
def test_equal_bit_for_bit(
    profile: str, family: str, answers: dict[tuple[str, str], list[Answer]]
) -> None:
    undefined = []
    for (model, inputs), answer in zip(cases(family), answers[profile, family], strict=True):
        if (profile, family) in ABSENT:
            assert "Registration failed" in answer.error
            continue
        assert answer.error == "", model.name
        graph = read_tflite(model.data).main
        emulation = emulate(graph, get_profile(profile), inputs)
        for output, expected in zip(graph.outputs, emulation.outputs, strict=True):
            if expected is None or emulation.promises[output] != "exact":
                undefined.append(model.name)
                continue
            if not expected.size and output not in answer.tensors:
                continue  # the runtime shows no tensor without elements
            got = answer.tensors[output].reshape(expected.shape)
            wrong = np.argwhere(expected != got)
            assert np.array_equal(expected, got), f"{model.name}: {wrong[:3]}"
    assert not undefined or family not in PROMISED[profile]


@pytest.mark.skipif("litert-builtin-x86" not in PROFILES, reason="the host is not x86-64")
@pytest.mark.parametrize("choice", CHOICES)
def test_optimized_kernels_at_the_shapes_where_they_change(choice: str) -> None:
    work = [(model, x) for model in CHOICES[choice]() for x in inputs_of(model)]
    answers = run_all([Request(model.data, x, "builtin") for model, x in work])
    for (model, x), answer in zip(work, answers, strict=True):
        promise: Promise = "assumed" if choice == BEYOND_REGISTERS else "exact"
        assert_exact(model, x, answer, "litert-builtin-x86", promise)


@pytest.mark.parametrize(("width", "promise"), [(8, "exact"), (9, "assumed")])
def test_a_mean_that_may_overflow_on_x86_is_not_promised(width: int, promise: str) -> None:
    model = elementwise.reduce("MEAN", shape=(1, 32, 32, width), axes=(1, 2, 3))
    emulation = emulate(
        read_tflite(model.data).main, get_profile("litert-xnnpack-x86"), model.sample(0)
    )
    assert list(emulation.promises.values())[-1] == promise

"""Profile `tflm` against the TensorFlow Lite Micro interpreter: generated single ops."""

from pathlib import Path

import numpy as np
import pytest

from harness.emulator.formats.tflite import read_tflite
from harness.emulator.interpreter import emulate
from harness.emulator.profiles import get_profile
from harness.records import Promise
from tests.oracle.build import Array
from tests.oracle.catalogue import draw
from tests.oracle.kernel_choice import BEYOND_REGISTERS, CHOICES, assert_exact, inputs_of
from tests.oracle.models import Model
from tests.oracle.runtimes import Answer, Request, run_all

TFLM = get_profile("tflm")
MODELS = 3
PROMISED = (Path(__file__).parents[2] / "golden/promised/tflm.txt").read_text().split()
"""Families of which TFLM runs models, all of them exactly as emulated."""

REFUSALS = ("TFLM failed to allocate tensors", "Interpreter invocation failed")
"""What the interpreter says of a node that it has no kernel for."""

Case = tuple[Model, tuple[Array, ...]]


def cases(family: str) -> list[Case]:
    models = draw(family, MODELS)
    found = [(m, x) for m in models for x in (m.sample(0), m.extremes()[2])]
    return found + [(models[0], x) for x in models[0].extremes()[:2]]


@pytest.fixture(scope="session")
def answers(request: pytest.FixtureRequest) -> dict[str, list[Answer]]:
    """By family of the tests that were selected, in the order of `cases`."""
    specs = [getattr(item, "callspec", None) for item in request.session.items]
    asked = [spec.params for spec in specs if spec is not None]
    families = [params["tflm_family"] for params in asked if "tflm_family" in params]
    work = [(family, m, x) for family in families for m, x in cases(family)]
    results = run_all([Request(m.data, x, "tflm") for _, m, x in work])
    found: dict[str, list[Answer]] = {family: [] for family in families}
    for (family, _, _), answer in zip(work, results, strict=True):
        found[family].append(answer)
    return found


@pytest.mark.parametrize("tflm_family", PROMISED)
def test_equal_bit_for_bit(tflm_family: str, answers: dict[str, list[Answer]]) -> None:
    exact = other = 0
    for (model, inputs), answer in zip(cases(tflm_family), answers[tflm_family], strict=True):
        if answer.error:
            assert any(text in answer.error for text in REFUSALS), model.name
            continue
        graph = read_tflite(model.data).main
        emulation = emulate(graph, TFLM, inputs)
        for output, expected in zip(graph.outputs, emulation.outputs, strict=True):
            if expected is None or emulation.promises[output] != "exact":
                other += 1
                continue
            exact += 1
            if expected.size:
                got = answer.tensors[output].reshape(expected.shape)
                np.testing.assert_array_equal(expected, got, err_msg=model.name)
    assert exact
    assert not other


@pytest.mark.parametrize("choice", [c for c in CHOICES if "narrow weights" not in c])
def test_shapes_where_other_runtimes_change_their_kernels(choice: str) -> None:
    work = [(m, x) for m in CHOICES[choice]() if "uint8" not in m.name for x in inputs_of(m)]
    answers = run_all([Request(model.data, x, "tflm") for model, x in work])
    for (model, x), answer in zip(work, answers, strict=True):
        promise: Promise = "assumed" if choice == BEYOND_REGISTERS else "exact"
        assert_exact(model, x, answer, "tflm", promise)

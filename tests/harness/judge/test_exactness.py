"""Tensors inside are compared over the whole set, and a difference is traced wherever it is."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest

from harness.artifact import Artifact
from harness.emulator.formats.tflite import read_tflite
from harness.emulator.interpreter import emulate
from harness.emulator.profiles import get_profile
from harness.judge.exactness import Emulated, compare_with_emulator
from tests.artifacts import write_artifact
from tests.oracle.networks import RESIDUAL_TENSORS, residual

Array = npt.NDArray[np.generic]

PROFILE = "litert-ref"
SAMPLES = 100
X = np.random.default_rng(0).integers(-128, 128, (SAMPLES, 5, 5, 4), np.int8)


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return write_artifact(tmp_path_factory.mktemp("residual"), residual())


def compared(
    artifact: Artifact, wrong_tensor: int | None, wrong_samples: Sequence[int]
) -> Emulated:
    """A device that computes as the emulator does, but for one tensor on some samples; the output
    is off by one there, too, where the tensor is the output's."""
    graph, profile = read_tflite(artifact.path).main, get_profile(PROFILE)
    (right,) = emulate(graph, profile, [X]).outputs
    assert right is not None
    output = right.copy()
    if wrong_tensor == graph.outputs[0]:
        output[list(wrong_samples), 0, 0, 0] ^= 1

    def run(exposed: Artifact, given: Sequence[Array]) -> tuple[Array, ...]:
        names = [spec.name for spec in exposed.manifest.outputs]
        kept = emulate(graph, profile, given, all_tensors=True).tensors
        by_name = {graph.tensors[i].name: x.copy() for i, x in kept.items()}
        for at, sample in enumerate(given[0]):
            if any(np.array_equal(sample, X[one]) for one in wrong_samples) and wrong_tensor:
                by_name[graph.tensors[wrong_tensor].name][at, 0, 0, 0] ^= 1
        return tuple(by_name[name] for name in names)

    return compare_with_emulator(artifact, PROFILE, [X], [output], run)


def test_the_traced_samples_are_spread_over_the_set(artifact: Artifact) -> None:
    found = compared(artifact, None, ())
    assert found.exactness.verdict == "exact"
    assert len(found.traced) == 16
    assert (found.traced[0], found.traced[-1]) == (0, SAMPLES - 1)
    assert found.exactness.traced_samples == tuple((one, one + 1) for one in found.traced)
    assert {len(x) for x in found.tensors.values()} == {16}
    assert all(one.elements == 16 * 7 * 7 * 4 for one in found.exactness.intermediates)


def test_a_tensor_inside_that_differs_late_in_the_set_is_seen(artifact: Artifact) -> None:
    late = compared(artifact, None, ()).traced[-3]
    found = compared(artifact, RESIDUAL_TENSORS["ADD"], [late]).exactness
    assert found.verdict == "differs"
    assert found.first_divergence is not None
    assert found.first_divergence.op == "ADD"
    assert found.first_divergence.example is not None
    assert found.first_divergence.example.index == (late, 0, 0, 0)  # of the whole set
    (inside,) = [one for one in found.intermediates if one.differing]
    assert inside.example == found.first_divergence.example


def test_the_first_sample_whose_output_differs_is_traced(artifact: Artifact) -> None:
    plain = compared(artifact, None, ()).traced
    wrong = next(one for one in range(40, SAMPLES) if one not in plain)
    found = compared(artifact, RESIDUAL_TENSORS["RELU"], [wrong, wrong + 1])
    assert wrong in found.traced
    assert len(found.traced) == len(plain)
    assert found.exactness.first_divergence is not None
    assert found.exactness.first_divergence.example is not None
    assert found.exactness.first_divergence.example.index == (wrong, 0, 0, 0)


def test_nothing_is_traced_where_no_profile_stands(artifact: Artifact) -> None:
    found = compare_with_emulator(artifact, None, [X], [X], lambda *_: ())
    assert (found.exactness.verdict, found.traced) == ("unknown", ())

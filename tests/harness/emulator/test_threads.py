"""Profiles for several threads, against the runtime on this host."""

import platform

import numpy as np
import pytest

from harness.emulator.formats.tflite import read_tflite
from harness.emulator.interpreter import emulate
from harness.emulator.ops.mean import MOST_THREADS
from harness.emulator.profiles import get_profile
from harness.emulator.profiles.threads import for_threads
from tests.oracle import elementwise
from tests.oracle.kernel_choice import CHOICES, inputs_of
from tests.oracle.runtimes import Request, run_all

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="kernels of x86-64")

NAME = "litert-builtin-x86"


def wide_means() -> list[elementwise.Model]:
    """MEAN of channels whose parts have whole blocks and rests."""
    return [
        elementwise.reduce(
            "MEAN", seed, shape=(2, 4, 4, channels), axes=(1, 2), keep_dims=True, style="dyadic"
        )
        for seed, channels in enumerate((15, 17, 33, 47, 63, 100, 131))
    ]


@pytest.mark.parametrize("threads", [2, 3, 4])
def test_a_mean_is_cut_as_its_threads_cut_it(threads: int) -> None:
    work = [(m, x) for m in (*wide_means(), *CHOICES["mean"]()) for x in inputs_of(m)]
    answers = run_all([Request(m.data, x, "builtin", threads=threads) for m, x in work])
    profile, otherwise = for_threads(get_profile(NAME), threads), 0
    for (model, x), answer in zip(work, answers, strict=True):
        graph = read_tflite(model.data).main
        emulation = emulate(graph, profile, x)
        (output,), (expected,) = graph.outputs, emulation.outputs
        assert emulation.promises[output] == "exact"
        assert expected is not None
        np.testing.assert_array_equal(expected, answer.tensors[output].reshape(expected.shape))
        (alone,) = emulate(graph, get_profile(NAME), x).outputs
        otherwise += not np.array_equal(alone, expected)
    assert otherwise  # or the models show nothing


def test_one_thread_is_the_profile_itself() -> None:
    assert for_threads(get_profile(NAME), 1) is get_profile(NAME)


def test_with_more_threads_than_defined_it_is_unknown() -> None:
    model = wide_means()[0]
    profile = for_threads(get_profile(NAME), MOST_THREADS + 1)
    emulation = emulate(read_tflite(model.data).main, profile, model.sample(0))
    assert [one.op for one in emulation.unknown] == ["MEAN"]

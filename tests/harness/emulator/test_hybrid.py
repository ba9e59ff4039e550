"""Hybrid ops on this host where rows of activations lie on ties, beyond what a draw meets."""

import platform

import pytest

from tests.oracle.hybrid_families import around_dot_products, rows_on_ties
from tests.oracle.kernel_choice import assert_exact
from tests.oracle.runtimes import Kernels, Request, run_all

PROFILES: dict[str, Kernels] = {
    "litert-ref": "reference",
    "litert-builtin-x86": "builtin",
    "litert-xnnpack-x86": "xnnpack",
}

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="kernels of x86-64")


@pytest.mark.parametrize("profile", PROFILES)
def test_rows_on_ties(profile: str) -> None:
    work = [(m, rows_on_ties(m)) for m in around_dot_products()]
    answers = run_all([Request(m.data, x, PROFILES[profile]) for m, x in work])
    for (model, x), answer in zip(work, answers, strict=True):
        assert_exact(model, x, answer, profile)

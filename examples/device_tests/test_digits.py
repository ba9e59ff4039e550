"""Is the digits network right and fast enough on our Arm devices?

::

    edgefarm board create a76 --core cortex-a76
    pytest examples/device_tests --device a76

Without `--device`, any device of the inventory that runs the target will do; without one, the tests
are skipped and say how to add it (`--require-device` makes that a failure, for CI).
"""

import numpy as np
import pytest

pytestmark = pytest.mark.device(target="arm-neon-litert")

MODEL, RECIPE = "zoo:digits-cnn", "static_wi8_ai8"


@pytest.fixture(scope="module")
def digits(deploy):
    """One Run on the device, which all tests of this file look at."""
    return deploy(MODEL, recipe=RECIPE, samples=100)


def test_the_device_computes_what_the_emulator_expects(digits, assert_bit_exact):
    assert_bit_exact(digits)


def test_it_reads_digits(digits, assert_accuracy):
    assert_accuracy(digits, min_top1=0.95, max_drop_vs_float=0.01)


def test_it_is_fast(digits, assert_latency):
    # A virtual board's time says nothing about a real one: there, the limit is left out.
    assert_latency(digits, max_median_ms=5, not_representative="skip")


def test_the_emulator_stands_in_for_the_device(run_on_device, emulator):
    """What a product does with the outputs can be developed without a device."""
    x = np.random.default_rng(0).random((8, 1, 8, 8), np.float32)
    (got,), (expected,) = (
        run_on_device(MODEL, x, recipe=RECIPE),
        emulator(MODEL, x, recipe=RECIPE, profile="litert-xnnpack-arm"),
    )
    assert (got == expected).all()

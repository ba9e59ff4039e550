"""Single ops on both virtual cores, where aarch64 computes otherwise than x86.

One model of each family in one batch; `python -m tests.evidence cortex-a53` runs all families.
"""

import pytest

from farm.transports import connect
from harness.device import Device
from tests.evidence.cases import cases_of
from tests.evidence.machines import MACHINES
from tests.evidence.measure import measure_all

pytestmark = pytest.mark.slow

FAMILIES = (
    "*hybrid*",
    "shapes: dot products",
    "CONCATENATION-uint8",
    "CONV_2D-*-pc",
    "CONV_2D-uint8-pt",
    "DEPTHWISE_CONV_2D-*",
    "DEQUANTIZE-int8",
    "FULLY_CONNECTED-*-pt",
    "HARD_SWISH-*",
    "LEAKY_RELU-*",
    "LOG_SOFTMAX-*",
    "LOGISTIC-*",
    "LSTM plain",
    "MEAN-*",
    "MUL-*",
    "QUANTIZE-int16-int8",
    "REDUCE_PROD-int8",
    "RESIZE_BILINEAR-*",
    "*SQRT-int*",
    "EXP-int16",
    "SOFTMAX-*",
    "SUM-*",
    "SVDF plain",
    "TRANSPOSE_CONV-*",
    "IF",
)


@pytest.mark.parametrize("core", ["cortex-a53", "cortex-a76"])
def test_equal_bit_for_bit(core: str, request: pytest.FixtureRequest) -> None:
    device: Device = request.getfixturevalue(core.replace("-", "_"))
    with connect(device) as transport:
        found = measure_all(
            MACHINES[core].profiles, cases_of(FAMILIES, models=1, draws=1), transport
        )
    for name, measured in found.items():
        total = measured.total
        assert (total.differing, total.wrong, total.refused) == (0, [], []), name
        assert total.elements > 100_000
        assert bool(total.delegated) == ("xnnpack" in name)

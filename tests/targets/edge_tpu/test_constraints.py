"""Each row of the published table: what it allows is mapped, what it forbids is not, and why."""

from collections.abc import Mapping
from typing import Any

import pytest

from targets.edge_tpu.constraints import TABLE
from targets.edge_tpu.placing import predict
from tests.targets.edge_tpu.graphs import ADD, CONV, DEPTHWISE, line

AXES_XY = ((2,), "int32", [1, 2])
MAPPED: list[tuple[str, Mapping[str, Any]]] = [
    CONV,
    DEPTHWISE,
    ADD,
    ("AVERAGE_POOL_2D", {}),
    ("MAX_POOL_2D", {"options": {"fused_activation_function": "NONE"}}),
    ("CONCATENATION", {"constants": [((1, 8, 8, 4), "int8", 0)], "shape": (1, 8, 8, 8)}),
    ("FULLY_CONNECTED", {"takes": [(1, 16)], "shape": (1, 9), "version": 4,
                         "constants": [((9, 16), "int8", 1), ((9,), "int32", 0)]}),
    ("MEAN", {"constants": [AXES_XY], "shape": (1, 4)}),
    ("MEAN", {"constants": [((1,), "int32", [3])], "shape": (1, 8, 8)}),
    ("MEAN", {"takes": [(1, 64, 128, 3)], "constants": [AXES_XY], "shape": (1, 3)}),
    ("PAD", {"constants": [((4, 2), "int32", [[0, 0], [1, 1], [1, 1], [0, 0]])],
             "shape": (1, 10, 10, 4)}),
    ("PACK", {"options": {"axis": 1}, "shape": (1, 1, 8, 8, 4)}),
    ("PRELU", {"constants": [((1, 1, 4), "int8", 1)], "version": 1}),
    ("QUANTIZE", {"dtype": "uint8", "version": 1}),
    ("REDUCE_MAX", {"constants": [AXES_XY], "shape": (1, 4)}),
    ("RESHAPE", {"constants": [((2,), "int32", [1, 256])], "shape": (1, 256), "version": 1}),
    ("RESIZE_BILINEAR", {"constants": [((2,), "int32", [16, 16])], "shape": (1, 16, 16, 4)}),
    ("SOFTMAX", {"takes": [(1, 16000)], "shape": (1, 16000)}),
    ("SPLIT", {"constants": [((1,), "int32", [3])], "order": (1, 0), "shape": (1, 8, 8, 2)}),
    ("SQUEEZE", {"takes": [(1, 1, 5, 10)], "shape": (5, 10), "version": 1,
                 "options": {"squeeze_dims": (0, 1)}}),
    ("STRIDED_SLICE", {"constants": [((4,), "int32", 0), ((4,), "int32", 8),
                                     ((4,), "int32", 1)]}),
    ("TRANSPOSE", {"constants": [((4,), "int32", [0, 2, 1, 3])]}),
    ("TRANSPOSE_CONV", {"constants": [((4,), "int32", [1, 16, 16, 4]), ((4, 2, 2, 4), "int8", 1)],
                        "order": (1, 2, 0), "shape": (1, 16, 16, 4)}),
]  # fmt: skip
FORBIDDEN: list[tuple[str, Mapping[str, Any], str]] = [
    ("ARG_MAX", {"dtype": "int32"}, "not supported"),
    ("BIDIRECTIONAL_SEQUENCE_LSTM", {}, "not supported"),
    ("HARD_SWISH", {}, "not supported"),
    ("ADD", {**ADD[1], "dtype": "int16"}, "only int8 and uint8"),
    ("DEQUANTIZE", {"dtype": "float32"}, "not supported"),
    ("CONV_2D", {**CONV[1], "constants": [((4, 1, 1, 4), "float32", 1), ((4,), "int32", 0)]},
     "only int8 and uint8"),
    ("CONV_2D", {**CONV[1], "options": {"dilation_w_factor": 2, "dilation_h_factor": 1}},
     "dilation 1 by 2: use the same"),
    ("AVERAGE_POOL_2D", {"options": {"fused_activation_function": "RELU6"}}, "fused RELU6"),
    ("CONCATENATION", {"constants": [((1, 8, 8, 4), "int8", 3)]}, "not all zeros"),
    ("CONCATENATION", {"constants": [((1, 8, 8, 4), "int8", 0)] * 2}, "a constant among 3 inputs"),
    ("FULLY_CONNECTED", {"takes": [(2, 16)], "shape": (2, 9), "version": 4,
                         "constants": [((9, 16), "int8", 1), ((9,), "int32", 0)]},
     "only one dimension may exceed 1"),
    ("FULLY_CONNECTED", {"takes": [(1, 16)], "shape": (1, 9), "version": 4,
                         "options": {"weights_format": "SHUFFLED4x16INT8"},
                         "constants": [((9, 16), "int8", 1), ((9,), "int32", 0)]},
     "weight format"),
    ("MEAN", {"constants": [((1,), "int32", [0])], "shape": (8, 8, 4)}, "batch dimension"),
    ("MEAN", {"takes": [(1, 8, 8, 3)], "constants": [((1,), "int32", [-1])], "shape": (1, 8, 8)},
     "depth 3 is not a multiple of 4: pad the channels to 4"),
    ("MEAN", {"takes": [(1, 256, 128, 3)], "constants": [AXES_XY], "shape": (1, 3)},
     "over 32,768 values"),
    ("PACK", {"options": {"axis": 0}, "shape": (1, 1, 8, 8, 4)}, "packs the batch"),
    ("PAD", {"constants": [((4, 2), "int32", [[0, 1], [0, 0], [0, 0], [0, 0]])],
             "shape": (2, 8, 8, 4)}, "three innermost"),
    ("PAD", {"constants": [((4, 2), "int32", [[0, 1], [0, 0], [0, 0], [0, 0]])]},
     "pads the batch"),
    ("PRELU", {"constants": [((8, 8, 4), "int8", 1)], "version": 1}, "shared_axes"),
    ("REDUCE_MIN", {"constants": [((1,), "int32", [-4])], "shape": (8, 8, 4)}, "batch dimension"),
    ("RESHAPE", {"takes": [(2, 8, 8, 4)], "shape": (2, 256), "version": 1}, "three innermost"),
    ("RESIZE_BILINEAR", {"takes": [(1, 1, 1, 256)], "constants": [((2,), "int32", [33, 33])],
                         "shape": (1, 33, 33, 256)}, "one pixel"),
    ("RESIZE_BILINEAR", {"takes": [(1, 256, 256, 32)], "constants": [((2,), "int32", 512)],
                         "shape": (1, 512, 512, 32)}, "8,388,608 elements"),
    ("SOFTMAX", {"takes": [(1, 16001)], "shape": (1, 16001)}, "at most 16,000"),
    ("SOFTMAX", {}, "softmax takes one dimension"),
    ("SPLIT", {"constants": [((1,), "int32", [0])], "order": (1, 0)}, "batch dimension"),
    ("SQUEEZE", {"takes": [(5, 1, 10)], "shape": (5, 10), "version": 1}, "use a reshape"),
    ("STRIDED_SLICE", {"constants": [((4,), "int32", 0), ((4,), "int32", 8),
                                     ((4,), "int32", [1, 2, 1, 1])]}, "all must be 1"),
    ("STRIDED_SLICE", {"options": {"ellipsis_mask": 1}}, "ellipsis_mask is 1"),
    ("SUM", {"constants": [((1,), "int32", [0])], "shape": (8, 8, 4)}, "batch dimension"),
    ("lab-op", {}, "not supported"),
]  # fmt: skip


@pytest.mark.parametrize(("op", "given"), MAPPED)
def test_what_the_table_allows_is_mapped(op: str, given: Mapping[str, Any]) -> None:
    [one] = predict(line((op, given))).placement
    assert (one.where, one.why.split(";")[0]) == ("edge-tpu", "mapped"), one.why


@pytest.mark.parametrize(("op", "given", "why"), FORBIDDEN)
def test_what_it_forbids_stays_on_the_cpu(op: str, given: Mapping[str, Any], why: str) -> None:
    report = predict(line((op, given)))
    [one] = report.placement
    assert one.where == "cpu"
    assert why in one.why
    assert report.left == (0,)


def test_weight_scales_by_channel_map_and_are_doubted_where_no_log_shows_them() -> None:
    given = {
        "takes": [(1, 16)],
        "shape": (1, 9),
        "version": 4,
        "constants": [((9, 16), "int8", 1, 9), ((9,), "int32", 0)],
    }
    [dense] = predict(line(("FULLY_CONNECTED", given))).placement
    assert dense.where == "edge-tpu"
    assert "its 9 weight scales are newer than the compiler" in dense.why
    [conv] = predict(line(CONV)).placement
    assert (conv.where, conv.why) == ("edge-tpu", "mapped")


def test_older_runtimes_have_fewer_ops() -> None:
    transpose = line(("TRANSPOSE", {"constants": [((4,), "int32", [0, 2, 1, 3])]}))
    [one] = predict(transpose, runtime=13).placement
    assert "needs Edge TPU runtime 14, the device has 13" in one.why
    assert {op for op, entry in TABLE.items() if entry.runtime == 13} == {
        "EXPAND_DIMS", "PACK", "PRELU", "QUANTIZE", "SUM", "TRANSPOSE_CONV"
    }  # fmt: skip

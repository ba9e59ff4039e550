"""Entries of LiteRT's optimized kernels that accumulate: convolutions, fully connected."""

from dataclasses import replace

import numpy as np

from harness.arithmetic.profile import Entry, Evidence, Signature
from harness.arithmetic.requantize import product_multiplier, quantize_multiplier

_KERNELS = "LiteRT tflite/kernels"
_OPTIMIZED = f"{_KERNELS}/internal/optimized"
_LARGEST_UNFOLDED = 1 << 30
_GEMV_ROWS, _GEMV_DEPTH = 4, 8


def _weights_alike(s: Signature) -> bool:
    return len(s.dtypes) > 1 and s.dtypes[1] == s.dtypes[0] == s.output


def takes_reference(s: Signature) -> bool:
    """A CONV_2D of groups, or one whose unfolded input would have 1 GB."""
    _, height, width, depth = s.shapes[1]
    o = s.options
    plain = height == width == o.get("stride_h", 1) == o.get("stride_w", 1) == 1
    unfolded = height * width * depth
    for size in s.output_shape[:3]:
        unfolded *= size
    return s.shapes[0][-1] != depth or (not plain and unfolded >= _LARGEST_UNFOLDED)


def _is_conv(s: Signature) -> bool:
    return _weights_alike(s) and len(s.shapes[1]) == len(s.output_shape) == 4


def _whole_blocks(s: Signature) -> bool:
    return _weights_alike(s) and s.shapes[1][-1] % 8 == 0


def is_one_column(s: Signature) -> bool:
    """The result is one column of at least 4 rows, from a depth of at least 8.

    Source: cpu_backend_gemm.h Gemm, cpu_backend_gemm_custom_gemv.h CustomGemvImpl.
    """
    weights, columns, depth = s.shapes[1], 1, 1
    for size in s.output_shape[:-1]:
        columns *= size
    for size in weights[1:]:
        depth *= size
    return columns == 1 and weights[0] >= _GEMV_ROWS and depth >= _GEMV_DEPTH


def _has_3x3_kernel(s: Signature) -> bool:
    return _weights_alike(s) and fits_3x3_kernel(s) and _shifts_right(s)


def fits_3x3_kernel(s: Signature) -> bool:
    """Whether a depthwise convolution has the shape of the kernels for windows of 3 x 3.

    Source: depthwiseconv_3x3_filter_common.h, Fast3x3FilterKernelSupported.
    """
    if len(s.shapes[0]) != 4 or s.shapes[1][1:3] != (3, 3):
        return False
    options, (_, height, width, depth) = s.options, s.shapes[0]
    stride = options.get("stride_h", 1)
    return (
        s.shapes[1][3] == depth
        and depth % 8 == 0
        and stride == options.get("stride_w", 1)
        and stride in {1, 2}
        and options.get("dilation_h_factor", 1) == options.get("dilation_w_factor", 1) == 1
        and _borders_fit((height, width), s.output_shape[1:3], stride)
    )


def _borders_fit(size: tuple[int, ...], output: tuple[int, ...], stride: int) -> bool:
    """Windows reach as far over the end as over the start: not at all, or by one."""
    reach = [(o - 1) * stride + 3 - n for n, o in zip(size, output, strict=True)]
    before = [max(0, over) // 2 for over in reach]
    fits = all(over <= 2 * before[0] for over in reach)
    in_line = before[0] == 1 and 1 in size and size[0] != size[1]
    return before[0] == before[1] <= 1 and fits and not in_line


def _shifts_right(s: Signature) -> bool:
    """The multiplier is below 1."""
    s_x, s_w, s_y = s.scales[0][0], s.scales[1], s.scales[-1][0]
    real = product_multiplier(np.float32(s_x), np.asarray(s_w, np.float32), np.float32(s_y))
    return bool(np.all(quantize_multiplier(real)[1] <= 0))


_REFERENCE_CONV: tuple[Entry, ...] = tuple(
    Entry(
        ("CONV_2D",),
        (dtype,),
        f"S1:{multiplier}",
        Evidence.MEASURED,
        f"{_KERNELS}/conv.cc {function}: the reference kernel",
        lambda s: _is_conv(s) and takes_reference(s),
        "groups, or an unfolded input of 1 GB",
    )
    for dtype, multiplier, function in (
        ("int8", "double", "EvalQuantizedPerChannel"),
        ("uint8", "product", "EvalQuantized"),
    )
)

_DEPTHWISE: tuple[Entry, ...] = (
    Entry(
        ("DEPTHWISE_CONV_2D",),
        ("int8",),
        "S2:double",
        Evidence.MEASURED,
        f"{_OPTIMIZED}/integer_ops/depthwise_conv.h DepthwiseConvGeneral, "
        f"{_OPTIMIZED}/optimized_ops.h Quantize",
        _whole_blocks,
        "a multiple of 8 channels",
    ),
    Entry(
        ("DEPTHWISE_CONV_2D",),
        ("int8",),
        "S2-blocks-of-8:double",
        Evidence.MEASURED,
        f"{_OPTIMIZED}/integer_ops/depthwise_conv.h DepthwiseConvGeneral, "
        f"{_OPTIMIZED}/optimized_ops.h Quantize",
        _weights_alike,
        "int8 weights",
    ),
    Entry(
        ("DEPTHWISE_CONV_2D",),
        ("uint8",),
        "S1:product",
        Evidence.MEASURED,
        f"{_OPTIMIZED}/depthwiseconv_uint8.h DepthwiseConvGeneral",
        _weights_alike,
        "uint8 weights",
    ),
)


def _products(rounding: str, reference: str, only_columns: bool = False) -> tuple[Entry, ...]:
    """CONV_2D and FULLY_CONNECTED through one matrix kernel."""

    def entry(op: str, dtype: str, multiplier: str, conditions: tuple[bool | None, str]) -> Entry:
        per_channel, words = conditions

        def when(s: Signature) -> bool:
            fits = _is_conv(s) if op == "CONV_2D" else _weights_alike(s)
            wanted = per_channel is None or s.per_channel == per_channel
            return fits and wanted and (not only_columns or is_one_column(s))

        if only_columns:
            words = f"{words}, one column of >= {_GEMV_ROWS} rows, depth >= {_GEMV_DEPTH}"
        semantics = f"{rounding}:{multiplier}"
        return Entry((op,), (dtype,), semantics, Evidence.MEASURED, reference, when, words)

    return (
        entry("CONV_2D", "int8", "double", (None, "int8 weights")),
        entry("CONV_2D", "uint8", "product", (None, "uint8 weights")),
        entry("FULLY_CONNECTED", "int8", "double", (True, "int8 weights, per channel")),
        entry("FULLY_CONNECTED", "int8", "product", (False, "int8 weights, per tensor")),
        entry("FULLY_CONNECTED", "uint8", "product", (None, "uint8 weights")),
    )


def unpacked(entries: tuple[Entry, ...]) -> tuple[Entry, ...]:
    """The int8 entries for weights of 4 bits (FULLY_CONNECTED: and 2): kernels unpack them first.

    Source: LiteRT kernels/conv.cc, depthwise_conv.cc EvalQuantizedPerChannel; fully_connected.cc
    EvalQuantized.
    """

    def of_int8(entry: Entry) -> Entry:
        def when(s: Signature) -> bool:
            alike = replace(s, dtypes=(s.dtypes[0], "int8", *s.dtypes[2:]))
            return entry.when is None or entry.when(alike)

        return replace(
            entry,
            reference=f"{entry.reference}; weights are unpacked first",
            when=when,
            condition=entry.condition.replace("int8 weights", "narrow weights"),
            weights=("int4", "int2") if entry.ops == ("FULLY_CONNECTED",) else ("int4",),
        )

    return tuple(of_int8(entry) for entry in entries if entry.dtypes == ("int8",))


_GEMV = f"{_KERNELS}/cpu_backend_gemm_custom_gemv.h CustomGemvImpl"
_X86: tuple[Entry, ...] = (
    *_REFERENCE_CONV,
    *_DEPTHWISE,
    *_products("S2", f"ruy kernel_avx512.cc, kernel_avx2_fma.cc; {_GEMV}"),
)
MATRIX_X86 = (*_X86, *unpacked(_X86))
_DEPTHWISE_3X3 = Entry(
    ("DEPTHWISE_CONV_2D",),
    ("uint8",),
    "S2:product",
    Evidence.MEASURED,
    f"{_OPTIMIZED}/depthwiseconv_uint8_3x3_filter.h DepthwiseConv3x3Filter",
    _has_3x3_kernel,
    "window 3x3, stride 1 or 2, a multiple of 8 channels, borders 0 or 1 on all sides, "
    "multiplier below 1",
)
MATRIX_ARM: tuple[Entry, ...] = (
    *_REFERENCE_CONV,
    _DEPTHWISE_3X3,
    *_DEPTHWISE,
    *_products("S2", _GEMV, only_columns=True),
    *_products("S3", "ruy kernel_arm64.cc, apply_multiplier.cc"),
)
UNPACKED_ARM = unpacked(MATRIX_ARM)

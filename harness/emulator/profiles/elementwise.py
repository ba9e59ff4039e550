"""Entries of the element-wise ops: activations, products, extremes, roots and tables."""

from collections.abc import Callable
from math import log2

from harness.arithmetic.function_tables import (
    TableQuantization,
    are_equal,
    litert_overflows,
    litert_tables,
    xnnpack_tables,
)
from harness.arithmetic.profile import Entry, Evidence, Signature
from harness.emulator.ops.broadcast import walk
from harness.emulator.profiles import delegation

_KERNELS = "LiteRT tflite/kernels"
_REFERENCE = f"{_KERNELS}/internal/reference"
_OPTIMIZED = f"{_KERNELS}/internal/optimized"
_X = "XNNPACK src"
_SIGMOID = f"{_REFERENCE}/integer_ops/logistic.h, tanh.h"
_EIGHT_BIT = ("int8", "uint8")
_INTEGERS = (*_EIGHT_BIT, "int16")
Condition = Callable[[Signature], bool]


def _entry(op: str | tuple[str, ...], dtypes: tuple[str, ...], semantics: str, file: str) -> Entry:
    ops = (op,) if isinstance(op, str) else op
    return Entry(ops, dtypes, semantics, Evidence.MEASURED, file)


def _table_of(s: Signature) -> TableQuantization | None:
    """What the table of an 8-bit function depends on; None where it is not quantized as it must."""
    if [len(scale) for scale in s.scales] != [1, 1] or s.output != s.dtypes[0]:
        return None
    (s_x,), (s_y,) = s.scales
    (z_x,), (z_y,) = s.zero_points
    return TableQuantization(s_x, z_x, s_y, z_y, s.output) if s_x > 0 and s_y > 0 else None


def _same_everywhere(s: Signature) -> bool:
    """No entry of LiteRT's table depends on the C library or on the machine."""
    q = _table_of(s)
    name = "GELU approximate" if s.op == "GELU" and s.options.get("approximate") else s.op
    return q is not None and are_equal(litert_tables(name, q)) and not litert_overflows(name, q)


def _same_everywhere_even(s: Signature) -> bool:
    """No entry of XNNPACK's table depends on the C library or on fused products."""
    q = _table_of(s)
    takes = delegation.takes_equal_dtypes(s)
    return q is not None and takes and are_equal(xnnpack_tables(s.op, q))


_SAME = "no entry depends on the last bits of the C library's function"
_TRIED = (
    "compared equal on every machine at hand, but some entry of the table lies so near to a tie "
    "that another C library's function, within its error, would give the neighbouring integer"
)
_TABLE = f"{_KERNELS}/internal/common.h LUTPopulateInt8"


def _tables(ops: tuple[str, ...], dtypes: tuple[str, ...]) -> tuple[Entry, Entry]:
    return (
        Entry(ops, dtypes, "table", Evidence.MEASURED, _TABLE, _same_everywhere, _SAME),
        Entry(ops, dtypes, "table", Evidence.ASSUMED, _TABLE, condition="else", tried=_TRIED),
    )


def _tables_even(ops: tuple[str, ...], dtypes: tuple[str, ...]) -> tuple[Entry, Entry]:
    file = f"{_X}/reference/unary-elementwise.cc; {_X}/operators/unary-elementwise-nc.c"
    takes = delegation.takes_equal_dtypes
    condition = f"delegated; {_SAME}"
    return (
        Entry(ops, dtypes, "table-even", Evidence.MEASURED, file, _same_everywhere_even, condition),
        Entry(
            ops,
            dtypes,
            "table-even",
            Evidence.ASSUMED,
            file,
            takes,
            "delegated; else",
            tried=_TRIED,
        ),
    )


_PRELU: tuple[Entry, ...] = (
    _entry("PRELU", _EIGHT_BIT, "S1:single", f"{_REFERENCE}/prelu.h Prelu"),
    Entry(
        ("PRELU",),
        ("int16",),
        "S1:single",
        Evidence.MEASURED,
        f"{_REFERENCE}/prelu.h Prelu, which takes any slopes for int8",
        weights=("int8",),
    ),
)

_MUL_INT16: tuple[Entry, ...] = (
    Entry(
        ("MUL",),
        ("int16",),
        "S1:single",
        Evidence.MEASURED,
        f"{_REFERENCE}/integer_ops/mul.h MulElementwise",
        lambda s: s.output == "int16",
        "int16 output",
    ),
    Entry(
        ("MUL",),
        ("int16",),
        "doubling-high-16",
        Evidence.MEASURED,
        f"{_REFERENCE}/integer_ops/mul.h Mul; {_OPTIMIZED}/optimized_ops.h Mul",
        lambda s: s.output in _EIGHT_BIT and s.shapes[0] == s.shapes[1],
        "8-bit output, equal shapes",
        any_scales=True,
    ),
)

_EVERYWHERE: tuple[Entry, ...] = (
    _entry(("RELU", "RELU6"), _INTEGERS, "S1:single", f"{_KERNELS}/activations.cc QuantizedReluX"),
    _entry("RELU_N1_TO_1", _EIGHT_BIT, "S1:single", f"{_KERNELS}/activations.cc QuantizedReluX"),
    _entry("LEAKY_RELU", _EIGHT_BIT, "S1:single", f"{_REFERENCE}/leaky_relu.h QuantizeLeakyRelu"),
    *_PRELU,
    *_MUL_INT16,
    _entry(("MINIMUM", "MAXIMUM"), _INTEGERS, "raw", f"{_KERNELS}/maximum_minimum.cc"),
    _entry("DIV", _INTEGERS, "reciprocal", f"{_REFERENCE}/div.h DivElementwise"),
    _entry("SQUARED_DIFFERENCE", ("int8",), "shifted-S1", f"{_KERNELS}/squared_difference.cc"),
    _entry("SQRT", ("int8",), "truncated", f"{_KERNELS}/elementwise.cc SqrtEvalQuantized"),
    _entry("RSQRT", ("int8",), "newton", f"{_KERNELS}/elementwise.cc RsqrtEvalQuantizedInt8"),
    Entry(
        ("ABS",),
        ("int8", "int16"),
        "S1:single",
        Evidence.MEASURED,
        f"{_KERNELS}/elementwise.cc AbsEvalQuantized",
        lambda s: len(s.scales[0]) == 1,
        "quantized",
    ),
    _entry("NEG", ("int8", "int16"), "raw", f"{_REFERENCE}/neg.h Negate"),
    _entry("L2_NORMALIZATION", _EIGHT_BIT, "newton", f"{_REFERENCE}/l2normalization.h"),
    *_tables(("LOGISTIC", "TANH", "GELU"), _EIGHT_BIT),
    *_tables(("EXP", "LOG"), ("int8",)),
    _entry("SQRT", ("int16",), "truncated", f"{_KERNELS}/elementwise.cc SqrtEvalQuantized"),
)
"""The same kernel in every resolver."""


def _never_wraps(s: Signature) -> bool:
    """MUL: no scaled product leaves int16, where the vector code of the kernel would wrap; or the
    reference kernel walks over the shapes."""
    if [len(scale) for scale in s.scales] != [1, 1, 1]:
        return False
    (first,), (second,), (output,) = s.scales
    fits = 255 * 255 * first * second < ((1 << 15) - 256) * output
    return fits or walk(s.shapes[0], s.shapes[1]).kind == "generic"


def _repeats_one(s: Signature) -> bool:
    return walk(s.shapes[0], s.shapes[1]).kind == "scalar"


def _mul_blocks(dtype: str, lanes: str, when: Condition | None, condition: str) -> Entry:
    """MUL in vectors of 16-bit lanes."""
    functions = "integer_ops/mul.h, optimized_ops.h MulElementwise, MulSimpleBroadcast"
    return Entry(
        ("MUL",),
        (dtype,),
        f"S1:single-{lanes}",
        Evidence.MEASURED,
        f"{_OPTIMIZED}/{functions}",
        when,
        condition,
    )


def _takes_multiplier(s: Signature) -> bool:
    """LOGISTIC and TANH in int16: other scales than those of the fixed-point kernels."""
    if len(s.scales[0]) != 1 or s.scales[0][0] <= 0:
        return False
    powers = (-12, -11) if s.op == "TANH" else (-12,)
    return all(abs(log2(s.scales[0][0]) - power) >= 1e-3 for power in powers)


def _lines(semantics: str) -> tuple[Entry, ...]:
    """int16 functions from tables with straight lines; `semantics` differs where a product and its
    sum are fused."""
    exact = ("EXP", "LOG", "RSQRT")
    file = f"{_KERNELS}/internal/common.h LUTPopulateInt16, LUTLookup"
    return (
        _entry(exact, ("int16",), semantics, file),
        Entry(
            ("GELU",),
            ("int16",),
            semantics,
            Evidence.ASSUMED,
            file,
            tried="equal or one step off on every machine at hand: the steps are as fine as the"
            " error of the C library's tanhf and erfcf",
        ),
    )


_BUILTIN: tuple[Entry, ...] = (
    *_EVERYWHERE,
    *_tables(("ELU",), ("int8",)),
    Entry(
        ("LOGISTIC", "TANH"),
        ("int16",),
        "interpolated",
        Evidence.MEASURED,
        f"{_KERNELS}/activations.cc SigmoidEval, TanhEval, which take {_SIGMOID}",
        _takes_multiplier,
        "input scale not 2^-12, of TANH not 2^-11 either",
    ),
    _entry(
        ("LOGISTIC", "TANH"),
        ("int16",),
        "gemmlowp-16",
        f"{_OPTIMIZED}/optimized_ops.h Logistic and Tanh for int16",
    ),
    Entry(
        ("MUL",),
        _EIGHT_BIT,
        "S1:single",
        Evidence.MEASURED,
        f"{_OPTIMIZED}/integer_ops/mul.h and {_OPTIMIZED}/optimized_ops.h MulElementwise",
        _never_wraps,
        "s1 s2 / sy below 1/2, or broadcast along more axes",
    ),
    _mul_blocks("int8", "saturating-blocks-of-16", None, ""),
    _mul_blocks(
        "uint8", "wrapping-blocks-of-8", _repeats_one, "one input repeated along the last axis"
    ),
    _mul_blocks("uint8", "saturating-blocks-of-8", None, ""),
    _entry(
        "LEAKY_RELU",
        ("int16",),
        "S1:single-signed",
        f"{_OPTIMIZED}/integer_ops/leaky_relu.h QuantizeLeakyRelu",
    ),
    _entry(
        "SUB",
        _EIGHT_BIT,
        "shifted-S1",
        f"{_KERNELS}/sub.cc: 8-bit subtractions take the reference kernel",
    ),
)

ELEMENTWISE_REF: tuple[Entry, ...] = (
    *_EVERYWHERE,
    *_lines("interpolated"),
    _entry(("LOGISTIC", "TANH"), ("int16",), "interpolated", _SIGMOID),
    _entry("LEAKY_RELU", ("int16",), "S1:single", f"{_REFERENCE}/leaky_relu.h QuantizeLeakyRelu"),
    _entry("MUL", _EIGHT_BIT, "S1:single", f"{_REFERENCE}/integer_ops/mul.h, {_REFERENCE}/mul.h"),
    _entry("HARD_SWISH", _EIGHT_BIT, "fixed-16", f"{_REFERENCE}/hard_swish.h HardSwish"),
)
LINES_ARM = _lines("interpolated-fused")
ELEMENTWISE_BUILTIN_X86: tuple[Entry, ...] = (
    *_BUILTIN,
    *_lines("interpolated"),
    _entry("HARD_SWISH", _EIGHT_BIT, "fixed-16", f"{_OPTIMIZED}/optimized_ops.h HardSwish"),
)
ELEMENTWISE_BUILTIN_ARM: tuple[Entry, ...] = (
    *_BUILTIN,
    *LINES_ARM,
    Entry(
        ("HARD_SWISH",),
        _EIGHT_BIT,
        "fixed-16-blocks-of-8",
        Evidence.MEASURED,
        f"{_OPTIMIZED}/optimized_ops.h HardSwish with __ARM_NEON",
    ),
)


def elementwise_delegated(product: str) -> tuple[Entry, ...]:
    """What XNNPACK computes of them.

    Args:
        product: semantics of MUL.
    """
    return (
        Entry(
            ("MUL",),
            _EIGHT_BIT,
            product,
            Evidence.MEASURED,
            f"{_X}/configs/binary-elementwise-config.c init_qs8_vmul_config, {_X}/qs8-vmul",
            delegation.takes_product,
            "delegated: s1 s2 / sy in [2^-16, 2^8)",
        ),
        Entry(
            ("LEAKY_RELU",),
            _EIGHT_BIT,
            "rescale-8-bits",
            Evidence.MEASURED,
            f"{_X}/microparams-init.c xnn_init_qs8_lrelu_scalar_params, {_X}/qs8-vlrelu",
            delegation.takes_leaky_relu,
            "delegated: scales within [2^-8, 2^7] of each other, also times alpha",
        ),
        *_tables_even(("LOGISTIC", "TANH"), _EIGHT_BIT),
        *_tables_even(("ELU",), ("int8",)),
    )

"""Entries of sums, products, extremes and positions along axes."""

from harness.arithmetic.profile import Entry, Evidence
from harness.emulator.profiles import delegation

_KERNELS = "LiteRT tflite/kernels"
_OPTIMIZED = f"{_KERNELS}/internal/optimized"
_QUANTIZED = ("int8", "uint8", "int16")
_PLAIN = ("int32", "int64")


def _entry(ops: tuple[str, ...], dtypes: tuple[str, ...], semantics: str, reference: str) -> Entry:
    return Entry(ops, dtypes, semantics, Evidence.MEASURED, reference)


_EVERYWHERE = (
    _entry(
        ("REDUCE_MAX", "REDUCE_MIN"),
        (*_QUANTIZED, *_PLAIN, "float32"),
        "pick",
        f"{_KERNELS}/reduce.cc EvalType; XNNPACK src/s8-rminmax, src/u8-rminmax",
    ),
    _entry(("REDUCE_ANY", "REDUCE_ALL"), ("bool",), "pick", f"{_KERNELS}/reduce.cc EvalType"),
    _entry(("SUM", "REDUCE_PROD"), _PLAIN, "wrapping", f"{_KERNELS}/reduce.cc EvalType"),
    _entry(
        ("ARG_MAX", "ARG_MIN"),
        ("int8", "uint8", "int32", "float32", "bool"),
        "first",
        f"{_KERNELS}/arg_min_max.cc, {_OPTIMIZED}/optimized_ops.h ArgMinMax",
    ),
    _entry(
        ("TOPK_V2",),
        (*_QUANTIZED, *_PLAIN, "float32"),
        "first",
        f"{_KERNELS}/topk_v2.cc TopContainer",
    ),
    Entry(
        ("SUM", "REDUCE_PROD"),
        ("float32",),
        "float",
        Evidence.ASSUMED,
        "float32 arithmetic; the order of additions is the runtime's own",
    ),
)


def _product(semantics: str, reference: str) -> Entry:
    return Entry(
        ("REDUCE_PROD",),
        ("int8", "int16"),
        semantics,
        Evidence.MEASURED,
        reference,
        when=lambda s: bool(s.scales[0] and s.scales[-1]),
        condition="quantized",
    )


_PRODUCT = _product("S8-each-step-or-copy", f"{_OPTIMIZED}/reduce.h QuantizedReduceProd")


def _sum(semantics: str) -> Entry:
    return _entry(("SUM",), _QUANTIZED, semantics, f"{_OPTIMIZED}/reduce.h QuantizedMeanOrSum")


REDUCTIONS_REF: tuple[Entry, ...] = (
    _entry(
        ("SUM",),
        ("int8", "uint8"),
        "as-uint8-S1",
        f"{_KERNELS}/reduce.cc QuantizedMeanOrSum, which reads int8 as uint8",
    ),
    _product("S8-each-step", f"{_KERNELS}/internal/reference/reduce.h QuantizedReduceProd"),
    *_EVERYWHERE,
)
REDUCTIONS_BUILTIN_X86: tuple[Entry, ...] = (_sum("float-once"), _PRODUCT, *_EVERYWHERE)
REDUCTIONS_BUILTIN_ARM: tuple[Entry, ...] = (_sum("float-once-fused"), _PRODUCT, *_EVERYWHERE)


def sum_delegated(semantics: str) -> Entry:
    """SUM as XNNPACK computes it; `semantics` differs where products are fused."""
    return Entry(
        ("SUM",),
        ("int8", "uint8"),
        semantics,
        Evidence.MEASURED,
        "XNNPACK src/operators/reduce-nd.c reshape_reduce_nd",
        delegation.takes_reduction,
        "delegated: constant axes",
    )

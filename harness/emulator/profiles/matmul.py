"""Entries of BATCH_MATMUL: integers, and hybrid."""

from dataclasses import replace

from harness.arithmetic.profile import Entry, Evidence, Signature

_KERNELS = "LiteRT tflite/kernels"
_REFERENCE = f"{_KERNELS}/internal/reference/batch_matmul.h BatchMatMul"
CORES_DIFFER = (
    "measured on Cortex-A53, where it is so, and on Cortex-A76, where kernels with dot products "
    "round otherwise; the core decides"
)


def _entry(
    dtypes: tuple[str, str], semantics: str, file: str, output: str, condition: str = ""
) -> Entry:
    """Both factors per tensor; `output` is the dtype of the product."""
    return Entry(
        ("BATCH_MATMUL",),
        dtypes[:1],
        semantics,
        Evidence.MEASURED,
        file,
        lambda s: s.output == output and max(map(len, s.scales[:2])) <= 1,
        condition or f"{output} output, per tensor",
        dtypes[1:],
    )


_INTEGERS: tuple[Entry, ...] = (
    _entry(("int8", "int8"), "S1:product", _REFERENCE, "int8"),
    _entry(("int8", "int8"), "sums", f"{_KERNELS}/batch_matmul.cc EvalInt8Int32", "int32"),
    _entry(("int16", "int16"), "S8:product", _REFERENCE, "int16"),
    _entry(("int16", "int8"), "S8:product", _REFERENCE, "int16"),
)


def matmul(rows: str) -> tuple[Entry, ...]:
    """The one built-in kernel of every resolver; `rows` is how rows are quantized."""
    hybrid = Entry(
        ("BATCH_MATMUL",),
        ("float32",),
        f"hybrid-summed-places:{rows}",
        Evidence.MEASURED,
        f"{_KERNELS}/batch_matmul.cc EvalHybrid; {_REFERENCE}",
        lambda s: s.output == "float32",
        "float32 output",
        ("int8",),
    )
    return (*_INTEGERS, hybrid)


def _is_delegated(s: Signature) -> bool:
    per_tensor = [len(scale) for scale in s.scales] == [1, 1, 1]
    return s.output == "int8" and per_tensor and not any(s.zero_points[1])


def matmul_delegated(hybrid: str, *, known_core: bool = True) -> tuple[Entry, ...]:
    """As XNNPACK computes it.

    Args:
        hybrid: semantics of float32 by constant int8.
        known_core: whether `hybrid` is sure.
    """
    file = "XNNPACK src/operators/batch-matrix-multiply-nc.c"
    integers = Entry(
        ("BATCH_MATMUL",),
        ("int8",),
        "S5:single",
        Evidence.MEASURED,
        f"{file}, src/qs8-qc8w-gemm",
        _is_delegated,
        "delegated: per tensor, second factor with zero point 0",
        ("int8",),
    )
    constant = Entry(
        ("BATCH_MATMUL",),
        ("float32",),
        hybrid,
        Evidence.MEASURED if known_core else Evidence.ASSUMED,
        f"{file}, src/qd8-f32-qc8w-gemm",
        lambda s: s.constant[1] and not any(s.zero_points[1]),
        "delegated: constant second factor",
        ("int8",),
        "" if known_core else CORES_DIFFER,
    )
    computed = replace(
        constant,
        evidence=Evidence.ASSUMED,
        when=lambda s: not s.constant[1],
        condition="delegated: computed second factor",
        tried="differs: the delegate gives XNNPACK the second factor's address before there is one "
        "(VisitBatchMatMulNode), so that the product is of whatever XNNPACK's own memory holds: "
        "zeros where nothing ran before, what earlier nodes left else; another second factor "
        "changes no bit of it",
    )
    return (integers, constant, computed)

"""ExecuTorch with its XNNPACK backend: what the delegate runs, and the portable kernels beside it.

The reader of `.pte` files marks the nodes of portable kernels with the option ``portable``.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace

from harness.arithmetic.profile import ArithmeticProfile, Entry, Evidence, Signature
from harness.emulator.ops.deconvolution import DECONVOLUTION
from harness.emulator.profiles.elementwise import elementwise_delegated
from harness.emulator.profiles.hybrid import HYBRID_DELEGATED_X86, hybrid_delegated_arm
from harness.emulator.profiles.litert_xnnpack import LONG_SUMS_X86
from harness.emulator.profiles.moves import MOVE_ENTRIES
from harness.emulator.profiles.portable import portable_entries
from harness.emulator.profiles.shared import FLOAT_ENTRIES

_X = "XNNPACK src"
_ET = "executorch"


def _delegated(s: Signature) -> bool:
    return not s.options.get("portable")


def _int8_weights(s: Signature) -> bool:
    """Constant symmetric int8 weights, int32 bias or none, int8 output."""
    return (
        _delegated(s)
        and s.dtypes[1] == s.output == "int8"
        and s.constant[1]
        and (len(s.dtypes) < 3 or s.dtypes[2] in {"int32", ""})
        and not any(s.zero_points[1])
    )


def _int8_output(s: Signature) -> bool:
    return _delegated(s) and s.output == "int8"


def _entry(
    ops: tuple[str, ...], semantics: str, reference: str, when: str = "int8 output"
) -> Entry:
    condition = _int8_weights if "weights" in when else _int8_output
    return Entry(ops, ("int8",), semantics, Evidence.MEASURED, f"{_X}/{reference}", condition, when)


def _portable(
    op: str, dtype: str, semantics: str, file: str, when: Callable[[Signature], bool] | None = None
) -> Entry:
    return Entry(
        (op,),
        (dtype,),
        semantics,
        Evidence.MEASURED,
        f"{_ET} kernels/{file}",
        lambda s: not _delegated(s) and (when is None or when(s)),
        "portable kernel",
    )


_PORTABLE = (
    _portable(
        "QUANTIZE",
        "float32",
        "affine-even-in-int64",
        "quantized/cpu/op_quantize.cpp quantize_val",
        lambda s: s.output in {"int8", "uint8"},
    ),
    _portable("DEQUANTIZE", "int8", "affine", "quantized/cpu/op_dequantize.cpp"),
    _portable("DEQUANTIZE", "uint8", "affine", "quantized/cpu/op_dequantize.cpp"),
    *(
        _portable(
            op,
            "float32",
            "in-order",
            f"portable/cpu/op_{op.lower()}.cpp {op.lower()}_dim_out",
            lambda s: s.output == "float32",
        )
        for op in ("MEAN", "SUM")
    ),
    Entry(
        ("LAYER_NORM", "CLAMP"),
        ("float32",),
        "float",
        Evidence.ASSUMED,
        f"{_ET} kernels/portable/cpu/op_native_layer_norm.cpp; {_X}/f32-vclamp",
    ),
)


_MOVED = ("RESHAPE", "TRANSPOSE", "SLICE", "CONCATENATION", "PADV2")
"""What the delegate's payloads have of them."""
_MOVES: tuple[Entry, ...] = tuple(
    replace(entry, ops=ops, dtypes=("int8", "float32"))
    for entry in MOVE_ENTRIES
    if (ops := tuple(op for op in entry.ops if op in _MOVED))
)


def _int8_alone(entries: tuple[Entry, ...]) -> Iterator[Entry]:
    """ExecuTorch has no uint8 in the delegate."""
    for entry in entries:
        yield replace(entry, dtypes=("int8",))


def _as_run(entries: tuple[Entry, ...]) -> Iterator[Entry]:
    """Of what is quantized while it runs, linear layers by int8 weights were run here; the rest is
    what the same kernels compute for LiteRT."""
    for entry in entries:
        run = entry.ops == ("FULLY_CONNECTED",) and entry.weights == ("int8",)
        measured = entry.evidence is Evidence.MEASURED
        yield replace(entry, evidence=Evidence.SOURCE) if measured and not run else entry


def _entries(
    elementwise: tuple[Entry, ...], hybrid: tuple[Entry, ...], portable: tuple[Entry, ...]
) -> tuple[Entry, ...]:
    """What the delegate and the portable kernels compute.

    Args:
        elementwise: entries of MUL and of functions.
        hybrid: entries of what is quantized while it runs.
        portable: entries of the portable kernels.
    """
    return (
        _entry(
            ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"),
            "S5:single",
            "operators/convolution-nhwc.c, fully-connected-nc.c, qs8-qc8w-gemm, qs8-qc8w-dwconv",
            "int8 weights",
        ),
        _entry(
            ("ADD", "SUB"),
            "xnnpack",
            "microparams-init.c xnn_init_qs8_add_minmax_scalar_params, qs8-vadd",
        ),
        _entry((DECONVOLUTION,), "S5:single", "operators/deconvolution-nhwc.c", "int8 weights"),
        Entry(
            (DECONVOLUTION,),
            ("float32",),
            "float",
            Evidence.ASSUMED,
            "float32 arithmetic; the order of additions is the runtime's own",
            weights=("float32",),
        ),
        *_int8_alone(elementwise),
        _entry(("MEAN",), "xnnpack", "operators/reduce-nd.c reshape_reduce_nd; -ffp-contract=off"),
        _entry(("MAX_POOL_2D",), "xnnpack", "subgraph/max-pooling-2d.c"),
        _entry(("CLAMP",), "xnnpack", "operators/unary-elementwise-nc.c"),
        _entry(("QUANTIZE",), "rescale-8-bits", "qs8-vcvt"),
        Entry(
            ("QUANTIZE",),
            ("float32",),
            "affine-even",
            Evidence.MEASURED,
            f"{_X}/f32-qs8-vcvt",
            _int8_output,
            "int8 output",
        ),
        Entry(
            ("DEQUANTIZE",),
            ("int8",),
            "affine",
            Evidence.MEASURED,
            f"{_X}/qs8-f32-vcvt",
            _delegated,
            "in the delegate",
        ),
        *_as_run(hybrid),
        *_PORTABLE,
        *portable,
        *_MOVES,
        *FLOAT_ENTRIES,
    )


def _arm(core: str, words: str) -> ArithmeticProfile:
    entries = _entries(
        elementwise_delegated("S6:single"),
        hybrid_delegated_arm(core),
        portable_entries("portable-saturating"),
    )
    return ArithmeticProfile(
        f"executorch-xnnpack-arm@{core}" if core else "executorch-xnnpack-arm",
        f"ExecuTorch 1.5.1 with its XNNPACK backend, aarch64, {words}",
        entries,
    )


EXECUTORCH_XNNPACK: tuple[ArithmeticProfile, ...] = (
    ArithmeticProfile(
        "executorch-xnnpack-x86",
        "ExecuTorch 1.5.1 with its XNNPACK backend, x86-64 with AVX2",
        (
            LONG_SUMS_X86,
            *_entries(
                elementwise_delegated("S5:single"),
                HYBRID_DELEGATED_X86,
                portable_entries("portable"),
            ),
        ),
    ),
    _arm("", "core not known"),
    _arm("cortex-a53", "Cortex-A53"),
    _arm("cortex-a76", "Cortex-A76"),
)

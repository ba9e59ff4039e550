"""Entries of ADD in LiteRT's optimized kernels."""

from collections.abc import Callable
from dataclasses import replace

from harness.arithmetic.profile import Entry, Evidence, Signature
from harness.arithmetic.ranges import leaves_registers
from harness.emulator.ops.add import power_of_two
from harness.emulator.ops.broadcast import walk

_KERNELS = "LiteRT tflite/kernels"
_OPTIMIZED = f"{_KERNELS}/internal/optimized"


def _walks(kind: str) -> Callable[[Signature], bool]:
    return lambda s: len(s.shapes) == 2 and walk(s.shapes[0], s.shapes[1]).kind == kind


def _add(dtype: str, kind: str, semantics: str, functions: str, condition: str) -> Entry:
    files = f"{_OPTIMIZED}/{functions}"
    return Entry(("ADD",), (dtype,), semantics, Evidence.MEASURED, files, _walks(kind), condition)


def _powers_of_two(s: Signature) -> bool:
    """Equal shapes (SUB: any), int16, all scales powers of two, and the old path asked for."""
    plain = s.op == "SUB" or (len(s.shapes) == 2 and s.shapes[0] == s.shapes[1])
    per_tensor = [len(scale) for scale in s.scales] == [1, 1, 1]
    return (
        plain
        and per_tensor
        and bool(s.options.get("pot_scale_int16"))
        and all(power_of_two(scale[0]) is not None for scale in s.scales)
    )


POWERS_OF_TWO = Entry(
    ("ADD", "SUB"),
    ("int16",),
    "powers-of-two",
    Evidence.MEASURED,
    f"{_KERNELS}/add.cc, sub.cc Prepare; {_OPTIMIZED}/optimized_ops.h Add",
    _powers_of_two,
    "pot_scale_int16 and scales that are powers of two; ADD: equal shapes",
)
"""An older path for int16, the same in every resolver."""


def _far_apart(s: Signature) -> bool:
    """The multiplier to the output is 1 or more; no old path for powers of two."""
    return not _powers_of_two(s) and bool(leaves_registers(s))


SUB_FAR_X86 = Entry(
    ("SUB",),
    ("int8", "uint8", "int16"),
    "shifted-left-blocks-of-4",
    Evidence.MEASURED,
    f"{_KERNELS}/internal/reference/sub.h SubElementwise; undefined in C++, so what x86-64 does",
    _far_apart,
    "an input scale over 2^19 times the output's (int16: 2^14)",
    any_scales=True,
)
SUB_FAR_BUILTIN_X86 = (
    replace(
        SUB_FAR_X86,
        when=lambda s: _far_apart(s) and (s.output != "int16" or s.shapes[0] == s.shapes[1]),
        condition=f"{SUB_FAR_X86.condition}; int16: equal shapes",
    ),
    replace(
        SUB_FAR_X86,
        dtypes=("int16",),
        evidence=Evidence.ASSUMED,
        tried="undefined in C++: broadcast rows were seen to be cut into vectors of their own",
    ),
)
SUB_FAR_ARM = replace(
    SUB_FAR_X86,
    semantics="shifted-left",
    evidence=Evidence.ASSUMED,
    tried="undefined in C++: what x86-64 does was measured, vectors of aarch64 were not",
)
"""SUB where the kernel shifts by a negative number."""

ADD_BUILTIN: tuple[Entry, ...] = (
    POWERS_OF_TWO,
    Entry(
        ("ADD",),
        ("int16",),
        "shifted-once-blocks-of-16",
        Evidence.MEASURED,
        f"{_OPTIMIZED}/integer_ops/add.h AddElementwiseInt16",
        when=lambda s: s.shapes[0] == s.shapes[1],
        condition="equal shapes",
    ),
    _add(
        "int8",
        "pairs",
        "shifted-once-blocks-of-16",
        "integer_ops/add.h AddElementwiseInt8",
        "equal last dimensions, or equal shapes",
    ),
    _add(
        "int8",
        "scalar",
        "shifted-floored-blocks-of-8",
        "integer_ops/add.h AddScalarBroadcast",
        "one input repeated along the last axis",
    ),
    _add(
        "uint8",
        "pairs",
        "shifted-floored-blocks-of-8",
        "optimized_ops.h AddElementwise",
        "equal last dimensions, or equal shapes",
    ),
    _add(
        "uint8",
        "scalar",
        "shifted-floored-blocks-of-8",
        "optimized_ops.h AddScalarBroadcast",
        "one input repeated along the last axis",
    ),
    Entry(
        ("ADD",),
        ("int8", "uint8"),
        "shifted-S1",
        Evidence.MEASURED,
        f"{_KERNELS}/internal/reference/add.h BroadcastAdd6DSlow",
        _walks("generic"),
        "broadcast along more axes",
    ),
)

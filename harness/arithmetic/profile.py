"""ArithmeticProfile: the integer semantics of one runtime on one machine, as data with evidence.

A profile is a list of entries, tried in order; the first whose conditions hold says which
semantics a node has. A node that no entry covers is unknown: the emulator stops promising there.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from harness.arithmetic.ranges import leaves_registers


class Evidence(StrEnum):
    """How an entry is known. Only SOURCE and MEASURED count as exact."""

    SOURCE = "SOURCE"
    MEASURED = "MEASURED"
    ASSUMED = "ASSUMED"


@dataclass(frozen=True)
class Signature:
    """What a runtime chooses a kernel by.

    Attributes:
        op: e.g. ``CONV_2D``.
        dtypes: of the inputs, constants included, e.g. ``("int8", "int8", "int32")``; "" for an
            absent one.
        output: dtype of the first output.
        per_channel: weights with more than one scale.
        shapes: of the inputs.
        output_shape: of the first output.
        options: the op's own, e.g. ``{"stride_h": 2, "padding": "SAME"}``.
        constant: of the inputs, which are constants of the file.
        scales: of the inputs and then the first output; empty where a tensor has none.
        zero_points: likewise.
        block_size: of weights with a scale for each block of a row; else 0.
    """

    op: str
    dtypes: tuple[str, ...]
    output: str
    per_channel: bool
    shapes: tuple[tuple[int, ...], ...]
    output_shape: tuple[int, ...]
    options: Mapping[str, Any]
    constant: tuple[bool, ...] = ()
    scales: tuple[tuple[float, ...], ...] = ()
    zero_points: tuple[tuple[int, ...], ...] = ()
    block_size: int = 0


@dataclass(frozen=True)
class Entry:
    """One row: when it holds, which semantics it means, how that is known.

    Attributes:
        ops: operators it covers.
        dtypes: dtypes of the first input it covers, e.g. ``("int8",)``.
        semantics: name of a definition in the emulator's op table, e.g. ``S5``, ``lut-float``.
        evidence: see `Evidence`.
        reference: source file and function, or device, runtime version and date.
        when: further condition on the signature; None for always.
        condition: that condition in words, for the table.
        weights: dtypes of the second input it covers, where there is one; empty for any.
        tried: of an ASSUMED entry, what was tried and why that is not proof.
        any_scales: it holds however far apart scales lie (`harness.arithmetic.ranges`).
    """

    ops: tuple[str, ...]
    dtypes: tuple[str, ...]
    semantics: str
    evidence: Evidence
    reference: str
    when: Callable[[Signature], bool] | None = None
    condition: str = ""
    weights: tuple[str, ...] = ()
    tried: str = ""
    any_scales: bool = False

    def covers(self, signature: Signature) -> bool:
        """Whether this row speaks for that node."""
        return (
            signature.op in self.ops
            and bool(signature.dtypes)
            and signature.dtypes[0] in self.dtypes
            and (not self.weights or set(signature.dtypes[1:2]) <= {*self.weights})
            and (self.when is None or self.when(signature))
        )


@dataclass(frozen=True)
class ArithmeticProfile:
    """The integer semantics of one runtime on one machine.

    Attributes:
        name: e.g. ``litert-xnnpack-x86``.
        summary: runtime, version and machine in words.
        entries: tried in order.
        kernels: which of the runtime's kernels it stands for (`harness.protocol.Kernels`); ""
            where the runtime has one kind.
        assumed: all of it is an assumption, and no promise is made.
    """

    name: str
    summary: str
    entries: tuple[Entry, ...]
    kernels: str = ""
    assumed: bool = False

    def lookup(self, signature: Signature) -> Entry | None:
        """The first entry that covers the node, or None: unknown.

        Where the node's scales may drive integers out of their registers, the entry is ASSUMED.
        """
        entry = next((entry for entry in self.entries if entry.covers(signature)), None)
        if entry is None or entry.any_scales or entry.evidence is Evidence.ASSUMED:
            return entry
        beyond = leaves_registers(signature)
        return replace(entry, evidence=Evidence.ASSUMED, tried=beyond) if beyond else entry

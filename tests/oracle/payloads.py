"""Writes `.pte` files of chosen XNNPACK nodes with ExecuTorch's own serializer; no export involved.

Each branch of a file is one node on inputs of its own, so one file covers many shapes and scales.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tests.oracle.build import Array, Quant

INPUT, OUTPUT = 1, 2
ABSENT = 0xFFFFFFFF
_NO_OFFSET = (1 << 64) - 1
_SCALARS = {"int8": 1, "float32": 6}


@dataclass
class PayloadBuilder:
    """One payload in the making; the methods that make values return their ids."""

    values: list[Any] = field(default_factory=list)
    nodes: list[Any] = field(default_factory=list)
    constants: list[Any] = field(default_factory=list)
    named: dict[str, bytes] = field(default_factory=dict)
    externals: list[tuple[int, tuple[int, ...], str, int]] = field(default_factory=list)

    def value(
        self, shape: Sequence[int], dtype: str, quant: Quant | None = None, flag: int = 0
    ) -> int:
        """A value that is computed; with a flag, an input or output of the delegate call."""
        identity = self._value(shape, dtype, quant, 0, flag)
        if flag:
            self.externals.append((identity, tuple(shape), dtype, flag))
        return identity

    def constant(self, values: Array, dtype: str, quant: Quant | None = None) -> int:
        """A constant among the program's named data."""
        from executorch.backends.xnnpack.serialization import xnnpack_graph_schema as schema

        content = np.ascontiguousarray(values).tobytes()
        name = f"constant{len(self.constants)}"
        self.constants.append(schema.ConstantDataOffset(_NO_OFFSET, len(content), name))
        self.named[name] = content
        return self._value(values.shape, dtype, quant, len(self.constants), 0)

    def _value(
        self, shape: Sequence[int], dtype: str, quant: Quant | None, buffer: int, flag: int
    ) -> int:
        from executorch.backends.xnnpack.serialization import xnnpack_graph_schema as schema

        identity = len(self.values)
        many = quant is not None and len(quant.scale) > 1
        names = {"float32": "fp32", "int8": "qcint8" if many else "qint8"}
        names["int32"] = "qcint32" if many else "qint32"
        value = schema.XNNTensorValue(
            datatype=schema.XNNDatatype[f"xnn_datatype_{names[dtype]}"],
            num_dims=len(shape),
            dims=[int(d) for d in shape],
            constant_buffer_idx=buffer,
            external_id=ABSENT,
            flags=flag,
            id_out=identity,
        )
        if quant is None:
            self.values.append(schema.XValue(xvalue_union=value))
            return identity
        parameters: Any = schema.PerTensorQuant(quant.scale[0], quant.zero_point[0])
        if many:
            parameters = schema.PerChannelQuant(list(quant.scale), quant.axis, 0, 0)
        wrapped = schema.XNNQuantizedTensorValue(tensor_value=value, quant_params=parameters)
        self.values.append(schema.XValue(xvalue_union=wrapped))
        return identity

    def quantized_at_run_time(self, shape: Sequence[int]) -> int:
        """A value of int8 whose rows get scales and zero points of their own."""
        from executorch.backends.xnnpack.serialization import xnnpack_graph_schema as schema

        identity = self._value(shape, "float32", None, 0, 0)
        value = self.values[identity].xvalue_union
        value.datatype = schema.XNNDatatype.xnn_datatype_qdint8
        wrapped = schema.XNNQuantizedTensorValue(value, schema.PerTokenDynamicQuant(1))
        self.values[identity] = schema.XValue(xvalue_union=wrapped)
        return identity

    def node(self, kind: str, limits: tuple[float, float] | None = None, **fields: Any) -> None:
        """A node, by its name in ExecuTorch's schema."""
        from executorch.backends.xnnpack.serialization import xnnpack_graph_schema as schema

        made = getattr(schema, kind)(**{"flags": 0, **fields})
        ends = None if limits is None else schema.OutputMinMax(*limits)
        self.nodes.append(
            schema.XNode(xnode_union=made, debug_handle=len(self.nodes), output_min_max=ends)
        )

    def finish(self) -> bytes:
        """The file: inputs and outputs in the order they were made."""
        from executorch.backends.xnnpack.serialization import xnnpack_graph_schema as schema
        from executorch.backends.xnnpack.serialization.xnnpack_graph_serialize import (
            serialize_xnnpack_binary,
        )

        order = sorted(self.externals, key=lambda e: e[3])
        for number, (identity, *_) in enumerate(order):
            value = self.values[identity].xvalue_union
            getattr(value, "tensor_value", value).external_id = number
        graph = schema.XNNGraph(
            version="0",
            xnodes=self.nodes,
            xvalues=self.values,
            num_externs=len(order),
            input_ids=[e[0] for e in order if e[3] == INPUT],
            output_ids=[e[0] for e in order if e[3] == OUTPUT],
            constant_data=[schema.ConstantDataOffset(0, 0, ""), *self.constants],
        )
        payload = serialize_xnnpack_binary(graph, bytearray())
        return _program(payload, [e[1:] for e in order], self.named)


def _program(
    payload: bytes,
    externals: Sequence[tuple[tuple[int, ...], str, int]],
    named: Mapping[str, bytes],
) -> bytes:
    """A program of one delegate call."""
    from executorch.exir import schema
    from executorch.exir._serialize._named_data_store import NamedDataStore
    from executorch.exir._serialize._program import PTEFile, serialize_pte_binary

    place, values = 0, []
    for shape, dtype, _ in externals:
        tensor = schema.Tensor(
            scalar_type=schema.ScalarType(_SCALARS[dtype]),
            storage_offset=0,
            sizes=list(shape),
            dim_order=list(range(len(shape))),
            requires_grad=False,
            layout=0,
            data_buffer_idx=0,
            allocation_info=schema.AllocationDetails(1, place, 0),
            shape_dynamism=schema.TensorShapeDynamism.STATIC,
        )
        values.append(schema.EValue(val=tensor))
        place += -(-int(np.prod(shape)) * np.dtype(dtype).itemsize // 16) * 16
    kinds = [flag for *_, flag in externals]
    inputs = [i for i, flag in enumerate(kinds) if flag == INPUT]
    outputs = [i for i, flag in enumerate(kinds) if flag == OUTPUT]
    call = schema.Instruction(schema.DelegateCall(0, list(range(len(values)))))
    reference = schema.BackendDelegateDataReference(schema.DataLocation.INLINE, 0)
    plan = schema.ExecutionPlan(
        name="forward",
        container_meta_type=schema.ContainerMetadata("", ""),
        values=values,
        inputs=inputs,
        outputs=outputs,
        chains=[schema.Chain([], [], [call], None)],
        operators=[],
        delegates=[schema.BackendDelegate("XnnpackBackend", reference, [])],
        non_const_buffer_sizes=[0, place],
    )
    program = schema.Program(
        version=0,
        execution_plan=[plan],
        constant_buffer=[schema.Buffer(b"")],
        backend_delegate_data=[schema.BackendDelegateInlineData(payload)],
        segments=[],
        constant_segment=schema.SubsegmentOffsets(0, []),
    )
    store = NamedDataStore()
    for name, content in named.items():
        store.add_named_data(name, content, 16)
    file = PTEFile(program, named_data=store.get_named_data_store_output())
    return bytes(serialize_pte_binary(file, extract_delegate_segments=True))

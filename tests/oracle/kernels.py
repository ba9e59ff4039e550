"""Writes `.pte` files of calls of portable kernels with ExecuTorch's own serializer; no export
involved. Each call has inputs and outputs of its own, so one file covers many kernels and dtypes.

PyTorch says what a call gives: how many tensors, of which shapes and dtypes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tests.oracle.build import Array


@dataclass
class KernelBuilder:
    """One program in the making.

    Attributes:
        inputs: values of the tensors among the arguments, in the order of the program's inputs.
        names: of the program's outputs: the call that gives each.
    """

    values: list[Any] = field(default_factory=list)
    operators: dict[tuple[str, str], int] = field(default_factory=dict)
    calls: list[Any] = field(default_factory=list)
    inputs: list[Array] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    _kept: list[Any] = field(default_factory=list)
    _made: list[Any] = field(default_factory=list)
    _offsets: dict[int, int] = field(default_factory=dict)
    _input_ids: list[int] = field(default_factory=list)
    _output_ids: list[int] = field(default_factory=list)
    _bytes: int = 0

    def call(self, name: str, *arguments: Any, **named: Any) -> None:
        """A call of a kernel.

        Args:
            name: of PyTorch's operator and overload, e.g. ``aten.select_copy.int``.
            arguments: its positional ones; arrays are inputs of the program.
            named: the others, by name.
        """
        import torch
        from executorch.exir import schema
        from executorch.exir.operator.convert import to_out_variant

        library, base, overload = name.split(".")
        packet = getattr(getattr(torch.ops, library), base)
        operator = getattr(packet, overload)
        given = [_as_torch(argument) for argument in arguments]
        made = operator(*given, **named)
        results = list(made) if isinstance(made, (tuple, list)) else [made]
        # the search for an overload stops at those of numbers alone
        pow_alone = base == "pow"
        out = getattr(packet, f"{overload}_out") if pow_alone else to_out_variant(operator)[0]
        out_names = [parameter.name for parameter in out._schema.arguments if parameter.is_out]
        indices, tensors = [], []
        for place, parameter in enumerate(out._schema.arguments):
            if parameter.name in out_names:
                if isinstance(parameter.type, torch.ListType):
                    tensors = [self._result(y, name) for y in results]
                    indices.append(self._value(schema.TensorList(tensors)))
                else:
                    tensors.append(self._result(results[len(tensors)], name))
                    indices.append(tensors[-1])
                continue
            known = place < len(given)
            argument = given[place] if known else parameter.default_value
            argument = named.get(parameter.name, argument)
            indices.append(self._argument(argument, parameter.type))
        several = len(tensors) > 1 and len(out_names) > 1
        indices.append(self._value(schema.TensorList(tensors)) if several else indices[-1])
        parts = (out._schema.name, out._schema.overload_name)
        number = self.operators.setdefault(parts, len(self.operators))
        self.calls.append(schema.Instruction(schema.KernelCall(number, indices)))

    def view(self, number: int, shape: Sequence[int]) -> Any:
        """What the program's output of that number holds, in another shape: a tensor that no call
        writes, for it lies where the output does."""
        shown = self._made[number].reshape(shape)
        self._offsets[id(shown)] = self._offsets[id(self._made[number])]
        self._made.append(shown)
        return shown

    def _value(self, value: Any) -> int:
        from executorch.exir import schema

        self.values.append(schema.EValue(val=value))
        return len(self.values) - 1

    def _tensor(self, tensor: Any) -> int:
        from executorch.exir import schema
        from executorch.exir.tensor import scalar_type_enum

        size = max(tensor.numel() * tensor.element_size(), 1)
        offset = self._offsets.setdefault(id(tensor), self._bytes)
        made = schema.Tensor(
            scalar_type=scalar_type_enum(tensor.dtype),
            storage_offset=0,
            sizes=list(tensor.shape),
            dim_order=list(range(tensor.dim())),
            requires_grad=False,
            layout=0,
            data_buffer_idx=0,
            allocation_info=schema.AllocationDetails(1, offset, 0),
            shape_dynamism=schema.TensorShapeDynamism.STATIC,
        )
        self._bytes += -(-size // 16) * 16
        return self._value(made)

    def _result(self, tensor: Any, name: str) -> int:
        index = self._tensor(tensor)
        self._output_ids.append(index)
        self._made.append(tensor)
        self.names.append(f"{name} {tensor.dtype} {len(self.calls)}")
        return index

    def _input(self, tensor: Any) -> int:
        shown = id(tensor) in self._offsets
        index = self._tensor(tensor)
        if not shown:
            self._input_ids.append(index)
            self.inputs.append(tensor.numpy())
            self._kept.append(tensor)
        return index

    def _argument(  # noqa: PLR0911  one line a type
        self, argument: Any, kind: Any
    ) -> int:
        """A value for an argument of the schema's type."""
        import torch
        from executorch.exir import schema
        from executorch.exir.tensor import scalar_type_enum

        if isinstance(kind, torch.OptionalType):
            kind = kind.getElementType()
        if argument is None:
            return self._value(schema.Null())
        if isinstance(argument, torch.Tensor):
            return self._input(argument)
        if isinstance(argument, torch.dtype):
            return self._value(schema.Int(scalar_type_enum(argument)))
        if isinstance(argument, (list, tuple)):
            return self._list(argument, kind.getElementType())
        if isinstance(argument, bool):
            return self._value(schema.Bool(argument))
        if isinstance(argument, int) and not isinstance(kind, torch.FloatType):
            return self._value(schema.Int(argument))
        if isinstance(argument, str):
            return self._value(schema.String(argument))
        return self._value(schema.Double(float(argument)))

    def _list(self, items: Sequence[Any], kind: Any) -> int:
        import torch
        from executorch.exir import schema

        if isinstance(kind, torch.OptionalType):
            found = [-1 if item is None else self._input(item) for item in items]
            return self._value(schema.OptionalTensorList(found))
        if isinstance(kind, torch.TensorType):
            return self._value(schema.TensorList([self._input(item) for item in items]))
        if isinstance(kind, torch.BoolType):
            return self._value(schema.BoolList(list(items)))
        if isinstance(kind, torch.FloatType):
            return self._value(schema.DoubleList([float(item) for item in items]))
        return self._value(schema.IntList([self._value(schema.Int(item)) for item in items]))

    def finish(self) -> bytes:
        """The file: inputs and outputs in the order they were made."""
        from executorch.exir import schema
        from executorch.exir._serialize._program import PTEFile, serialize_pte_binary

        plan = schema.ExecutionPlan(
            name="forward",
            container_meta_type=schema.ContainerMetadata("", ""),
            values=self.values,
            inputs=self._input_ids,
            outputs=self._output_ids,
            chains=[schema.Chain([], [], self.calls, None)],
            operators=[schema.Operator(*parts) for parts in self.operators],
            delegates=[],
            non_const_buffer_sizes=[0, self._bytes],
        )
        program = schema.Program(
            version=0,
            execution_plan=[plan],
            constant_buffer=[schema.Buffer(b"")],
            backend_delegate_data=[],
            segments=[],
            constant_segment=schema.SubsegmentOffsets(0, []),
        )
        return bytes(serialize_pte_binary(PTEFile(program)))


def _as_torch(argument: Any) -> Any:
    """Arrays, in lists too, as tensors."""
    import torch

    if isinstance(argument, np.ndarray):
        return torch.from_numpy(argument.copy())
    if isinstance(argument, list):
        return [_as_torch(item) for item in argument]
    return argument

"""Names in the TFLite schema: operators, enums, and each operator's options as a mapping."""

import re
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from harness.emulator.formats.model_content import ReadError

_MAX_OPTION_LENGTH = 1024
_CUSTOM = {"TFLite_Detection_PostProcess"}


def _names(enum: type) -> dict[int, str]:
    return {v: k for k, v in vars(enum).items() if isinstance(v, int) and not k.startswith("_")}


NAMES: dict[str, dict[int, str]] = {
    "op": _names(schema.BuiltinOperator),
    "type": _names(schema.TensorType),
    "padding": _names(schema.Padding),
    "fused_activation_function": _names(schema.ActivationFunctionType),
    "mirror_pad_mode": _names(schema.MirrorPadMode),
    "weights_format": _names(schema.FullyConnectedOptionsWeightsFormat),
}
"""Enum values by name; the key is the option's name where every operator means the same by it."""

_DTYPE_OPTIONS = {"in_data_type", "out_data_type", "output_type", "out_type", "quantized_bias_type"}
_UNIONS = (
    (_names(schema.BuiltinOptions), "BuiltinOptions"),
    (_names(schema.BuiltinOptions2), "BuiltinOptions2"),
)


def op_name(code: schema.OperatorCode) -> str:
    """The operator's name; a custom operator's is its own."""
    builtin = max(code.DeprecatedBuiltinCode(), code.BuiltinCode())
    name = NAMES["op"].get(builtin)
    if name is None:
        return f"BUILTIN_{builtin}"
    if name == "CUSTOM":
        custom = code.CustomCode() or b""
        return custom[:_MAX_OPTION_LENGTH].decode("utf-8", errors="replace") or name
    return name


def read_options(operator: schema.Operator) -> dict[str, Any]:
    """The options of a builtin operator, by the schema's names in snake case."""
    options: dict[str, Any] = {}
    for names, accessor in _UNIONS:
        kind = getattr(operator, f"{accessor}Type")()
        if kind not in names:
            raise ReadError(f"{accessor} of unknown type {kind}")
        table = getattr(operator, accessor)()
        if names[kind] == "NONE" or table is None:
            continue
        unpacked = getattr(schema, f"{names[kind]}T").InitFromBuf(table.Bytes, table.Pos)
        for key, value in vars(unpacked).items():
            name = re.sub(r"(?<!^)(?=[A-Z])", "_", key).lower()
            options[name] = _plain(name, names[kind], value)
    return options


def read_custom(op: str, operator: schema.Operator) -> dict[str, Any]:
    """The options of a custom operator that the emulator knows: a flexbuffer of plain values."""
    length = operator.CustomOptionsLength()
    if op not in _CUSTOM or not length:
        return {}
    if length > _MAX_OPTION_LENGTH:
        raise ReadError(f"{op} has options of {length} bytes, allowed: {_MAX_OPTION_LENGTH}")
    from flatbuffers import flexbuffers

    try:
        found = flexbuffers.Loads(bytes(operator.CustomOptionsAsNumpy()))
    except Exception as error:  # the reader trusts its bytes: it may raise anything
        raise ReadError(f"the options of {op} cannot be read: {type(error).__name__}") from error
    named = found.items() if isinstance(found, dict) else ()
    return {str(key): value for key, value in named if isinstance(value, bool | int | float)}


def _plain(name: str, table: str, value: object) -> object:
    """An option as a plain Python value, enums by name."""
    if isinstance(value, np.ndarray | bytes) and len(value) > _MAX_OPTION_LENGTH:
        raise ReadError(f"option {name} has {len(value)} elements, allowed: {_MAX_OPTION_LENGTH}")
    if isinstance(value, np.ndarray):
        return tuple(value.tolist())
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="replace")
    if table == "MirrorPadOptions" and name == "mode":
        return _enum("mirror_pad_mode", value)
    if name in _DTYPE_OPTIONS:
        return _enum("type", value).lower()
    return _enum(name, value) if name in NAMES else value


def _enum(name: str, value: object) -> str:
    if not isinstance(value, int) or value not in NAMES[name]:
        raise ReadError(f"option {name} is {value}, allowed: {sorted(NAMES[name])}")
    return NAMES[name][value]

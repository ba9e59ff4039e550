"""MODEL references: ``path/file.py:function``, ``zoo:NAME``, ``.pt2``, ``.tflite``.

User code, torch and the runtimes are loaded only in an isolated process. The functions here that
say "isolated only" run there. Isolation contains crashes, not malice: a ``.py`` file is code, and
torch unpickles parts of a ``.pt2``, so both run with the caller's rights. A ``.tflite`` is data.
"""

import hashlib
import importlib
from pathlib import Path
from typing import TYPE_CHECKING

from harness.artifact import sha256_file
from harness.emulator.tflite import read_tflite
from harness.errors import ModelError, UsageError
from harness.extras import require_extra
from harness.isolate import run_isolated
from harness.model import Model, ModelInput
from harness.sources.references import Reference, load_function, parse_reference
from harness.target import Progress, no_progress

if TYPE_CHECKING:
    import torch

    Module = tuple["torch.nn.Module", tuple["torch.Tensor", ...]]

_TIMEOUT_S = 600.0
_SUFFIXES = (".pt2", ".tflite")
COMPILED_OPS = ("edgetpu-custom-op", "DISPATCH_OP")
"""What accelerators' compilers put in place of the ops that they took."""


def parse_model(text: str) -> Reference:
    """Parse a MODEL reference; raises UsageError naming what is expected."""
    return parse_reference(text, what="model", suffixes=_SUFFIXES, folder=False)


def open_model(text: str, progress: Progress = no_progress) -> Model:
    """Load the model once, in isolation, and describe it.

    Raises:
        UsageError: no such file, unknown suffix, function missing or returning the wrong thing.
        ModelError: the file is broken, or the model cannot be exported.
    """
    reference = parse_model(text)
    if reference.kind != ".tflite":
        require_extra("litert", "torch")
    progress("loading the model", 0, None)
    digest, inputs, quantized = run_isolated(
        _describe, reference, what=text, timeout_s=_TIMEOUT_S, progress=progress
    )
    compiled = reference.kind == ".tflite" and is_compiled(Path(str(reference)))
    return Model(text, str(reference), digest, inputs, quantized, compiled)


def load_module(reference: Reference) -> "Module":
    """The model in evaluation mode and its example inputs. Isolated only; not for ``.tflite``.

    Raises:
        UsageError: the function is missing or returns the wrong thing.
        ModelError: the ``.pt2`` is broken.
    """
    if reference.kind == ".pt2" and reference.path is not None:
        return _load_exported(reference.path)
    if reference.kind == "zoo":
        module = importlib.import_module(f"harness.sources.zoo.{reference.name.replace('-', '_')}")
        network, examples = _checked(module.model(), str(reference))
    else:
        network, examples = _checked(load_function(reference)(), str(reference))
    return network.eval(), examples


def _checked(value: object, where: str) -> "Module":
    import torch

    wanted = f"{where}: must return (torch.nn.Module, tuple of example tensors)"
    if not isinstance(value, tuple) or len(value) != 2:
        raise UsageError(f"{wanted}, got {_describe_value(value)}")
    module, examples = value
    if isinstance(examples, torch.Tensor):
        examples = (examples,)
    if not isinstance(module, torch.nn.Module):
        raise UsageError(f"{wanted}; the first of the pair is {_describe_value(module)}")
    if not isinstance(examples, tuple | list) or not examples:
        raise UsageError(f"{wanted}; the second of the pair is {_describe_value(examples)}")
    for index, example in enumerate(examples):
        if not isinstance(example, torch.Tensor) or example.ndim == 0:
            raise UsageError(
                f"{wanted}; example {index} is {_describe_value(example)}, "
                "not a tensor whose first axis is the batch"
            )
    return module, tuple(examples)


def _describe_value(value: object) -> str:
    size = f" of {len(value)}" if isinstance(value, tuple | list) else ""
    return f"{type(value).__name__}{size}"


def _load_exported(path: Path) -> "Module":
    import torch

    try:
        program = torch.export.load(path)
        module = program.module(check_guards=False)
    except Exception as error:  # torch raises anything from KeyError to its own
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ModelError(f"{path}: not a readable torch.export program: {reason}") from error
    if program.example_inputs is None or program.example_inputs[1]:
        raise ModelError(f"{path}: was exported without positional example inputs")
    return _checked((module, program.example_inputs[0]), str(path))


def _describe(
    reference: Reference, _progress: Progress
) -> tuple[str, tuple[ModelInput, ...], bool]:
    if reference.kind == ".tflite" and reference.path is not None:
        return _describe_tflite(reference.path)
    import torch

    module, examples = load_module(reference)
    program = torch.export.export(module, examples, strict=False)
    digest = hashlib.sha256(program.graph_module.code.encode())
    for name, tensor in sorted({**program.state_dict, **program.constants}.items()):
        digest.update(name.encode())
        if isinstance(tensor, torch.Tensor):
            array = tensor.detach().cpu().contiguous()
            digest.update(f"{array.dtype}{tuple(array.shape)}".encode())
            digest.update(array.flatten().view(torch.uint8).numpy().data)
    inputs = tuple(
        ModelInput(tuple(example.shape), str(example.dtype).removeprefix("torch."))
        for example in examples
    )
    digest.update(repr(inputs).encode())
    return digest.hexdigest(), inputs, False


def is_compiled(path: Path) -> bool:
    """Whether a `.tflite` was compiled for an accelerator: no runtime of this host opens it."""
    return any(node.op in COMPILED_OPS for node in read_tflite(path).main.nodes)


def _describe_compiled(path: Path) -> tuple[str, tuple[ModelInput, ...], bool]:
    graph = read_tflite(path).main
    tensors = [graph.tensors[index] for index in graph.inputs]
    inputs = tuple(ModelInput(x.shape, x.dtype, x.quantization is not None) for x in tensors)
    return sha256_file(path), inputs, True


def _describe_tflite(path: Path) -> tuple[str, tuple[ModelInput, ...], bool]:
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    if is_compiled(path):
        return _describe_compiled(path)
    try:
        interpreter = Interpreter(
            str(path),
            experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        )
        interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ModelError(f"{path}: not a readable .tflite model: {reason}") from error
    inputs = tuple(
        ModelInput(
            tuple(int(size) for size in detail["shape"]),
            detail["dtype"].__name__,
            quantized=detail["quantization_parameters"]["scales"].size > 0,
        )
        for detail in interpreter.get_input_details()
    )
    quantized = any(
        detail["quantization_parameters"]["scales"].size > 0
        for detail in interpreter.get_tensor_details()
    )
    return sha256_file(path), inputs, quantized

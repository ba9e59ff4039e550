"""What the float model gives: what quantization is held against. Cached by content."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from harness.artifact import Origin, TensorSpec
from harness.host.cache import Cache, arrays_key, content_key
from harness.host.isolate import run_isolated
from harness.host.progress import Progress, no_progress
from harness.model import Model
from harness.on_device.slices import count_slices, drop_filled, invocations
from harness.quantize.executorch.lowering import float_graph
from harness.quantize.executorch.origins import aligned, run_every_node
from harness.quantize.litert.lowering import float_model
from harness.quantize.litert.quantizing import FloatModel, read_specs
from harness.quantize.plan import Plan, changes_of, key_of
from harness.quantize.samples import model_batches
from harness.quantize.tools import own_sources, tool_versions
from harness.quantize.trial import samples_for
from harness.sources.batches import model_specs
from harness.sources.models import load_module, parse_model
from harness.sources.npz import read_npz

if TYPE_CHECKING:
    import torch

Array = npt.NDArray[Any]

_TIMEOUT_S = 3600.0


def float_outputs(
    model: Model,
    inputs: tuple[Array, ...],
    *,
    cache: Cache,
    progress: Progress = no_progress,
) -> tuple[Array, ...] | None:
    """Outputs of the float model on samples, both in the model's own layout.

    None for a model that came quantized: nobody has its float form.

    Raises:
        ModelError: the model fails on these samples.
    """
    if model.quantized:
        return None
    named = _cached(_run_model, model, inputs, cache, progress)
    return tuple(named[f"out{index}"] for index in range(len(named)))


def float_tensors(
    model: Model,
    inputs: tuple[Array, ...],
    *,
    rescaled: Plan | None = None,
    cache: Cache,
    progress: Progress = no_progress,
) -> Mapping[str, Array]:
    """Every computed tensor of the model's float `.tflite`, by name, in the layout of that file.

    litert-quantizer keeps the names, so these are the references of a quantized file's tensors.
    Empty for a model that came quantized.

    Args:
        inputs: samples in the model's own layout; one invocation for each batch of the file,
            joined along the first axis.
        rescaled: steps that change what tensors inside the float model hold, see `as_rescaled`.

    Raises:
        ModelError: the model cannot be converted, or fails on these samples.
    """
    if model.quantized:
        return {}
    return _cached(_run_tensors, model, inputs, cache, progress, rescaled=rescaled)


def float_layers(
    model: Model,
    inputs: tuple[Array, ...],
    origins: Mapping[str, Origin],
    tensors: Mapping[str, Array],
    *,
    rescaled: Plan | None = None,
    cache: Cache,
    progress: Progress = no_progress,
) -> Mapping[str, Array]:
    """What tensors of a `.pte` are in the float model, by their names, in their layout.

    The reference is the exported program itself, as it was before quantization.

    Args:
        inputs: samples in the model's own layout; one invocation for each batch of the model,
            joined along the first axis.
        origins: of the file's manifest; a tensor that is not in it is left out.
        tensors: the file's, dequantized, for the same samples.
        rescaled: see `float_tensors`.

    Raises:
        ModelError: the model cannot be exported, or fails on these samples.
    """
    wanted = {name: one.node for name, one in origins.items() if name in tensors}
    if not wanted:
        return {}
    nodes = _cached(_run_nodes, model, inputs, cache, progress, rescaled=rescaled)
    found = {
        name: aligned(nodes[node], tensors[name]) for name, node in wanted.items() if node in nodes
    }
    return {name: x for name, x in found.items() if x is not None}


def _cached(
    function: Callable[..., dict[str, Array]],
    model: Model,
    inputs: tuple[Array, ...],
    cache: Cache,
    progress: Progress,
    *,
    rescaled: Plan | None = None,
) -> dict[str, Array]:
    """What one of the isolated functions below gives."""
    key = content_key(
        {
            "function": function.__name__,
            "model": model.sha256,
            "inputs": arrays_key(inputs),
            "tools": tool_versions(),
            "source": own_sources(),
        }
        | ({"rescaled": key_of(rescaled)} if rescaled else {})
    )
    path = cache.entry("references", key) / "arrays.npz"
    if not path.exists():
        progress("running the float model", 0, None)
        what = f"{model.reference}: the float model"
        named: dict[str, Any] = run_isolated(
            function,
            model,
            inputs,
            rescaled,
            cache,
            what=what,
            timeout_s=_TIMEOUT_S,
            progress=progress,
        )
        with cache.fill("references", key) as folder:
            np.savez(folder / path.name, **named)
    return read_npz(path)


def _run_model(
    model: Model, inputs: tuple[Array, ...], _rescaled: None, cache: Cache, progress: Progress
) -> dict[str, Array]:
    """Isolated only. A `.tflite` runs through LiteRT, everything else through torch."""
    if model.resolved.endswith(".tflite"):
        return _run_file(float_model(model, cache, progress), inputs, everything=False)
    import torch

    module, examples = load_module(parse_model(model.resolved))
    named = {f"in{index}": x for index, x in enumerate(inputs)}
    specs = model_specs(model)
    given = samples_for(specs, named)
    parts, slices = [], count_slices(specs, given)
    with torch.inference_mode():
        for number, batch in enumerate(model_batches(model, named, examples)):
            progress("running the float model", number, slices)
            parts.append([np.atleast_1d(_array(x)) for x in module(*batch)])
    outputs = [TensorSpec(x.name, x.shape, x.dtype) for x in model.outputs]
    joined = [np.concatenate(column) for column in zip(*parts, strict=True)]
    return {f"out{index}": x for index, x in enumerate(drop_filled(specs, given, joined, outputs))}


def _array(x: "torch.Tensor") -> Array:
    """In float32 where it is of any float type."""
    array: Array = (x.float() if x.is_floating_point() else x).numpy()
    return array


def _run_nodes(
    model: Model,
    inputs: tuple[Array, ...],
    rescaled: Plan | None,
    _cache: Cache,
    progress: Progress,
) -> dict[str, Array]:
    """Isolated only: the float values of all nodes of the exported program."""
    graph, examples = float_graph(model, progress, rescaled)
    batches = model_batches(model, {f"in{index}": x for index, x in enumerate(inputs)}, examples)
    return run_every_node(graph, batches)


def _run_tensors(
    model: Model,
    inputs: tuple[Array, ...],
    rescaled: Plan | None,
    cache: Cache,
    progress: Progress,
) -> dict[str, Array]:
    """Isolated only."""
    changes = changes_of(rescaled, progress, ("graph",)) if rescaled else None
    return _run_file(float_model(model, cache, progress, changes), inputs, everything=True)


def _run_file(
    converted: FloatModel, inputs: tuple[Array, ...], *, everything: bool
) -> dict[str, Array]:
    """Outputs of a float `.tflite` as ``out0, …``; or all its computed tensors by name."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    interpreter = Interpreter(
        str(converted.path),
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        experimental_preserve_all_tensors=everything,
    )
    interpreter.allocate_tensors()
    details = interpreter.get_input_details()
    specs = read_specs(details, converted.inputs)
    given = samples_for(specs, {f"in{index}": x for index, x in enumerate(inputs)})
    wanted = {
        f"out{index}": detail["index"]
        for index, detail in enumerate(interpreter.get_output_details())
    }
    if everything:
        made = {int(i) for op in interpreter._get_ops_details() for i in op["outputs"]}
        wanted = {
            detail["name"]: detail["index"]
            for detail in interpreter.get_tensor_details()
            if detail["index"] in made
        }
    parts: dict[str, list[Array]] = {name: [] for name in wanted}
    for taken in invocations(specs, given):
        for detail, x in zip(details, taken, strict=True):
            interpreter.set_tensor(detail["index"], x)
        interpreter.invoke()
        for name, index in wanted.items():
            parts[name].append(np.atleast_1d(interpreter.get_tensor(index)))
    joined = {name: np.concatenate(columns) for name, columns in parts.items()}
    if everything:
        return joined
    outputs = read_specs(interpreter.get_output_details(), converted.outputs)
    return dict(zip(joined, drop_filled(specs, given, list(joined.values()), outputs), strict=True))

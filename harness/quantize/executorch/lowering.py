"""Lower to ExecuTorch: PT2E quantization for XNNPACK, and its partitioner.

Everything here runs in an isolated process.
"""

import shutil
from collections import Counter
from collections.abc import Set
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.artifact import (
    Artifact,
    Origin,
    Quantization,
    TensorSpec,
    load_artifact,
    save_manifest,
)
from harness.emulator.formats.pte import SCALAR_TYPES, read_method
from harness.errors import ModelError, UsageError
from harness.host.extras import require_extra
from harness.host.progress import Progress
from harness.model import Model
from harness.quantize.described import described
from harness.quantize.executorch.groups import split_groups
from harness.quantize.executorch.masks import masked_nodes
from harness.quantize.executorch.moves import changes_in_place, keep_scales, slice_chunks
from harness.quantize.executorch.observing import choose_ranges, observer
from harness.quantize.executorch.origins import handles_of, origins_of
from harness.quantize.executorch.reached import layers_of
from harness.quantize.executorch.rewriting import (
    fold_padding,
    name_strides,
    quantizer,
    refuse_without_kernel,
    separate_weights,
    stranded_operators,
)
from harness.quantize.executorch.ruling import left_by_rules
from harness.quantize.finite import Spans, observe, refuse_undefined_weights
from harness.quantize.histograms import chooser
from harness.quantize.inspect_lowered import inspect_file
from harness.quantize.plan import Plan, changes_of, plan_of
from harness.quantize.reached import with_reached
from harness.quantize.samples import model_batches
from harness.quantize.trial import REFERENCE
from harness.recipe import Recipe
from harness.sources.models import load_float32, parse_model
from harness.sources.npz import read_npz
from harness.target import LoweringRequest

if TYPE_CHECKING:
    import torch

    Tensors = tuple[torch.Tensor, ...]

_SMALLEST_SCALE = 2.0**-12
"""As XNNPACK's own configuration has it: a smaller scale overflows its multipliers."""

Boundary = dict[int, Quantization]
"""Scales of the inputs or outputs that are integers, by index."""


def lower_executorch(request: LoweringRequest, progress: Progress) -> Artifact:
    """Make a ``.pte`` whose inputs and outputs are integers where the recipe is static.

    Raises:
        UsageError: the recipe has no counterpart here.
        ModelError: the model cannot be exported or lowered.
    """
    require_extra("executorch", "executorch", "torchao")
    if request.recipe is None:
        return _as_it_came(request)
    _supported(request.recipe)

    progress("exporting", 0, None)
    module, examples = load_float32(parse_model(request.model.resolved))
    refuse_undefined_weights(module, request.model.reference)
    changes = changes_of(plan_of(request), progress)
    recipe = _supported(replace(request.recipe, rules=changes.rules))
    request = replace(request, recipe=recipe)
    changes.put_into(module)
    samples = list(model_batches(request.model, read_npz(request.calibration), examples))
    what = request.model.reference
    made = _lower(module, examples, recipe, samples, what, progress=progress)
    refuse_without_kernel(made.edge.exported_program(), request.model.reference)
    layers = layers_of(made.edge.exported_program(), recipe, made.ruled)
    path, origins = _write(made, request.folder)
    _save_reference(made.expected, request.folder)
    artifact = _described(request, path, made, _notes(recipe, made), origins)
    artifact = replace(artifact, manifest=with_reached(artifact.manifest, recipe, layers))
    save_manifest(artifact)
    return artifact


@dataclass(frozen=True, eq=False)
class _Lowered:
    """A program before it is written.

    Attributes:
        edge: ExecuTorch's form of it, with what XNNPACK takes in delegates.
        model: the float graph that it was made from.
        expected: what the graph gave for the first batch before.
        inputs, outputs: the scales at its boundary.
        in_float: what XNNPACK would not take quantized, so that it was left in float, by `origin`:
            in words.
        ruled: what a rule of the recipe leaves in float, by `origin`.
    """

    edge: Any
    model: "torch.fx.Graph"
    expected: Any
    inputs: Boundary
    outputs: Boundary
    in_float: dict[str, str]
    ruled: Set[str]


def _lower(
    module: "torch.nn.Module",
    examples: "Tensors",
    recipe: Recipe,
    samples: "list[Tensors]",
    what: str,
    *,
    progress: Progress,
) -> _Lowered:
    """Quantize and partition; again without what was quantized and then not taken by XNNPACK: the
    portable kernels have no quantized convolutions and the like."""
    import torch
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    in_float: dict[str, str] = {}
    seen: Spans = {}
    while True:
        graph = _prepared(torch.export.export(module, examples))
        model = deepcopy(graph.graph)
        ruled = left_by_rules(graph.graph, recipe, what)
        if recipe.mode != "float":
            used = samples if recipe.needs_calibration() else samples[:1]
            seen = seen or observe(graph, used, what)
            masked = masked_nodes(graph, seen)
            left = in_float.keys() | ruled
            graph = _quantize(graph, recipe, used, left, masked, progress=progress)
        with torch.no_grad():
            expected = graph(*samples[0])
        program = torch.export.export(graph, examples)
        inputs, outputs = _integer_boundary(program) if recipe.mode == "static" else ({}, {})
        progress("lowering to ExecuTorch", 0, None)
        edge = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()])
        stranded = stranded_operators(edge.exported_program())
        if stranded.keys() <= in_float.keys():
            return _Lowered(edge, model, expected, inputs, outputs, in_float, ruled)
        in_float |= stranded


def _prepared(program: "torch.export.ExportedProgram") -> "torch.fx.GraphModule":
    """The exported graph as XNNPACK takes most of it."""
    graph = program.module(check_guards=False)
    if changes_in_place(graph):
        graph = program.run_decompositions({}).module(check_guards=False)
    fold_padding(graph)
    name_strides(graph)
    slice_chunks(graph)
    split_groups(graph)
    separate_weights(graph)
    return graph


def float_graph(
    model: Model, progress: Progress, plan: Plan | None = None
) -> "tuple[torch.fx.GraphModule, Tensors]":
    """The graph that is lowered in float, whose nodes `Origin.node` names, and its examples.

    Args:
        plan: steps of stage ``graph`` that are applied first.
    """
    import torch

    progress("exporting", 0, None)
    module, examples = load_float32(parse_model(model.resolved))
    if plan is not None:
        changes_of(plan, progress, ("graph",)).put_into(module)
    return _prepared(torch.export.export(module, examples)), examples


def _as_it_came(request: LoweringRequest) -> Artifact:
    """A program that edgefarm made before, with its manifest."""
    made = load_artifact(Path(request.model.resolved))
    path = request.folder / "model.pte"
    shutil.copyfile(made.path, path)
    artifact = Artifact(path, replace(made.manifest, target=request.target))
    save_manifest(artifact)
    return artifact


def _supported(recipe: Recipe | None) -> Recipe:
    if recipe is None:
        raise UsageError("ExecuTorch needs a PyTorch model and a recipe")
    if recipe.mode == "weight_only" or recipe.weight_bits == 4 or recipe.activation_bits == 16:
        raise UsageError(
            f"recipe {recipe.name}: XNNPACK through ExecuTorch takes int8 weights with int8 or "
            "dynamic activations, or float"
        )
    if other := [rule for rule in recipe.rules if rule.scheme and rule.scheme.mode != "float"]:
        raise UsageError(
            f"recipe {recipe.name}: rule {' '.join((*other[0].names, *other[0].ops))}: for "
            "ExecuTorch a rule can leave layers in float; give all others one scheme"
        )
    return recipe


def _quantize(
    module: "torch.fx.GraphModule",
    recipe: Recipe,
    samples: "list[Tensors]",
    in_float: Set[str],
    masked: Set[str],
    *,
    progress: Progress,
) -> "torch.fx.GraphModule":
    import torch
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    prepared = prepare_pt2e(module, quantizer(pt2e_config(recipe), in_float, masked))
    with torch.no_grad():
        for done, batch in enumerate(samples):
            progress("calibrating", done, len(samples))
            prepared(*batch)
        if choose := chooser(recipe):
            choose_ranges(prepared, samples, choose)
    progress("quantizing", 0, None)
    converted = convert_pt2e(prepared)
    keep_scales(converted)
    return converted


def pt2e_config(recipe: Recipe) -> Any:  # noqa: ANN401  torchao is untyped here
    """Per tensor or per channel, with ranges from the least and greatest value: the default
    histogram observer takes a minute where this takes a second, for no gain on real models."""
    from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
        get_symmetric_quantization_config,
    )

    dynamic = recipe.mode == "dynamic"
    config = get_symmetric_quantization_config(
        is_per_channel=recipe.weight_granularity == "channel", is_dynamic=dynamic
    )
    if dynamic:
        return config
    activation = replace(
        config.input_activation,
        observer_or_fake_quant_ctr=observer().with_args(eps=_SMALLEST_SCALE),
    )
    return replace(config, input_activation=activation, output_activation=activation)


def _integer_boundary(program: "torch.export.ExportedProgram") -> tuple[Boundary, Boundary]:
    """Strip the quantize nodes behind inputs and the dequantize nodes before outputs.

    What is not quantized right at the boundary stays float and is left out.
    """
    from executorch.exir.passes.quantize_io_pass import quantize_input, quantize_output

    boundary: tuple[Boundary, Boundary] = ({}, {})
    signature = program.graph_signature
    counts = (len(signature.user_inputs), len(signature.user_outputs))
    for side, strip, count in zip(boundary, (quantize_input, quantize_output), counts, strict=True):
        for index in range(count):
            try:
                scale, zero_point, *_ = strip(program, index)
            except (ValueError, AttributeError):  # not a quantize node, or not a node at all
                continue
            side[index] = Quantization(float(scale), int(zero_point))
    program.graph_module.recompile()
    return boundary


def _write(made: _Lowered, folder: Path) -> tuple[Path, dict[str, Origin]]:
    """Write the program; also what its tensors are in the model."""
    handles = handles_of(made.edge.exported_program())
    program = made.edge.to_executorch()
    path = folder / "model.pte"
    with path.open("wb") as stream:
        program.write_to_file(stream)
    try:
        method = read_method(path.read_bytes(), where=str(path))
    except ModelError:  # the emulator does not know it: it has no tensors of it to compare
        return path, {}
    instructions = program.debug_handle_map.get("forward", {})
    return path, origins_of(method, made.model, handles, instructions)


def _save_reference(outputs: Any, folder: Path) -> None:  # noqa: ANN401  a tensor or a sequence
    """What the graph gives for the first batch before lowering: the trial compares with it."""
    flat = outputs if isinstance(outputs, tuple | list) else (outputs,)
    named: dict[str, Any] = {f"out{i}": x.detach().numpy() for i, x in enumerate(flat)}
    np.savez(folder / REFERENCE, **named)


def _notes(recipe: Recipe, made: _Lowered) -> tuple[str, ...]:
    notes = []
    outside = Counter(
        str(getattr(node.target, "__name__", node.target))
        for node in made.edge.exported_program().graph.nodes
        if node.op == "call_function"
    )
    for plumbing in ("executorch_call_delegate", "getitem"):
        outside.pop(plumbing, None)
    if made.in_float:
        left = ", ".join(made.in_float.values())
        notes.append(f"left in float, for XNNPACK has no such operator on integers: {left}")
    if outside:
        ops = ", ".join(f"{count} {name}" for name, count in sorted(outside.items()))
        notes.append(f"not taken by XNNPACK, run by ExecuTorch's portable kernels: {ops}")
    if recipe.mode == "static" and not (made.inputs and made.outputs):
        notes.append("inputs or outputs stayed float: no quantized operator stands next to them")
    return tuple(notes)


def _described(
    request: LoweringRequest,
    path: Path,
    made: _Lowered,
    notes: tuple[str, ...],
    origins: dict[str, Origin],
) -> Artifact:
    """The artifact with its manifest, shapes and dtypes read from the file itself."""
    from executorch.runtime import Runtime

    meta = Runtime.get().load_program(path).metadata("forward")
    ins = [meta.input_tensor_meta(index) for index in range(meta.num_inputs())]
    outs = [meta.output_tensor_meta(index) for index in range(meta.num_outputs())]
    inputs = tuple(
        replace(_spec(f"in{i}", info, made.inputs.get(i)), batched=taken.batched)
        for i, (info, taken) in enumerate(zip(ins, request.model.inputs, strict=True))
    )
    outputs = tuple(_spec(f"out{i}", info, made.outputs.get(i)) for i, info in enumerate(outs))
    known = {"findings": inspect_file(path), "origins": origins}
    return described(request, path, "executorch", inputs, outputs, notes=notes, **known)


def _spec(name: str, info: Any, quantization: Quantization | None) -> TensorSpec:  # noqa: ANN401
    return TensorSpec(name, tuple(info.sizes()), SCALAR_TYPES[info.dtype()], quantization)

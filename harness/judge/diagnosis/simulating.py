"""The part of a diagnosis that needs torch: the program, its ranges, costs and causes. Runs in a
process of its own."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from harness.host.progress import Progress, no_progress
from harness.judge.diagnosis.causes import (
    Finding,
    channels_of,
    find_cause,
    forms_to_measure,
    shares_of,
    shares_of_counts,
)
from harness.judge.diagnosis.integers import places
from harness.judge.diagnosis.layers import group, operator
from harness.judge.diagnosis.measuring import measure, measure_forms, samples_to_measure
from harness.judge.diagnosis.outputs import Difference
from harness.judge.diagnosis.program import CONVOLUTIONS, export_program
from harness.judge.diagnosis.ranges import chosen_spans, observe_channels, spans_of
from harness.judge.diagnosis.records import Channels, Loss
from harness.judge.diagnosis.running import Simulation
from harness.quantize.histograms import chooser
from harness.quantize.plan import Plan, changes_of
from harness.quantize.provenance import module_path
from harness.quantize.samples import model_batches
from harness.recipe import Recipe
from harness.sources.models import load_float32, parse_model
from harness.sources.npz import read_npz

if TYPE_CHECKING:
    import torch

    Batch = tuple[torch.Tensor, ...]

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class SimulatedLayer:
    """One layer, as it was measured.

    Attributes:
        convolution: whether it is one.
        named: whether `module` is a path in the user's source.
        others: as of `harness.judge.diagnosis.records.LayerDiagnosis`.
    """

    module: str
    ops: tuple[str, ...]
    convolution: bool
    named: bool
    share: float
    alone: Loss
    in_place: Loss
    added: Loss
    clipped: float
    saturated: float
    facts: Channels
    finding: Finding


@dataclass(frozen=True, eq=False)
class Simulated:
    """All layers, and everything quantized.

    Attributes:
        layers: worst first.
        total: everything quantized against the submitted float model.
        measured: which invocations of the calibration samples losses were measured on.
        calibration: how many there are.
        reference: the float model's outputs on these, joined along the first axis.
    """

    layers: tuple[SimulatedLayer, ...]
    total: Loss
    measured: tuple[int, ...]
    calibration: int
    reference: tuple[Array, ...]


def simulate(plan: Plan, runtime: str, in_float: frozenset[str], progress: Progress) -> Simulated:
    """Run the float program with its layers rounded as a recipe says. Isolated only.

    Args:
        plan: of the lowering whose loss is looked at.
        in_float: names of layers that the artifact leaves in float.
    """
    import torch

    progress("exporting", 0, None)
    torch.set_num_threads(1)  # most operators are small: threads would wait for each other
    submitted, examples = load_float32(parse_model(plan.model.resolved))
    module, _ = load_float32(parse_model(plan.model.resolved))
    changes = changes_of(plan, progress)
    changes.put_into(module)
    batches = list(model_batches(plan.model, read_npz(plan.calibration), examples))
    return simulate_module(
        submitted,
        module,
        examples,
        replace(plan.recipe, rules=changes.rules),
        batches,
        runtime=runtime,
        in_float=in_float,
        progress=progress,
    )


def simulate_module(
    submitted: "torch.nn.Module",
    module: "torch.nn.Module",
    examples: "Batch",
    recipe: Recipe,
    batches: "list[Batch]",
    *,
    runtime: str,
    in_float: frozenset[str] = frozenset(),
    progress: Progress = no_progress,
) -> Simulated:
    """As `simulate`, of modules that are loaded.

    Args:
        submitted: what losses are held against.
        module: what is quantized: the submitted one, or what a recipe's steps made of it.
        batches: calibration samples.
    """
    import torch

    simulation = _simulation(
        module, examples, recipe, batches, runtime=runtime, in_float=in_float, progress=progress
    )
    chosen = samples_to_measure(simulation, batches[0], len(batches))
    measured = [batches[number] for number in chosen]
    costs = measure(simulation, measured, progress)
    measure_forms(simulation, costs, forms_to_measure(simulation, costs), measured, progress)

    total, references = Difference(), []
    everything = frozenset(range(len(simulation.layers.names)))
    with torch.no_grad():
        for batch in measured:
            reference = [x.float().numpy() for x in submitted(*batch)]
            values = simulation.run({}, batch, everything)
            total.add([x.numpy() for x in simulation.outputs(values)], reference)
            references.append([np.atleast_1d(x) for x in reference])
    shares = shares_of(costs)
    made = [
        SimulatedLayer(
            module=name,
            ops=tuple(operator(n) for n in nodes if n.op == "call_function"),
            named=any(module_path(n) for n in nodes),
            convolution=any(str(n.target) in CONVOLUTIONS for n in nodes),
            share=shares[number],
            alone=one.alone.loss(),
            in_place=one.in_place.loss(),
            added=one.added.loss(),
            clipped=shares_of_counts(one)[0],
            saturated=shares_of_counts(one)[1],
            facts=channels_of(simulation, number, finding),
            finding=finding,
        )
        for number, (name, nodes, one) in enumerate(
            zip(simulation.layers.names, simulation.layers.nodes, costs.layers, strict=True)
        )
        if (finding := find_cause(simulation, one, number))
    ]
    return Simulated(
        tuple(sorted(made, key=lambda one: -one.share)),
        total.loss(),
        tuple(chosen),
        len(batches),
        tuple(np.concatenate(column) for column in zip(*references, strict=True)),
    )


def _simulation(
    module: "torch.nn.Module",
    examples: "Batch",
    recipe: Recipe,
    batches: "list[Batch]",
    *,
    runtime: str,
    in_float: frozenset[str],
    progress: Progress,
) -> Simulation:
    program = export_program(module, examples, in_parts=runtime != "executorch")
    layers = group(program)
    ranges = observe_channels(program, batches, progress)
    spans = spans_of(ranges)
    integers = places(program, layers, recipe, spans, runtime=runtime, in_float=in_float)
    choose = chooser(recipe) if recipe.mode == "static" else None
    if choose is not None:
        progress("choosing ranges", 0, None)
        levels = 2 ** (recipe.activation_bits or 8) - 1
        nodes = {*integers.made, *(x for some in integers.taken.values() for x in some)}
        spans = chosen_spans(program, nodes, spans, batches, choose=choose, levels=levels)
    return Simulation(program, layers, integers, recipe, ranges, spans)

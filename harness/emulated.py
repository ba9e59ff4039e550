"""An evaluation without a device: an emulator's numbers stand in, and each of them says so."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.artifact import Artifact
from harness.emulator.all_tensors import expose
from harness.emulator.formats.model_file import read_model
from harness.emulator.graph import Graph
from harness.emulator.interpreter import emulate
from harness.emulator.profiles import get_profile
from harness.errors import DeviceError, ModelError, UsageError
from harness.host.isolate import run_isolated
from harness.host.progress import Progress, no_progress
from harness.host.scratch import scratch_folder
from harness.judge.accuracy import wilson
from harness.judge.compare import compare_tensor
from harness.judge.exactness import Emulated, emulate_samples
from harness.judge.traced import (
    bounds_of,
    constants_of,
    invocations_to_trace,
    real_tensors,
    samples_in,
    take_these,
)
from harness.on_device.slices import count_slices, drop_filled, take_slices
from harness.records import Distance, Exactness, Proportion, TensorComparison
from harness.target import Target, VendorEmulation

Array = npt.NDArray[Any]

_TIMEOUT_S = 3600.0
_FEW = 4
"""Invocations over which tensors inside are compared."""
_NO_DEVICE = "nothing ran on a device: every number of this run is the emulator's"


@dataclass(frozen=True, eq=False)
class WithoutDevice:
    """What an evaluation knows when there is no device.

    Attributes:
        emulated: the outputs, and the comparison that was not made.
        by: the profile and what it promises, e.g. ``edge-tpu (assumed)``.
        distances: to related profiles.
        facts: what a vendor's emulator says of itself.
    """

    emulated: Emulated
    by: str
    distances: tuple[Distance, ...] = ()
    facts: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Emulators:
    """The emulators of a target, over one lowered artifact and its inputs.

    Attributes:
        target: whose compiler and vendor's emulator are used.
        lowered: as `harness.quantize.lower.lower` makes it.
        inputs: of its dtypes; the first axis holds the samples.
        compiler: makes of a lowered artifact that for a chip, see `harness.prepare`.
        progress: told what is being done.
    """

    target: Target
    lowered: Artifact
    inputs: Sequence[Array]
    compiler: Callable[[Artifact, str], Artifact]
    progress: Progress = no_progress

    def run(self, soc: str | None) -> WithoutDevice:
        """Emulate all samples for a chip, and hold the outputs against related profiles.

        A vendor's emulator runs twice, in processes of their own: its numbers count only when
        every bit is the same.

        Raises:
            UsageError: no emulator stands for the target.
            ModelError: the artifact cannot be compiled or emulated.
            DeviceError: a vendor's emulator gave two different answers.
        """
        name = self.target.profile_without_device(soc)
        if name is None:
            raise UsageError(f"no emulator stands for {self.target.name}: name a --device")
        vendor = self.target.vendor
        if vendor is None or not vendor.has(name):
            emulated, by = self.ours(name)
            return WithoutDevice(emulated, by)
        first, again = self.vendors(name), self.vendors(name)
        for x, y in zip(first.outputs, again.outputs, strict=True):
            if not np.array_equal(x, y):
                raise DeviceError(
                    f"{np.count_nonzero(x != y)} of {x.size} output elements differ between two "
                    "runs of the vendor's emulator on the same inputs",
                    device=name,
                )
        emulated = Emulated(
            Exactness(name, "unknown", reason=_NO_DEVICE),
            first.outputs,
            elapsed_ns=first.elapsed_ns,
        )
        said = (f"{vendor.name} {key}: {value}" for key, value in first.facts.items())
        return WithoutDevice(
            emulated,
            f"{name} (the vendor's emulator)",
            self.distances(name, vendor.relatives(soc or ""), first.outputs),
            (*said, "emulated twice, in two processes: identical bits"),
        )

    def vendors(self, profile: str) -> VendorEmulation:
        """Compile for the profile's chip and run the vendor's emulator on the result.

        Raises:
            UsageError: the target has no such chip, or the emulator is not installed.
            ModelError: the artifact cannot be compiled or emulated.
        """
        vendor = self.target.vendor
        if vendor is None:
            raise UsageError(f"{self.target.name} has no emulator of a vendor, asked for {profile}")
        soc = profile.partition("@")[2]
        compiled = self.compiler(self.lowered, soc)
        specs = self.lowered.manifest.inputs
        done: VendorEmulation = run_isolated(
            vendor.emulate,
            compiled.path,
            soc,
            take_slices(specs, self.inputs, 0, count_slices(specs, self.inputs)),
            what=f"{self.lowered.manifest.model}: emulation by {profile}",
            timeout_s=_TIMEOUT_S,
            progress=self.progress,
        )
        outputs = drop_filled(specs, self.inputs, done.outputs, self.lowered.manifest.outputs)
        return replace(done, outputs=outputs)

    def ours(self, profile: str) -> tuple[Emulated, str]:
        """What our emulator computes, and the profile with its promise."""
        graph, arithmetic = read_model(self.lowered.path).main, get_profile(profile)
        specs = self.lowered.manifest.inputs
        emulation = emulate_samples(self.lowered, graph, arithmetic, self.inputs, self.progress)
        slices = invocations_to_trace(graph, count_slices(specs, self.inputs))
        some = take_these(specs, self.inputs, slices)
        traced = emulate(graph, arithmetic, some, all_tensors=True)
        samples = samples_in(specs, slices, self.inputs)
        promises = sorted({emulation.promises.get(i, "unknown") for i in graph.outputs})
        emulated = Emulated(
            Exactness(profile, "unknown", reason=_NO_DEVICE, traced_samples=samples),
            emulation.outputs,
            slices,
            real_tensors(graph, traced),
            bounds_of(graph),
            constants_of(graph),
            emulation.elapsed_ns,
        )
        return emulated, f"{profile} ({', '.join(promises)})"

    def distances(
        self, name: str, relatives: Sequence[tuple[str, str]], outputs: Sequence[Array]
    ) -> tuple[Distance, ...]:
        """The outputs of profile `name` against those of its relatives, each with the reason why
        they differ; and the first op at which they part."""
        found = [self.distance(other, name, why, outputs) for other, why in relatives]
        if not any(one.differing for distance in found for one in distance.outputs):
            return tuple(found)
        graph, inside = read_model(self.lowered.path).main, self._inside(name)
        return tuple(
            replace(one, first_op=_first_difference(graph, self._inside(one.profile), inside))
            if inside and any(tensor.differing for tensor in one.outputs)
            else one
            for one in found
        )

    def distance(self, other: str, name: str, why: str, outputs: Sequence[Array]) -> Distance:
        """The outputs of profile `name` against those of another."""
        expected: Sequence[Array | None]
        if self._is_vendors(other):
            expected = self.vendors(other).outputs
        else:
            expected = self.ours(other)[0].outputs
        names = [spec.name for spec in self.lowered.manifest.outputs]
        compared = (
            compare_tensor(tensor, x, y, "unknown")
            for tensor, x, y in zip(names, expected, outputs, strict=True)
        )
        return Distance(other, name, why, tuple(compared), _agreement(expected[0], outputs[0]))

    def _is_vendors(self, profile: str) -> bool:
        return self.target.vendor is not None and self.target.vendor.has(profile)

    def _inside(self, profile: str) -> Mapping[int, Array]:
        """Every computed tensor by its index, over the first samples; empty where a vendor's
        compiler does not take the model with all of them as outputs."""
        specs = self.lowered.manifest.inputs
        slices = min(_FEW, count_slices(specs, self.inputs))
        inputs = take_slices(specs, self.inputs, 0, slices)
        if not self._is_vendors(profile):
            graph = read_model(self.lowered.path).main
            return emulate(graph, get_profile(profile), inputs, all_tensors=True).tensors
        with scratch_folder() as folder:
            exposed = expose(self.lowered.path, folder)
            manifest = replace(exposed.artifact.manifest, model=self.lowered.manifest.model)
            artifact = Artifact(exposed.artifact.path, manifest)
            try:
                done = replace(self, lowered=artifact, inputs=inputs).vendors(profile)
            except ModelError:
                return {}
        return dict(zip(exposed.tensors, done.outputs, strict=True))


def _first_difference(
    graph: Graph, expected: Mapping[int, Array], got: Mapping[int, Array]
) -> TensorComparison | None:
    """The first op whose output differs; None when none does."""
    for node in graph.nodes:
        for index in node.outputs:
            if index not in expected or index not in got:
                continue
            one = compare_tensor(
                graph.tensors[index].name,
                expected[index],
                got[index],
                "unknown",
                tensor=index,
                node=node.index,
                op=node.op,
            )
            if one.differing:
                return one
    return None


def _agreement(expected: Array | None, got: Array) -> Proportion | None:
    """Share of samples with the same largest element, where there is a vector for each."""
    if expected is None or expected.shape != got.shape or got.ndim != 2 or got.shape[1] < 2:
        return None
    same = np.argmax(expected, axis=1) == np.argmax(got, axis=1)
    return wilson(int(np.count_nonzero(same)), len(same))

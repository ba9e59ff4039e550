"""Target: a kind of machine with its runtime.

Data, not a class hierarchy; see docs/adding-a-target.md.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from harness.device import Device
from harness.host.progress import Progress
from harness.model import Model
from harness.placement import PlacementReport
from harness.protocol import Delegate, Result
from harness.recipe import Recipe

if TYPE_CHECKING:  # numpy with them, which a list of targets needs not
    import numpy.typing as npt

    from harness.artifact import Artifact

Runtime = str
"""The target's word for what interprets an artifact, e.g. ``litert``."""
RunnerName = Literal["python", "native"]
"""Which of a target's two runners a person may ask for: `Target.runner` or
`Target.native_runner`."""
RunOnHost = Callable[[Path, list[Any]], list[Any]]
"""One invocation of an artifact by its runtime on this host: the file, and its inputs."""


@dataclass(frozen=True)
class ByName:
    """A function by its name, imported where it is called: to list targets imports no converter.

    Attributes:
        name: ``module:function``.
    """

    name: str

    def __call__(self, *args: Any, **options: Any) -> Any:  # noqa: ANN401  as the function has it
        """Call it."""
        module, _, function = self.name.partition(":")
        return getattr(import_module(module), function)(*args, **options)


def name_of(function: Callable[..., object]) -> str:
    """Where a function of a target is defined: ``module:function``."""
    if isinstance(function, ByName):
        return function.name
    return f"{function.__module__}:{getattr(function, '__qualname__', '')}"


@dataclass(frozen=True)
class LoweringRequest:
    """One lowering, as it crosses into the subprocess that does it.

    Attributes:
        model: what was submitted.
        recipe: what to quantize; None for a model that came quantized.
        target: name of the target, for the manifest.
        calibration: ``.npz`` with samples ``in0, in1, …`` in the model's own layout.
        folder: where the artifact and its manifest go.
        cache: root of the cache by content, for intermediate results that recipes share.
        soc: the chip, for a target that lowers for one at once; see `Target.socs`.
    """

    model: Model
    recipe: Recipe | None
    target: str
    calibration: Path
    folder: Path
    cache: Path
    soc: str | None = None


class Lower(Protocol):
    """Turns a model into an artifact. A module-level function: it runs in a subprocess, for
    converters crash."""

    def __call__(self, request: LoweringRequest, progress: Progress) -> "Artifact":
        """Raise ModelError when the model, the recipe or the calibration data cannot be lowered."""


@dataclass(frozen=True)
class CompileRequest:
    """One compilation for an accelerator, as it crosses into the subprocess that does it.

    Attributes:
        lowered: what `Target.lower` made.
        target: name of the target, for the manifest.
        soc: the chip; see `Target.socs`.
        folder: where the compiled artifact and its manifest go.
        file: the artifact's name there.
    """

    lowered: "Artifact"
    target: str
    soc: str | None
    folder: Path
    file: str


class Compile(Protocol):
    """Makes of a lowered artifact what the accelerator takes. A module-level function: it runs in a
    subprocess, for compilers crash."""

    def __call__(self, request: CompileRequest, progress: Progress, /) -> "Artifact":
        """Raise ModelError when the compiler refuses the file, UsageError when it is missing."""


Check = Callable[[Path, str | None, Progress], PlacementReport]
"""Tells where each op of a lowered file would run, on which chip where the target has several. It
opens and examines the file, never runs it. A module-level function: it runs in a subprocess."""


@dataclass(frozen=True)
class Runner:
    """The program that runs on the device and obeys the runner protocol.

    Attributes:
        name: the target's word for it; ``python`` where it needs the device's Python.
        files: files to put on the device, by content; the first is the program.
        argv: from (device, paths of the files on the device, job folder) to the command.
        delegate: of an accelerator, that it loads on the device; None for none.
        remedy: what to do where the device cannot start it.
    """

    name: str
    files: tuple[Path, ...]
    argv: Callable[[Device, tuple[str, ...], str], tuple[str, ...]]
    delegate: Delegate | None = None
    remedy: str = "see the documents of its target"


@dataclass(frozen=True, eq=False)
class VendorEmulation:
    """What a vendor's emulator computed.

    Attributes:
        outputs: in the artifact's order; the first axis as the inputs'.
        elapsed_ns: time for all samples.
        facts: what it says of itself, e.g. the emulated architecture.
    """

    outputs: tuple["npt.NDArray[Any]", ...]
    elapsed_ns: int
    facts: Mapping[str, str]


@dataclass(frozen=True)
class VendorEmulator:
    """A vendor's own emulator of its chips, which stands for a target in place of ours.

    Attributes:
        name: its profiles are called ``<name>@<soc>``.
        summary: one line for ``edgefarm profiles``.
        emulate: runs a compiled artifact for a chip over all samples. It refuses an artifact of
            another chip. A module-level function: it runs in a subprocess.
        relatives: profiles worth holding against that of a chip, each with the reason why they
            differ.
    """

    name: str
    summary: str
    emulate: Callable[[Path, str, tuple["npt.NDArray[Any]", ...], Progress], VendorEmulation]
    relatives: Callable[[str], tuple[tuple[str, str], ...]]

    def has(self, profile: str) -> bool:
        """Whether a profile is one of this emulator's."""
        return profile.partition("@")[0] == self.name


def _no_tools() -> dict[str, str]:
    return {}


def _no_source() -> str:
    return ""


def _no_profile(_soc: str | None) -> str | None:
    return None


@dataclass(frozen=True)
class Target:
    """A kind of machine with its runtime.

    Attributes:
        name: e.g. ``arm-neon-litert``.
        summary: one line for ``edgefarm targets``.
        runtime: what interprets the artifact on the device.
        machine: ``uname -m`` of the devices; None for any.
        suffix: of the artifact, e.g. ``.tflite``.
        recipes: names of the recipes it takes.
        lower: makes the artifact.
        runner: runs it on the device.
        profile: name of the emulator profile that stands for what `Result` says really ran, or
            None when no profile does; then the comparison reports "unknown".
        evidence: what was verified and on what, for ``edgefarm targets``.
        check: where each op of a lowered file would run.
        socs: the chips that an artifact can be compiled for; empty where it runs on any.
        compile: makes of a lowered artifact what the accelerator takes; None where there is none.
        tools: versions of what `compile` uses, beyond the packages that all lowerings use.
        source: digest of the target's own code that `compile` runs: a change makes new artifacts.
        profile_without_device: the profile that stands for the target on a chip when there is no
            device to ask; None when none does.
        vendor: the vendor's emulator, whose profiles these then are.
        native_runner: makes the runner for devices without Python, for a machine (``uname -m``);
            None when the target has none.
        native_first: devices with Python get that runner too, unless the Python one is asked for.
        needs: the extra of edgefarm, and then the modules of it, that `lower` imports for a model
            that is not lowered yet; empty where it needs none.
        packages: modules of the runtime on a device with Python, any of which will do; empty where
            it needs none.
        trial: runs what `lower` made once, on this host, before anybody trusts it; None where the
            runtime cannot run here.
        takes_steps: whether `lower` applies steps and rules of a recipe.
    """

    name: str
    summary: str
    runtime: Runtime
    machine: str | None
    suffix: str
    recipes: tuple[str, ...]
    lower: Lower
    runner: Runner
    profile: Callable[[Device, Result], str | None]
    evidence: str
    check: Check
    socs: tuple[str, ...] = ()
    compile: Compile | None = None
    tools: Callable[[], dict[str, str]] = _no_tools
    source: Callable[[], str] = _no_source
    profile_without_device: Callable[[str | None], str | None] = _no_profile
    vendor: VendorEmulator | None = None
    native_runner: Callable[[str], Runner] | None = None
    native_first: bool = False
    needs: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    trial: RunOnHost | None = None
    takes_steps: bool = True

"""The runner protocol: what the host writes for a runner, and what it accepts back.

A job is a folder on the device::

    job.json          this module's Job
    in0.npy …         inputs; the first axis holds the samples
    out/              made by the host, empty; the only folder that is pulled back
    out/out0.npy …    outputs, written by the runner, first axis as the inputs'
    out/result.json   this module's Result, written last and atomically

The runner feeds samples in slices of the artifact's own batch size: N samples of a batch of B are
N / B invocations (the host pads to a whole number), and it times with the first slice. A failure it
knows of becomes `Result.failure` and exit status 0; only a crash leaves no `result.json`. What
comes back is untrusted: `result.json` is parsed strictly here, the arrays in `on_device.received`.
"""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from harness.errors import DeviceError, printable
from harness.host.wording import first_fault

PROTOCOL_SCHEMA = 1
MAX_TIMED_RUNS = 10_000
_MOST_SAMPLES = 10 * MAX_TIMED_RUNS
_MOST_ITEMS = 4096
_TEXT_CHARS = 1000

Kernels = Literal["xnnpack", "builtin", "reference"]
"""Which kernels of LiteRT run: the XNNPACK delegate, the optimized built-in ones, or
BUILTIN_REF."""


Count = Annotated[int, Field(strict=True, ge=0, lt=1 << 63)]
"""A number of nanoseconds, bytes, kHz, nodes or runs, as a device may report it."""


def _one_line(text: str) -> str:
    return " ".join(printable(text).split())[:_TEXT_CHARS]


Text = Annotated[str, AfterValidator(_one_line)]
"""A device's words: one line, cut to a length, safe to show."""

Samples = Annotated[tuple[Count, ...], Field(max_length=_MOST_SAMPLES)]
"""Times of invocations, in ns."""


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Delegate(_Message):
    """An accelerator's delegate, a shared library of the device's own installation.

    Attributes:
        library: its name or path, e.g. ``libedgetpu.so.1``.
        options: handed to it, e.g. ``{"device": "usb:0"}``.
        build: of the vendor's libraries that compiled the artifact; a runner whose libraries tell
            theirs refuses another. Empty for any.
    """

    library: str
    options: dict[str, str] = {}
    build: str = ""


class Job(_Message):
    """What the runner shall do.

    Attributes:
        runtime: the target's, e.g. ``litert``.
        artifact: path of the model on the device, relative to the job folder or absolute.
        sha256: of the artifact; the runner hashes the file and refuses another.
        inputs: file names in the job folder, in the model's input order.
        kernels: see `Kernels`; only for ``litert``.
        delegate: to load for an accelerator; only for ``litert``.
        threads: worker threads of the runtime.
        outputs: False times only and writes no outputs (a restart of the latency measurement).
        warmup_runs: untimed runs, kept apart.
        timed_runs: least number of timed runs.
        min_time_s: timed runs go on until this much time has been spent in them, up to
            `MAX_TIMED_RUNS` runs.
        profiled_runs: runs under the runtime's profiler, apart from the timed ones; a runner whose
            runtime has none leaves them out.
    """

    schema_: Annotated[int, Field(alias="schema")] = PROTOCOL_SCHEMA
    runtime: str
    artifact: str
    sha256: str
    inputs: tuple[str, ...]
    kernels: Kernels = "xnnpack"
    delegate: Delegate | None = None
    threads: int = 1
    outputs: bool = True
    warmup_runs: int = 0
    timed_runs: int = 0
    min_time_s: float = 0.0
    profiled_runs: int = 0

    model_config = ConfigDict(
        frozen=True, extra="forbid", populate_by_name=True, serialize_by_alias=True
    )


class MachineState(_Message):
    """State of the device around a measurement; None where the device does not tell.

    Attributes:
        governor: cpufreq governor of cpu0.
        frequencies_khz: current frequency of each core.
        temperatures_millidegree: every thermal zone, by its type.
        load_average: over one minute.
    """

    governor: Text | None = None
    frequencies_khz: Annotated[tuple[Count, ...], Field(max_length=_MOST_ITEMS)] = ()
    temperatures_millidegree: Annotated[
        dict[Text, Annotated[int, Field(strict=True, gt=-(10**9), lt=10**9)]],
        Field(max_length=_MOST_ITEMS),
    ] = {}
    load_average: Annotated[float, Field(strict=True, ge=0, lt=1e9)] | None = None


class OpTime(_Message):
    """Time of one step of the runtime's plan, summed over the profiled runs.

    Attributes:
        node: index in the model; None for a step inside a delegate, which fuses nodes.
        op: as the runtime names it, e.g. ``SOFTMAX``, ``Convolution (NHWC, QC8) IGEMM``.
        total_ns: over all runs; the runtime's clock may count in microseconds.
        runs: how many.
    """

    node: Count | None
    op: Text
    total_ns: Count
    runs: Count


class RunnerFailure(_Message):
    """Why the runner could not do the job.

    Attributes:
        kind: ``model`` (the runtime refused the file or the inputs), ``runtime_missing``,
            ``artifact`` (wrong sha256), ``disk_full``, ``internal``.
        message: one line.
    """

    kind: Literal["model", "runtime_missing", "artifact", "disk_full", "internal"]
    message: Text


class Result(_Message):
    """What the runner measured.

    Attributes:
        failure: None when the job was done.
        outputs: file names written, in the model's output order.
        runner: name and version of the runner program, e.g. ``python 1``.
        runtime: package that ran the model, e.g. ``ai_edge_litert``.
        runtime_version: its version.
        kernels: as the job asked; None for ``executorch``. What really ran: `delegated` says.
        delegate: library of the accelerator's delegate that was loaded; None without one.
        delegated: nodes taken by delegates; None when the runtime does not tell.
        machine: ``uname -m``.
        cpu: model name, or the implementer and part numbers of an Arm core.
        cpu_features: flags as /proc/cpuinfo prints them.
        load_ns: opening the model until it is ready to run.
        warmup_ns, latency_ns: raw samples, one per invocation.
        peak_rss_bytes: of the runner process.
        op_times: in execution order, where the runtime gives a profile.
        before, after: state of the machine around the timed runs.
    """

    schema_: Annotated[int, Field(alias="schema", strict=True)] = PROTOCOL_SCHEMA
    failure: RunnerFailure | None = None
    outputs: Annotated[tuple[Text, ...], Field(max_length=_MOST_ITEMS)] = ()
    runner: Text = ""
    runtime: Text = ""
    runtime_version: Text = ""
    kernels: Kernels | None = None
    delegate: Text | None = None
    delegated: Count | None = None
    machine: Text = ""
    cpu: Text = ""
    cpu_features: Annotated[tuple[Text, ...], Field(max_length=_MOST_ITEMS)] = ()
    load_ns: Count = 0
    warmup_ns: Samples = ()
    latency_ns: Samples = ()
    peak_rss_bytes: Count | None = None
    op_times: Annotated[tuple[OpTime, ...], Field(max_length=_MOST_SAMPLES)] = ()
    before: MachineState = MachineState()
    after: MachineState = MachineState()

    model_config = ConfigDict(
        frozen=True, extra="forbid", populate_by_name=True, serialize_by_alias=True
    )


def parse_result(text: bytes, *, device: str) -> Result:
    """Parse a `result.json` that came from a device.

    Raises:
        DeviceError: it is not a result of this protocol.
    """
    try:
        result = Result.model_validate_json(text)
    except ValidationError as error:
        raise DeviceError(
            f"result.json is not a runner result: {first_fault(error)}", device=device
        ) from error
    if result.schema_ != PROTOCOL_SCHEMA:
        raise DeviceError(
            f"result.json has protocol schema {result.schema_}, this host speaks {PROTOCOL_SCHEMA}",
            device=device,
        )
    return result

"""`edgefarm emulate | compare | verify`: the emulator, by itself and against a runtime."""

from pathlib import Path
from typing import Annotated, cast, get_args

import typer

from farm.desk import at_the_desk
from farm.inventory import inventory_path, load_inventory
from farm.transports import connect
from harness import __version__
from harness.artifact import sha256_file
from harness.cli.options import ShapeOption
from harness.cli.output import (
    JsonOption,
    check_file,
    print_json,
    print_rows,
    progress_bar,
    remark,
    stdout,
)
from harness.cli.vendor import AcceptOption, emulate_by_vendor, vendor_target
from harness.device import Device
from harness.emulator.core import level
from harness.emulator.formats.model_file import format_of_file, read_model
from harness.emulator.interpreter import Emulator
from harness.emulator.profiles import get_profile
from harness.emulator.shapes import with_batch
from harness.errors import ModelError, UsageError
from harness.host.cache import content_key, default_cache
from harness.judge.compare_npz import all_equal, compare_npz
from harness.on_device.deploy import choose_runner
from harness.protocol import Kernels
from harness.sources.hints import with_hint
from harness.sources.open_shapes import open_hint, with_shapes
from harness.streaming import Streamed, emulate_file
from harness.target import Target
from harness.verify.tflm import PROFILE, verify_tflm
from harness.verify.verification import VerifyReport, standing_for, verify
from reports.tables import comparison_table
from targets import all_targets

_PANEL = "Emulate and compare"


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command("emulate", rich_help_panel=_PANEL)(emulate_)
    app.command("compare", rich_help_panel=_PANEL)(compare)
    app.command("verify", rich_help_panel=_PANEL)(verify_)


def emulate_(
    file: Annotated[Path, typer.Argument(help="A .tflite or .pte model.")],
    profile: Annotated[str, typer.Option(help="Whose arithmetic: one of `edgefarm profiles`.")],
    inputs: Annotated[
        Path,
        typer.Option(
            help="An .npz with in0, in1, … in the model's input order and dtypes; the first axis "
            "holds any number of samples."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Where to write out0, out1, … (.npz).")],
    all_tensors: Annotated[
        bool,
        typer.Option("--all-tensors", help="Write every computed tensor too, as t<index>."),
    ] = False,
    signature: Annotated[
        str | None,
        typer.Option(help="Which signature to call; in0, in1, … are its inputs in its order."),
    ] = None,
    batch: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Samples in one invocation, of a model that leaves its batch open; by default, "
            "the file's.",
        ),
    ] = None,
    shape: ShapeOption = None,
    accept_qualcomm_license: AcceptOption = False,  # noqa: ARG001  acts when it is parsed
    as_json: JsonOption = False,
) -> None:
    """Compute, bit for bit, what a runtime would compute on a device.

    Any number of samples is streamed in bounded memory. Interrupted, it keeps OUT.partial; the same
    command goes on from there.

    Example: edgefarm emulate model.tflite --profile litert-xnnpack-arm --inputs in.npz --out o.npz
    """
    check_file(out)
    file = with_shapes(file, shape or (), default_cache())
    if target := vendor_target(profile):
        if all_tensors or signature is not None or batch is not None:
            raise UsageError(
                f"{profile} is a vendor's emulator, which runs the file as it is and keeps outputs "
                "only: leave out --all-tensors, --signature and --batch"
            )
        emulate_by_vendor(target, profile, file, inputs, out, as_json=as_json)
        return
    model = read_model(file)
    graph = model.main if signature is None else model.entry(signature)
    if batch is not None:
        graph = with_batch(graph, batch)
    with progress_bar() as progress:
        streamed = emulate_file(
            Emulator(graph, get_profile(profile)),
            graph,
            inputs,
            out,
            key=content_key(
                {
                    "model": sha256_file(file),
                    "inputs": sha256_file(inputs),
                    "profile": profile,
                    "all_tensors": all_tensors,
                    "signature": signature,
                    "batch": batch,
                    "edgefarm": __version__,
                }
            ),
            all_tensors=all_tensors,
            progress=progress,
        )
    _show_streamed(streamed, out, as_json=as_json)
    if any(f"out{position}" not in streamed.arrays for position in range(len(graph.outputs))):
        raise typer.Exit(1)


def _show_streamed(streamed: Streamed, out: Path, *, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "written": list(streamed.arrays),
                "promises": streamed.promises,
                "unknown": streamed.unknown,
                "elapsed_ns": streamed.elapsed_ns,
                "core": level(),
            }
        )
    else:
        core = level() or "not built, numpy definitions only"
        stdout.print(
            f"{out}: {len(streamed.arrays)} arrays of {streamed.samples} samples; promise of the "
            f"outputs: {', '.join(sorted(set(streamed.promises)))}; core: {core}",
            soft_wrap=True,
        )
    for unknown in streamed.unknown:
        remark(f"unknown: node {unknown.node} ({unknown.op}, {unknown.tensor!r}): {unknown.reason}")


def compare(
    expected: Annotated[Path, typer.Argument(help="An .npz, e.g. of `edgefarm emulate`.")],
    got: Annotated[Path, typer.Argument(help="The .npz to hold against it.")],
    as_json: JsonOption = False,
) -> None:
    """Compare two .npz files array by array, as integers; exit 1 when anything differs."""
    compared = compare_npz(expected, got)
    if as_json:
        print_json(compared)
    else:
        stdout.print(comparison_table(compared))
    if not all_equal(compared):
        raise typer.Exit(1)


def verify_(
    file: Annotated[Path, typer.Argument(help="A .tflite or .pte model.")],
    profile: Annotated[
        str | None,
        typer.Option(
            help="Whose promises to check; by default, of the profile that stands for "
            "what ran on the device."
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="Where the runtime runs.")] = "host",
    kernels: Annotated[
        str | None,
        typer.Option(
            help="LiteRT's kernels: xnnpack, builtin or reference; by default, the profile's."
        ),
    ] = None,
    signature: Annotated[
        str | None, typer.Option(help="Whose graph to check; by default, the main one.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="How many random inputs.")] = 5,
    threads: Annotated[int, typer.Option(min=1, help="Threads of the runtime.")] = 1,
    shape: ShapeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check our claim: hold every op of a model against a runtime, on random and extreme inputs.

    Each op is judged on the runtime's own input tensors, then the whole graph end to end. Exit 1
    when anything that a profile declares exact differs. Profile tflm is judged on this host, by the
    TensorFlow Lite Micro interpreter.
    """
    fixed = with_shapes(file, shape or (), default_cache())
    try:
        if profile == PROFILE:
            report = _verify_tflm(fixed, device, kernels, signature, threads, seeds)
        else:
            report = _verify(fixed, profile, device, kernels, signature, threads, seeds)
    except ModelError as error:
        if hint := open_hint(fixed):
            raise ModelError(with_hint(str(error), hint)) from error
        raise
    _show(report, as_json=as_json)
    if report.exit_code:
        raise typer.Exit(report.exit_code)


def _verify_tflm(
    file: Path,
    device: str,
    kernels: str | None,
    signature: str | None,
    threads: int,
    seeds: int,
) -> VerifyReport:
    if device != "host" or kernels is not None or signature is not None or threads != 1:
        raise UsageError(
            f"--profile {PROFILE}: its interpreter runs on this host, the main graph, in one "
            "thread, and has one kind of kernels; leave --device, --kernels, --signature and "
            "--threads out"
        )
    with progress_bar() as progress:
        return verify_tflm(file, seeds=range(seeds), progress=progress)


def _verify(
    file: Path,
    profile: str | None,
    device: str,
    kernels: str | None,
    signature: str | None,
    threads: int,
    seeds: int,
) -> VerifyReport:
    where = load_inventory(inventory_path()).get_device(device)
    target = _target_for(file, where)
    claimed = get_profile(profile) if profile else None
    chosen = kernels or (claimed.kernels if claimed else "") or "xnnpack"
    if chosen not in get_args(Kernels):
        raise UsageError(f"--kernels {chosen}: one of: {', '.join(get_args(Kernels))}")
    with (
        progress_bar() as progress,
        at_the_desk(where, connect, what="verify") as opened,
        opened(where) as transport,
    ):
        return verify(
            file,
            choose_runner(transport, target),
            transport,
            (lambda _result: claimed) if claimed else standing_for(target, where),
            kernels=cast("Kernels", chosen),
            threads=threads,
            signature=signature,
            seeds=range(seeds),
            progress=progress,
        )


def _target_for(file: Path, device: Device) -> Target:
    """The device's target that runs such a file."""
    suffix = format_of_file(file).suffix
    table = all_targets()
    for name in device.targets:
        if name in table and table[name].suffix == suffix:
            return table[name]
    raise UsageError(
        f"device {device.name} has no target that runs {suffix} files; "
        f"it has: {', '.join(device.targets) or 'none'}"
    )


def _show(report: VerifyReport, *, as_json: bool) -> None:
    if as_json:
        print_json(report)
        return
    ran = f"{report.result.runtime} {report.result.runtime_version}"
    if report.result.kernels:
        ran += f", kernels {report.result.kernels}"
    print_rows(
        f"{report.profile} against {ran} on {report.device}, {report.invocations} invocations",
        [
            {
                "op": row.op,
                "promise": row.promise,
                "nodes": row.nodes,
                "elements": row.elements,
                "differing": row.differing,
                "max LSB": None if row.promise == "float" else row.max_lsb,
                "max ULP": row.max_lsb if row.promise == "float" else None,
            }
            for row in report.rows
        ],
        as_json=False,
    )
    end_to_end = report.end_to_end
    stdout.print(f"end to end: {end_to_end.verdict}. {end_to_end.reason}")

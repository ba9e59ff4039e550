"""What vendors' tools add to the commands: their emulators as profiles, and leave to use them."""

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.output import print_json, progress_bar, stdout
from harness.errors import UsageError
from harness.host.cache import default_cache
from harness.target import Target
from targets import all_targets
from targets.hexagon.sdk import accept_licence, library_folder


def _accept(accepted: bool) -> None:
    if accepted:
        library_folder()
        accept_licence()


AcceptOption = Annotated[
    bool,
    typer.Option(
        "--accept-qualcomm-license",
        help="Accept the licence of Qualcomm's compiler and emulator; kept from then on.",
        callback=_accept,
    ),
]


def vendor_profiles() -> list[dict[str, str]]:
    """The profiles of vendors' emulators, and what they stand for."""
    return [
        {"profile": f"{target.vendor.name}@{soc}", "stands for": target.vendor.summary}
        for target in all_targets().values()
        if target.vendor is not None
        for soc in target.socs
    ]


def vendor_target(profile: str) -> Target | None:
    """The target whose vendor's emulator has a profile of that name; None for one of ours."""
    for target in all_targets().values():
        if target.vendor is not None and target.vendor.has(profile):
            return target
    return None


def emulate_by_vendor(
    target: Target, profile: str, file: Path, inputs: Path, out: Path, *, as_json: bool
) -> None:
    """Compile a `.tflite` for the profile's chip, run the vendor's emulator, write the outputs."""
    # Those that only list profiles need none of this.
    import numpy as np

    from harness.emulated import Emulators
    from harness.prepare import compiler_for, prepared
    from harness.request import Request
    from harness.sources.dataset import Dataset
    from harness.sources.npz import read_npz

    arrays = read_npz(inputs)
    names = [f"in{index}" for index in range(len(arrays))]
    if sorted(arrays) != sorted(names):
        raise UsageError(f"{inputs}: has arrays {', '.join(sorted(arrays))}; expected in0, in1, …")
    given = tuple(arrays[name] for name in names)
    cache = default_cache()
    with progress_bar() as progress:
        request = Request(str(file), Dataset(given), target, recipe=None)
        ready = prepared(request, cache=cache, compiled=False, progress=progress)
        compiler = compiler_for(target, cache, progress)
        emulators = Emulators(target, ready.lowered, given, compiler, progress)
        done = emulators.vendors(profile)
    written = {f"out{index}": x for index, x in enumerate(done.outputs)}
    try:
        with out.open("wb") as stream:
            np.savez(stream, **written)  # type: ignore[arg-type]  # any arrays
    except OSError as error:
        raise UsageError(f"{out}: cannot be written: {error.strerror}") from error
    if as_json:
        said = {"written": list(written), "facts": done.facts, "elapsed_ns": done.elapsed_ns}
        print_json(said | {"promises": ["vendor"] * len(written)})
    else:
        facts = "; ".join(f"{key} {value}" for key, value in done.facts.items())
        stdout.print(
            f"{out}: {len(written)} arrays of {len(given[0])} samples by {profile}, the vendor's "
            f"emulator: {facts}",
            soft_wrap=True,
        )

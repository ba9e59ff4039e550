"""The placement of a model on a target, found out without running the model."""

from pathlib import Path

from harness.errors import UsageError
from harness.host.isolate import run_isolated
from harness.host.progress import Progress, no_progress
from harness.placement import PlacementReport
from harness.target import Target

_TIMEOUT_S = 900.0


def check(
    target: Target, path: Path, soc: str | None = None, *, progress: Progress = no_progress
) -> PlacementReport:
    """Where each op of a lowered file would run.

    Args:
        path: as the target's `lower` makes it, or as it came; untrusted.
        soc: see `Target.socs`.

    Raises:
        UsageError: no such SoC, or what the target needs on this host is missing.
        ModelError: the file is broken, or of a kind that the target cannot take.
    """
    check_soc(target, soc)
    if path.suffix != target.suffix:
        raise UsageError(f"{path}: {target.name} runs {target.suffix} files")
    progress("placing the ops", 0, None)
    return run_isolated(
        target.check,
        path.absolute(),
        soc,
        what=f"{path}: placement on {target.name}",
        timeout_s=_TIMEOUT_S,
        progress=progress,
    )


def check_soc(target: Target, soc: str | None) -> None:
    """Raise UsageError unless `soc` is one of the target's, or the target has none and none is
    given."""
    if soc is None and not target.socs:
        return
    if not target.socs:
        raise UsageError(f"{target.name} is not made for one chip; leave out --soc {soc}")
    if soc not in target.socs:
        got = "none given" if soc is None else f"got {soc}"
        raise UsageError(f"{target.name} needs a chip: --soc {'|'.join(target.socs)}; {got}")

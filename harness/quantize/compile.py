"""The second step of a lowering: what an accelerator takes, made of a lowered artifact."""

from harness.artifact import Artifact, load_artifact
from harness.host.cache import Cache, content_key
from harness.host.isolate import run_isolated
from harness.host.progress import Progress, no_progress
from harness.quantize.placing import check_soc
from harness.quantize.tools import tool_versions
from harness.target import CompileRequest, Target, name_of

_TIMEOUT_S = 1800.0


def compile_for(
    target: Target,
    lowered: Artifact,
    soc: str | None = None,
    *,
    cache: Cache,
    progress: Progress = no_progress,
) -> Artifact:
    """Make what the target's accelerator takes, or take it from the cache.

    Args:
        lowered: as `harness.quantize.lower.lower` makes it.
        soc: see `Target.socs`.

    Returns:
        The compiled artifact; the lowered one where the target has nothing to compile.

    Raises:
        UsageError: no such SoC, or what the compiler needs on this host is missing.
        ModelError: the compiler refused the file, crashed, or hung.
    """
    check_soc(target, soc)
    if target.compile is None:
        return lowered
    key = content_key(
        {
            "file": lowered.manifest.sha256,
            "model": lowered.manifest.model,
            "target": target.name,
            "soc": soc,
            "compile": name_of(target.compile),
            "tools": tool_versions() | target.tools(),
            "source": target.source(),
        }
    )
    stored = cache.entry("compiled", key)
    file = f"model{target.suffix}"
    if not (stored / file).exists():
        progress(f"compiling for {soc or target.name}", 0, None)
        with cache.fill("compiled", key) as folder:
            run_isolated(
                target.compile,
                CompileRequest(lowered, target.name, soc, folder, file),
                what=f"{lowered.manifest.model}, compilation for {soc or target.name}",
                timeout_s=_TIMEOUT_S,
                progress=progress,
            )
    return load_artifact(stored / file)

"""Frame: runs as one flat pandas table."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from harness.protocol import Result
from harness.records import Accuracy, Exactness, Latency, QuantizationCost, Run

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = {
    "id": "unique, sorts by time",
    "created": "UTC",
    "outcome": "PASS, WARN, FAIL, ERROR, TIMEOUT or CANCELLED",
    "summary": "the outcome in one line, with what was not judged",
    "reasons": "why it is not PASS, joined by '; '",
    "warnings": "kinds of what looks wrong without any limit, joined by '; '",
    "model": "as submitted",
    "data": "as submitted",
    "target": "name of the target",
    "recipe": "name of the recipe; empty for a file that came quantized",
    "recipe_digest": "of what the recipe says; recipes of one name may differ",
    "device": "name of the device",
    "virtual": "whether the device is emulated hardware",
    "core": "of the device, e.g. cortex-a76",
    "emulated_by": "without a device: the profile and what it promises",
    "samples": "evaluation samples",
    "sha256": "of the artifact",
    "artifact_bytes": "size of the artifact",
    "profile": "the emulator profile that stood for the device",
    "verdict": "exact, differs, assumed, float or unknown",
    "elements": "of all outputs",
    "differing": "output elements that differ; missing when an output was not compared",
    "max_lsb": "largest difference over the outputs",
    "first_op": "operator of the first diverging tensor",
    "first_node": "its index in execution order",
    "first_tensor": "its name",
    "top1": "share from 0 to 1",
    "top1_low": "of its Wilson 95 % interval",
    "top1_high": "of its Wilson 95 % interval",
    "top5": "share from 0 to 1",
    "float_top1": "of the float model on the same samples",
    "agreement": "share of samples classed as the float model does",
    "min_sqnr_db": "of the worst compared tensor, emulator against float",
    "min_cosine": "of the worst compared tensor, emulator against float",
    "latency_ms": "median of the restarts' medians",
    "latency_low_ms": "of its bootstrap 95 % interval",
    "latency_high_ms": "of its bootstrap 95 % interval",
    "latency_p90_ms": "over all timed samples",
    "latency_p99_ms": "over all timed samples",
    "representative": "False on virtual devices and where the device throttled",
    "host_latency_ms": "median of the host runtime on the same invocation",
    "emulator_ms": "the emulator's time for one sample",
    "load_ms": "opening the model on the device, first start",
    "peak_rss_bytes": "of the runner, first start",
    "runtime": "package that ran the model on the device",
    "runtime_version": "its version",
    "machine": "of the device, as uname -m prints it",
    "cpu": "of the device",
    "failure": "class of the error that ended the run",
    "message": "its message",
    "path": "of the run.json; empty when the run came from memory",
}
"""Columns of the table, and what they mean."""

_INT64_MAX = (1 << 63) - 1
_NULLABLE = {
    "samples": "Int64",
    "artifact_bytes": "Int64",
    "elements": "Int64",
    "differing": "Int64",
    "max_lsb": "Int64",
    "first_node": "Int64",
    "peak_rss_bytes": "Int64",
    "representative": "boolean",
}


def frame_of(runs: Sequence[Run], paths: Iterable[str] | None = None) -> "pd.DataFrame":
    """The runs as a table; see `COLUMNS`."""
    import pandas as pd

    files = list(paths) if paths is not None else [""] * len(runs)
    rows = [_row(run) | {"path": path} for run, path in zip(runs, files, strict=True)]
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    frame["created"] = pd.to_datetime(frame["created"], utc=True, errors="coerce", format="ISO8601")
    return frame.astype(_NULLABLE)


def _row(run: Run) -> dict[str, Any]:
    """One run, flat."""
    manifest = run.manifest
    return (
        {
            name: getattr(run, name)
            for name in ("id", "created", "model", "data", "target", "recipe", "recipe_digest")
        }
        | {
            "outcome": str(run.outcome),
            "summary": run.summary,
            "warnings": "; ".join(dict.fromkeys(one.kind for one in run.warnings)),
            "reasons": "; ".join(run.reasons),
            "device": run.device.name,
            "virtual": run.device.virtual,
            "core": run.device.core,
            "emulated_by": run.emulated_by,
            "samples": _whole(run.samples),
            "sha256": manifest.sha256 if manifest else None,
            "artifact_bytes": _whole(manifest.bytes) if manifest else None,
            "emulator_ms": _ms(run.emulator_ns),
            "host_latency_ms": _ms(run.host_latency.median_ns if run.host_latency else None),
            "failure": run.failure.kind if run.failure else None,
            "message": run.failure.message if run.failure else None,
        }
        | _exactness_columns(run.exactness)
        | _accuracy_columns(run.accuracy)
        | _cost_columns(run.cost)
        | _latency_columns(run.latency)
        | (_result_columns(run.results[0]) if run.results else {})
    )


def _exactness_columns(found: Exactness | None) -> dict[str, Any]:
    if found is None:
        return {}
    compared = bool(found.outputs) and all(one.differing is not None for one in found.outputs)
    first = found.first_divergence
    return {
        "profile": found.profile,
        "verdict": found.verdict,
        "elements": _whole(sum(one.elements for one in found.outputs)),
        "differing": _whole(sum(one.differing or 0 for one in found.outputs)) if compared else None,
        "max_lsb": _whole(max(one.max_lsb or 0 for one in found.outputs)) if compared else None,
        "first_op": first.op if first else None,
        "first_node": _whole(first.node) if first else None,
        "first_tensor": first.name if first else None,
    }


def _accuracy_columns(accuracy: Accuracy | None) -> dict[str, Any]:
    if accuracy is None:
        return {}
    columns = {
        name: proportion.value
        for name in ("top1", "top5", "float_top1", "agreement")
        if (proportion := getattr(accuracy, name)) is not None
    }
    if accuracy.top1 is not None:
        columns |= {"top1_low": accuracy.top1.low, "top1_high": accuracy.top1.high}
    return columns


def _cost_columns(cost: QuantizationCost | None) -> dict[str, Any]:
    if cost is None or not cost.tensors:
        return {}
    return {
        "min_sqnr_db": min(tensor.sqnr_db for tensor in cost.tensors),
        "min_cosine": min(tensor.cosine for tensor in cost.tensors),
    }


def _latency_columns(latency: Latency | None) -> dict[str, Any]:
    if latency is None:
        return {}
    return {
        "latency_ms": _ms(latency.median_ns),
        "latency_low_ms": _ms(latency.interval_ns[0]),
        "latency_high_ms": _ms(latency.interval_ns[1]),
        "latency_p90_ms": _ms(latency.p90_ns),
        "latency_p99_ms": _ms(latency.p99_ns),
        "representative": latency.representative,
    }


def _result_columns(result: Result) -> dict[str, Any]:
    names = ("runtime", "runtime_version", "machine", "cpu")
    return {name: getattr(result, name) for name in names} | {
        "load_ms": _ms(result.load_ns),
        "peak_rss_bytes": _whole(result.peak_rss_bytes),
    }


def _ms(ns: float | None) -> float | None:
    return None if ns is None else ns / 1e6


def _whole(number: int | None) -> int | None:
    """The number, within what a 64-bit column holds."""
    return None if number is None else max(-_INT64_MAX, min(_INT64_MAX, number))

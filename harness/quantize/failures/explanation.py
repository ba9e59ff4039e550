"""Why a model cannot be lowered, for its author: which module and line, what is not possible, what
to do. The converter's own words stay in the log, which is named."""

from dataclasses import dataclass
from pathlib import Path

from harness.emulator.formats.model_file import is_lowered
from harness.errors import HarnessError, ModelError
from harness.host.isolate import run_isolated
from harness.host.progress import Progress, no_progress
from harness.host.wording import first_line
from harness.model import Model
from harness.quantize.failures.alone import failing_alone
from harness.quantize.failures.culprits import exported, first_nan, place, suspects
from harness.sources.batches import model_specs
from harness.sources.causes import explain, in_words
from harness.sources.models import parse_model
from harness.target import Runtime

_TIMEOUT_S = 300.0
_LOG_BYTES = 1 << 16
_MOST_PLACES = 3


@dataclass(frozen=True)
class Diagnosis:
    """What a second look at the model found.

    Attributes:
        places: modules and lines that the failure may come from, the first ones.
        more: how many others.
        nan: place of the first value that is not a number; "" for none.
        wild: an output of the float model is not finite.
    """

    places: tuple[str, ...] = ()
    more: int = 0
    nan: str = ""
    wild: bool = False


def explained(
    error: ModelError,
    model: Model,
    samples: Path,
    *,
    runtime: Runtime,
    progress: Progress = no_progress,
) -> ModelError:
    """The error as its author can act on it.

    Args:
        error: of a lowering or trial in a process of its own.
        model: what was lowered.
        samples: calibration samples as ``in0, …``.
        runtime: that it was lowered for.
    """
    if not error.log:  # it is somebody's own message already
        return error
    text = error.raw if explain(error.raw) else _with_log(error)
    known = explain(text)
    found = Diagnosis()
    if not is_lowered(Path(model.resolved).suffix):
        progress("looking for the cause", 0, None)
        found = _looked_for(error, model, text, samples)
        nothing = known is None and not (found.places or found.nan or found.wild)
        if nothing and runtime == "litert" and (alone := failing_alone(model, progress)):
            found = Diagnosis((f"{alone}, which does not convert by itself either",))
    where = " or ".join(found.places) + (f" or {found.more} more" if found.more else "")
    if known is not None:
        at = where or error.place
        return in_words(known, model.reference + (f": {at}" if at else ""), error)
    return ModelError(_unknown(error, model.reference, where, found), raw=error.raw, log=error.log)


def _looked_for(error: ModelError, model: Model, text: str, samples: Path) -> Diagnosis:
    try:
        return run_isolated(
            _diagnose,
            model,
            text,
            error.raw,
            samples,
            what=f"{model.reference}: looking for the cause",
            timeout_s=_TIMEOUT_S,
        )
    except HarnessError:  # then what is known must do
        return Diagnosis()


def _with_log(error: ModelError) -> str:
    """The failure's own words and the end of what was printed."""
    try:
        with Path(error.log).open("rb") as stream:
            stream.seek(max(0, stream.seek(0, 2) - _LOG_BYTES))
            return error.raw + "\n" + stream.read().decode(errors="replace")
    except OSError:
        return error.raw


def _diagnose(model: Model, text: str, raw: str, samples: Path, _progress: Progress) -> Diagnosis:
    """Isolated only. The cause is in `text`; `raw` is what names operators and lines."""
    program = exported(parse_model(model.resolved))
    known = explain(text)
    nodes = suspects(program, raw, known)
    places = list(dict.fromkeys(place(node) for node in nodes))
    nan, wild = first_nan(program, model_specs(model), samples) if known is None else (None, False)
    return Diagnosis(
        tuple(places[:_MOST_PLACES]),
        max(0, len(places) - _MOST_PLACES),
        place(nan) if nan is not None else "",
        wild,
    )


def _unknown(error: ModelError, model: str, where: str, found: Diagnosis) -> str:
    if found.nan or found.wild:
        made = f"first in {found.nan}" if found.nan else "an output is infinite"
        return (
            f"{model}: the float model itself gives values that are not finite from the "
            f"calibration samples: {made}. What to do: mend the model or the samples; nothing can "
            f"be quantized to such ranges. It ended with: {_ended(error)}"
        )
    return f"{error}\n  It may come from {where}" if where else str(error)


def _ended(error: ModelError) -> str:
    """The first line of what was said, and the log."""
    said = first_line(error.raw)
    return said if error.log in said else f"{said} (output: {error.log})"

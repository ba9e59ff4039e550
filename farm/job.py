"""JobRequest: what a submitter asks of the farm. The command, the server and nightly fill it in."""

import hashlib
from dataclasses import fields, replace
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from farm.selection import Selector, parse_selector
from harness.artifact import sha256_file
from harness.device import Device
from harness.errors import ModelError, UsageError, printable
from harness.host.cache import content_key
from harness.host.wording import first_fault
from harness.judge.limits import Limits
from harness.on_device.deploy import QUICK, STANDARD
from harness.protocol import Kernels
from harness.quantize.placing import check_soc
from harness.recipe import Recipe, Scheme
from harness.request import Request
from harness.target import RunnerName
from targets import get_target

STORED = "stored:"
"""What a reference to a file in the farm's database begins with, see `farm.job_files`."""

_NOT_CONTENT = {"priority", "depends_on", "attempts", "named"}


def _with_scheme(recipe: object) -> object:
    """A recipe as jobs of before had it, with what is the scheme's now beside the rest."""
    if not isinstance(recipe, dict) or "scheme" in recipe:
        return recipe
    keys = {one.name for one in fields(Scheme)}
    scheme = {key: value for key, value in recipe.items() if key in keys}
    return {key: value for key, value in recipe.items() if key not in keys} | {"scheme": scheme}


class JobRequest(BaseModel):
    """A model, its data, a target and what to do there.

    Attributes:
        model, data: references, see `harness.sources`; files by absolute path.
        target: name of the target.
        recipe: None for a model file that came quantized.
        soc, limits, measure, kernels, threads, runner, samples: see `harness.evaluate.Request`.
        selector: which devices of the target, see `farm.selection`.
        priority: higher goes first.
        depends_on: a job that must PASS first; WARN is no PASS.
        time_limit_s: of one attempt on a device.
        attempts: how often a machine may fail before the job ends as ERROR or TIMEOUT.
        label: the submitter's own words; two jobs with different ones are never the same.
        submitter: who asks. The server writes the name of the token, `farm.queue` the user of this
            machine. Two of them never have one job together.
        named: the model as its submitter named it, where `model` is a copy; for people alone.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    model: Annotated[str, Field(min_length=1, max_length=4096)]
    data: Annotated[str, Field(min_length=1, max_length=4096)]
    target: Annotated[str, Field(max_length=200)]
    recipe: Annotated[Recipe | None, BeforeValidator(_with_scheme)] = None
    soc: Annotated[str, Field(max_length=200)] | None = None
    limits: Limits = Limits()
    measure: Literal["standard", "quick"] = "standard"
    kernels: Kernels = "xnnpack"
    threads: Annotated[int, Field(ge=1, le=256)] = 1
    runner: RunnerName | None = None
    samples: Annotated[int, Field(ge=1)] | None = None
    selector: Annotated[str, Field(max_length=1000)] = ""
    priority: Annotated[int, Field(ge=-100, le=100)] = 0
    depends_on: Annotated[str, Field(max_length=200)] | None = None
    time_limit_s: Annotated[float, Field(gt=0, le=7 * 86400)] = 3600.0
    attempts: Annotated[int, Field(ge=1, le=10)] = 3
    label: Annotated[str, Field(max_length=200)] = ""
    submitter: Annotated[str, Field(max_length=200)] = ""
    named: Annotated[str, Field(max_length=200)] = ""

    @model_validator(mode="after")
    def _is_possible(self) -> Self:
        try:
            check_soc(get_target(self.target), self.soc)
            self.choice()
        except UsageError as error:
            raise ValueError(str(error)) from None
        return self

    def model_name(self) -> str:
        """The model in few words: no folders, and nothing of where a farm keeps its copy."""
        name = self.named or PurePosixPath(self.model).name[-200:]
        return " ".join(printable(name).split())

    def choice(self) -> Selector:
        """The selector, of devices that run the target."""
        chosen = parse_selector(self.selector)
        if chosen.target not in {"", self.target}:
            raise UsageError(
                f"selector {self.selector!r}: target={chosen.target}, but the job's target is "
                f"{self.target}"
            )
        return replace(chosen, target=self.target)

    def content(self) -> str:
        """Digest of all that the result depends on, the files' content included."""
        fields = self.model_dump(mode="json", exclude=_NOT_CONTENT)
        return content_key(fields | self._digests())

    def preparation(self) -> str:
        """Digest of all that the artifact depends on."""
        fields = self.model_dump(mode="json", include={"model", "data", "target", "recipe", "soc"})
        return content_key(fields | self._digests())

    def on(self, device: Device) -> Request:
        """What is evaluated on one device."""
        return Request(
            model=self.model,
            data=self.data,
            target=get_target(self.target),
            recipe=self.recipe,
            soc=self.soc,
            device=device,
            limits=self.limits,
            measure=QUICK if self.measure == "quick" else STANDARD,
            kernels=self.kernels,
            threads=self.threads,
            runner=self.runner,
            samples=self.samples,
        )

    def _digests(self) -> dict[str, str]:
        return {"model_sha256": _digest(self.model), "data_sha256": _digest(self.data)}


def job_request(fields: dict[str, Any]) -> JobRequest:
    """Build a request from what a person or a file gave.

    Raises:
        UsageError: a field is wrong; the message says which and why.
    """
    try:
        return JobRequest.model_validate(fields)
    except ValidationError as error:
        raise UsageError(f"job: {first_fault(error)}") from None


def parse_request(text: str) -> JobRequest:
    """Read a stored request.

    Raises:
        ModelError: it was written by another version that knew other fields.
    """
    try:
        return JobRequest.model_validate_json(text)
    except ValidationError as error:
        raise ModelError(f"stored job: {first_fault(error)}; submit it again") from None


def _digest(reference: str) -> str:
    """Of the file or folder behind a reference; empty for ``zoo:…`` and ``stored:…``.

    Raises:
        UsageError: something of it cannot be read, such as a link that leads nowhere.
    """
    if reference.startswith(("zoo:", STORED)):
        return ""
    try:
        return _digest_of(Path(reference))
    except OSError as error:
        where = error.filename or reference
        raise UsageError(f"{where}: cannot be read: {error.strerror}") from error


def _digest_of(path: Path) -> str:
    if not path.exists():
        path = Path(str(path).rpartition(":")[0] or "/nonexistent")  # file.py:function
    if path.is_file():
        return sha256_file(path)
    if path.is_dir():
        digest = hashlib.sha256()
        for file in sorted(path.rglob("*")):
            status = file.stat()
            digest.update(
                f"{file.relative_to(path)}\0{status.st_size}\0{status.st_mtime_ns}\n".encode()
            )
        return digest.hexdigest()
    return ""

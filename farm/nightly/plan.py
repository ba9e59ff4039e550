"""Plan: what ``nightly.toml`` asks for.

::

    [nightly]
    name = "main"
    schedule = "0 2 * * *"            # cron; for `edgefarm nightly schedule`
    timezone = "Europe/Berlin"
    missed = "catch-up"               # the latest missed night is run at the start, or "skip"
    time_limit_s = 21600              # of the whole night
    slower = "tell"                   # or "fail": a model slower than the nights before

    [[models]]
    model = "zoo:digits-cnn"
    recipes = ["float", "static_wi8_ai8"]
    limits = "limits.toml"

    [[devices]]
    target = "arm-neon-litert"
    on = "tag=lab2, each"

Paths are relative to the file. `edgefarm nightly schema` prints the JSON schema.
"""

import re
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import tomlkit
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from tomlkit.exceptions import TOMLKitError

from farm import toml_file
from farm.job import JobRequest, job_request
from farm.selection import parse_selector
from harness.errors import HarnessError, UsageError
from harness.judge.limits import Limits, load_limits
from harness.protocol import Kernels
from harness.quantize.checks import is_unlisted
from harness.quantize.placing import check_soc
from harness.recipe import Recipe, load_recipe
from targets import get_target

_FOLDER = "folder"
_PYTHON = re.compile(r"(.+\.py):(\w+)")


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def _valid(check: Callable[[str], object]) -> AfterValidator:
    """A text that a function of ours accepts; its error becomes the line's."""

    def validate(text: str) -> str:
        try:
            check(text)
        except HarnessError as error:
            raise ValueError(str(error)) from None
        return text

    return AfterValidator(validate)


def _check_cron(text: str) -> None:
    from croniter import croniter

    if not croniter.is_valid(text, second_at_beginning=True):
        raise UsageError("not a cron schedule; e.g. '0 2 * * *' is every night at two")


def _check_timezone(text: str) -> None:
    try:
        ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise UsageError("not a time zone; e.g. 'Europe/Berlin'") from None


class General(_Table):
    """``[nightly]``: when, how long, how urgent."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,31}$")]
    schedule: Annotated[str, _valid(_check_cron)] | None = None
    timezone: Annotated[str, _valid(_check_timezone)] = "UTC"
    missed: Literal["catch-up", "skip"] = "catch-up"
    time_limit_s: Annotated[float, Field(gt=0, le=7 * 86400)] = 8 * 3600.0
    stranded_s: Annotated[
        float, Field(ge=0, description="so long may no device be fit for a job before it ends")
    ] = 300.0
    priority: Annotated[int, Field(ge=-100, le=100)] = -10
    slower: Annotated[
        Literal["tell", "fail"],
        Field(description="what comes of a model that is slower than in the nights before"),
    ] = "tell"


class ModelEntry(_Table):
    """``[[models]]``: one model with its data and what it must hold."""

    model: Annotated[str, Field(min_length=1)]
    data: str | None = None
    recipes: list[str] = []
    limits: str | None = None
    samples: Annotated[int, Field(ge=1)] | None = None
    kernels: Kernels = "xnnpack"
    threads: Annotated[int, Field(ge=1, le=256)] = 1
    quick: bool = False

    @field_validator("model", "data")
    @classmethod
    def _is_there(cls, value: str | None, info: ValidationInfo) -> str | None:
        return value if value is None else _placed(value, info)

    @field_validator("recipes")
    @classmethod
    def _are_recipes(cls, value: list[str], info: ValidationInfo) -> list[str]:
        placed = [_placed(one, info) if one.endswith(".json") else one for one in value]
        for one in placed:
            _as_value_error(load_recipe, one)
        return placed

    @field_validator("limits")
    @classmethod
    def _are_limits(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is None:
            return None
        placed = _placed(value, info)
        _as_value_error(load_limits, Path(placed))
        return placed

    @model_validator(mode="after")
    def _has_data(self) -> Self:
        if self.data is None and not self.model.startswith("zoo:"):
            raise ValueError("data is missing: which samples?")
        return self


class DeviceEntry(_Table):
    """``[[devices]]``: a target, which devices of it, and the chip where the target wants one."""

    target: Annotated[str, _valid(get_target)]
    on: Annotated[str, _valid(parse_selector)] = ""
    soc: str | None = None

    @model_validator(mode="after")
    def _has_its_chip(self) -> Self:
        _as_value_error(lambda soc: check_soc(get_target(self.target), soc), self.soc)
        return self


class Email(_Table):
    """``[notify.email]``."""

    to: Annotated[list[str], Field(min_length=1)]
    sender: str
    host: str
    port: Annotated[int, Field(ge=1, le=65535)] = 587
    security: Literal["starttls", "tls", "none"] = "starttls"
    user: str | None = None
    password_env: Annotated[str, Field(description="the variable that holds the password")] = (
        "EDGEFARM_SMTP_PASSWORD"  # noqa: S105  a variable's name
    )


class Notify(_Table):
    """``[notify]``: who hears of it."""

    when: Literal["always", "failure"] = "always"
    webhook: Annotated[
        str | None, Field(pattern=r"^https?://", description="gets the summary as JSON")
    ] = None
    email: Email | None = None


class Plan(_Table):
    """A whole ``nightly.toml``, its paths absolute."""

    nightly: General
    models: Annotated[list[ModelEntry], Field(min_length=1)]
    devices: Annotated[list[DeviceEntry], Field(min_length=1)]
    notify: Notify = Notify()

    def jobs(self, label: str) -> tuple[list[JobRequest], list[str]]:
        """The jobs of a night, and what is left out because a target does not take a recipe."""
        asked, left_out = [], []
        for model, where in product(self.models, self.devices):
            recipes: list[Recipe | None] = [load_recipe(name) for name in model.recipes]
            for recipe in recipes or [None]:
                if recipe is not None and is_unlisted(get_target(where.target), recipe):
                    left_out.append(f"{model.model} {recipe.name}: not for {where.target}")
                else:
                    asked.append(self._job(model, where, recipe, label))
        return asked, left_out

    def _job(
        self, model: ModelEntry, where: DeviceEntry, recipe: Recipe | None, label: str
    ) -> JobRequest:
        return job_request(
            {
                "model": model.model,
                "data": model.data or model.model,
                "target": where.target,
                "soc": where.soc,
                "recipe": recipe,
                "limits": load_limits(Path(model.limits)) if model.limits else Limits(),
                "measure": "quick" if model.quick else "standard",
                "kernels": model.kernels,
                "threads": model.threads,
                "samples": model.samples,
                "selector": where.on,
                "priority": self.nightly.priority,
                "label": label,
            }
        )


def load_plan(path: Path) -> Plan:
    """Read a ``nightly.toml``.

    Raises:
        UsageError: it cannot be read, or something in it is wrong; the message names the line.
    """
    if not path.exists():
        raise UsageError(f"{path}: no such file")
    text = toml_file.read_text(path)
    try:
        tables = tomlkit.parse(text).unwrap()
    except TOMLKitError as error:
        raise UsageError(f"{path}: not TOML: {error}") from error
    try:
        return Plan.model_validate(tables, context={_FOLDER: path.absolute().parent})
    except ValidationError as error:
        raise UsageError(toml_file.explain(error, text, path)) from None


def plan_schema() -> dict[str, Any]:
    """The JSON schema of the file, for editors."""
    return Plan.model_json_schema()


def _placed(reference: str, info: ValidationInfo) -> str:
    """A reference with an absolute path, as seen from the file's folder."""
    folder = (info.context or {}).get(_FOLDER)
    if folder is None or reference.startswith("zoo:"):
        return reference
    function = _PYTHON.fullmatch(reference)
    path, rest = (function[1], f":{function[2]}") if function else (reference, "")
    placed = folder / Path(path).expanduser()
    if not placed.exists():
        raise ValueError(f"no such file: {placed}")
    return f"{placed}{rest}"


def _as_value_error(load: Callable[[Any], object], value: object) -> None:
    try:
        load(value)
    except UsageError as error:
        raise ValueError(str(error)) from None

"""Answers: their bodies, and how every error becomes one; a traceback never leaves the server."""

from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException

from harness.errors import (
    DevicesBusy,
    HarnessError,
    ModelError,
    NoDevice,
    NotYours,
    OverQuota,
    UsageError,
)
from harness.host.disk import host_full
from harness.host.wording import fault

_STATUSES: tuple[tuple[type[HarnessError], int], ...] = (
    (NoDevice, 409),
    (NotYours, 403),
    (OverQuota, 429),
    (DevicesBusy, 409),
    (UsageError, 400),
    (ModelError, 400),
)


class Refused(Exception):
    """A request that is answered by an error.

    Attributes:
        status: of HTTP.
        kind: class of the error, for the client to raise.
    """

    def __init__(self, status: int, message: str, *, kind: str = "UsageError") -> None:
        self.status = status
        self.kind = kind
        super().__init__(message)


class ErrorText(BaseModel):
    """What went wrong: the class of the error, and a sentence or two."""

    kind: str
    message: str


class ErrorBody(BaseModel):
    """The body of every answer that is an error."""

    error: ErrorText


class Submitted(BaseModel):
    """A job that is in line, or was before; `sha256` is the archive's."""

    job: str
    sha256: str


class Ended(BaseModel):
    """Whether the job was ended by this request; False when it had ended before."""

    cancelled: bool


class Limits(BaseModel):
    """What this server takes."""

    upload_bytes: int
    unpacked_bytes: int
    pt2: bool


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """For a route's documentation: the errors that it may answer with, besides those of all."""
    return {status: {"model": ErrorBody} for status in (401, 403, 422, 429, 503, *statuses)}


def add_handlers(app: FastAPI) -> None:
    """Turn every error into its answer."""

    @app.exception_handler(Refused)
    async def refused(_request: Request, error: Refused) -> JSONResponse:
        return _answer(error.status, error.kind, str(error))

    @app.exception_handler(HarnessError)
    async def failed(_request: Request, error: HarnessError) -> JSONResponse:
        error = host_full(error) or error
        status = next((code for kind, code in _STATUSES if isinstance(error, kind)), 503)
        return _answer(status, type(error).__name__, str(error))

    @app.exception_handler(OSError)
    async def host_failed(_request: Request, error: OSError) -> JSONResponse:
        full = host_full(error)
        message = str(full) if full else f"the server's host failed: {error.strerror}"
        return _answer(503, "HostFull" if full else "HarnessError", message)

    @app.exception_handler(RequestValidationError)
    async def invalid(_request: Request, error: RequestValidationError) -> JSONResponse:
        return _answer(422, "UsageError", fault(error.errors()[0]))

    @app.exception_handler(HTTPException)
    async def unknown(_request: Request, error: HTTPException) -> JSONResponse:
        answer = _answer(error.status_code, "UsageError", str(error.detail))
        answer.headers.update(error.headers or {})
        return answer

    @app.exception_handler(SQLAlchemyError)
    async def database_failed(_request: Request, _error: SQLAlchemyError) -> JSONResponse:
        return _answer(503, "HarnessError", "the farm's database does not answer; try again")


def _answer(status: int, kind: str, message: str) -> JSONResponse:
    body = ErrorBody(error=ErrorText(kind=kind, message=message))
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else None
    return JSONResponse(body.model_dump(), status, headers)

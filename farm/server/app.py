"""The application: its settings, who is let in, and its routes."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from fastapi import APIRouter, Depends, FastAPI, Header, Query, Request, Response
from fastapi import Path as InPath
from fastapi.responses import FileResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic_core import to_json
from sse_starlette import EventSourceResponse

from farm import jobs
from farm.archive import ArchiveLimits, unpack
from farm.database import Database
from farm.device_check import CheckItem
from farm.doctor import examine, inventory_item
from farm.events import Event, read_events
from farm.job_files import clear_abandoned, fetch, find_artifact, share
from farm.jobs import JobStatus
from farm.quota import Quota, count_sent, sent_within_a_day
from farm.server.answers import Ended, Limits, Refused, Submitted, add_handlers, refusals
from farm.server.connections import make_known
from farm.server.uploads import UnderWay, received
from farm.snapshot import Snapshot, take_snapshot
from farm.tokens import Role, Token, find_token, is_good
from harness import __version__
from harness.errors import UsageError
from harness.host.cache import Cache, content_key
from harness.records import dump_run
from targets import get_target

ARCHIVE_TYPE = "application/zip"
LAST_EVENT = "end"
"""Kind of the event that ends a stream; without it, the connection broke."""

_DESCRIPTION = "The farm's queue: submit a job as an archive, follow it, get its runs."
_POLL_S = 0.5
_MOST_JOBS = 500
_MOST_STREAMS = 32
"""Of one token: a client that follows more has forgotten to close them."""

_SEND_S = 30.0
"""A client that takes no event for so long is gone."""

_UNPACKERS = 2
_RUNS: dict[str, Any] = {"type": "array", "items": {"type": "object"}}


@dataclass(frozen=True)
class Settings:
    """How the server runs.

    Attributes:
        store: folder for what was uploaded; workers of this machine read it there.
        cache: where workers of this machine keep artifacts.
        upload_bytes: of one archive.
        archive: what an archive may be.
        quota: what one token may have in line; an operator's may have any amount.
        day_bytes: what one token may send within a day, packed and unpacked together.
    """

    store: Path
    cache: Cache
    upload_bytes: int = 2 << 30
    archive: ArchiveLimits = field(default_factory=ArchiveLimits)
    quota: Quota = field(default_factory=Quota)
    day_bytes: int = 64 << 30


@dataclass(frozen=True)
class _Farm:
    """What the routes need: how many unpack at a time, and how many streams each token has."""

    database: Database
    settings: Settings
    unpacking: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(_UNPACKERS))
    streams: Counter[Token] = field(default_factory=Counter)
    under_way: UnderWay = field(default_factory=UnderWay)


def create_app(database: Database, settings: Settings) -> FastAPI:
    """The application, to be served by any ASGI server."""
    # FastAPI's pages of documentation load scripts from another host, beside the token's field.
    app = FastAPI(
        title="edgefarm",
        version=__version__,
        description=_DESCRIPTION,
        docs_url=None,
        redoc_url=None,
    )
    app.state.farm = _Farm(database, settings)
    add_handlers(app)
    app.include_router(_ROUTES)
    clear_abandoned(settings.store)
    return app


_ROUTES = APIRouter()
_BEARER = HTTPBearer(auto_error=False, description="A token of `edgefarm token create`.")


def _farm(request: Request) -> _Farm:
    farm: _Farm = request.app.state.farm
    return farm


Farm = Annotated[_Farm, Depends(_farm)]
JobId = Annotated[str, InPath(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]
After = Annotated[int, Query(ge=0, lt=1 << 62, description="The last event that was seen.")]


def _needs(role: Role) -> Callable[..., Awaitable[Token]]:
    """The caller's token, which must allow that much."""

    async def check(
        request: Request,
        farm: Farm,
        shown: Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)],
    ) -> Token:
        token = await run_sync(find_token, farm.database, shown.credentials) if shown else None
        if token is None:
            raise Refused(401, "no token, or not a good one; ask the farm's operator for one")
        if not token.allows(role):
            raise Refused(403, f"token {token.name!r} has role {token.role}; this needs {role}")
        make_known(request, token)
        return token

    return check


Reader = Annotated[Token, Depends(_needs("read"))]
Submitter = Annotated[Token, Depends(_needs("submit"))]
Operator = Annotated[Token, Depends(_needs("operate"))]


@_ROUTES.get("/limits", responses=refusals())
def limits(farm: Farm, _token: Reader) -> Limits:
    """What this server takes."""
    settings = farm.settings
    return Limits(
        upload_bytes=settings.upload_bytes,
        unpacked_bytes=settings.archive.unpacked_bytes,
        pt2=settings.archive.pt2,
    )


_BODY = {"content": {ARCHIVE_TYPE: {"schema": {"type": "string", "format": "binary"}}}}


@_ROUTES.post(
    "/jobs",
    status_code=201,
    responses=refusals(400, 408, 409, 413, 415),
    openapi_extra={"requestBody": {"required": True, **_BODY}},
)
async def submit(request: Request, farm: Farm, token: Submitter) -> Submitted:
    """Put a job in line. The body is an archive; the same archive sent again is the same job.

    Of the same token, that is: others who send it have a job of their own.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != ARCHIVE_TYPE:
        raise Refused(415, f"content type {kind[:100]!r}; allowed: {ARCHIVE_TYPE}")
    settings, count = farm.settings, partial(count_sent, farm.database, token.name)
    left = settings.day_bytes - await run_sync(sent_within_a_day, farm.database, token.name)
    if left <= 0:
        raise Refused(429, f"token {token.name!r} sent {settings.day_bytes} bytes within a day")
    async with (
        farm.under_way.few_at_once(token),
        received(request, settings.store, min(settings.upload_bytes, left), count) as upload,
    ):
        job = await run_sync(
            unpack, upload.file, settings.store, settings.archive, token.name,
            limiter=farm.unpacking,
        )  # fmt: skip
        await run_sync(count, sum(Path(one).stat().st_size for one in (job.model, job.data)))
        job = await run_sync(share, farm.database, job, limiter=farm.unpacking)
    if not await run_sync(is_good, farm.database, token):
        raise Refused(401, f"token {token.name!r} was revoked meanwhile")
    name = f"sha256-{content_key({'archive': upload.sha256, 'submitter': token.name})[:16]}"
    quota = None if token.allows("operate") else settings.quota
    found = await run_sync(lambda: jobs.submit(farm.database, job, job_id=name, quota=quota))
    return Submitted(job=found, sha256=upload.sha256)


@_ROUTES.get("/jobs", responses=refusals())
def recent(
    farm: Farm,
    token: Reader,
    limit: Annotated[int, Query(ge=1, le=_MOST_JOBS)] = 20,
    mine: Annotated[bool, Query(description="Only what this token has submitted.")] = False,
) -> list[JobStatus]:
    """The newest jobs, newest first."""
    submitter = token.name if mine else None
    return jobs.recent_jobs(farm.database, limit=limit, submitter=submitter)


@_ROUTES.get("/snapshot", responses=refusals())
def snapshot(farm: Farm, _token: Reader) -> Snapshot:
    """The farm at this moment: workers, devices, what runs where, and the line."""
    return take_snapshot(farm.database)


@_ROUTES.get("/doctor", responses=refusals())
def doctor(farm: Farm, _token: Operator) -> list[CheckItem]:
    """What is amiss in the farm, as this host sees it."""
    inventory, devices = inventory_item()
    return [inventory, *examine(farm.database, devices)]


@_ROUTES.get("/jobs/{job}", responses=refusals(404))
def status(farm: Farm, _token: Reader, job: JobId) -> JobStatus:
    """How a job stands."""
    return _status(farm, job)


@_ROUTES.post("/jobs/{job}/cancel", responses=refusals(404))
def cancel(farm: Farm, token: Submitter, job: JobId) -> Ended:
    """End a job: one's own, or with the role operate any."""
    _status(farm, job)
    operator = token.allows("operate")
    return Ended(cancelled=jobs.cancel(farm.database, job, by=token.name, operator=operator))


@_ROUTES.get("/jobs/{job}/events", responses=refusals(404))
def events(farm: Farm, _token: Reader, job: JobId, after: After = 0) -> list[Event]:
    """What happened to a job so far."""
    _status(farm, job)
    return list(read_events(farm.database, job, after=after))


@_ROUTES.get(
    "/jobs/{job}/stream",
    responses={200: {"content": {"text/event-stream": {}}}, **refusals(404)},
    response_class=EventSourceResponse,
)
def stream(
    farm: Farm,
    token: Reader,
    job: JobId,
    after: After = 0,
    last_event_id: Annotated[str | None, Header(pattern=r"^[0-9]{1,18}$")] = None,
) -> EventSourceResponse:
    """What happens to a job as server-sent events, until it is done; then one of kind `end`."""
    _status(farm, job)
    if farm.streams[token] >= _MOST_STREAMS:
        raise Refused(429, f"token {token.name!r} follows {_MOST_STREAMS} jobs already")
    told = _counted(farm, token, _stream(farm.database, token, job, int(last_event_id or after)))
    return EventSourceResponse(told, send_timeout=_SEND_S)


@_ROUTES.get(
    "/jobs/{job}/runs",
    responses={200: {"content": {"application/json": {"schema": _RUNS}}}, **refusals(404)},
    response_class=Response,
)
def runs(farm: Farm, _token: Reader, job: JobId) -> Response:
    """The accepted runs of a job, each as a `run.json`."""
    _status(farm, job)
    found = jobs.results(farm.database, job)
    body = b"[" + b",".join(dump_run(run) for run in found) + b"]"
    return Response(body, media_type="application/json")


@_ROUTES.get(
    "/jobs/{job}/artifacts/{sha256}",
    responses={200: {"content": {"application/octet-stream": {}}}, **refusals(404)},
    response_class=FileResponse,
)
def artifact(
    farm: Farm, _token: Reader, job: JobId, sha256: Annotated[str, InPath(pattern="^[0-9a-f]{64}$")]
) -> FileResponse:
    """The file that ran on the device, by the digest in a run's manifest."""
    _status(farm, job)
    found = jobs.results(farm.database, job)
    for run in found:
        if run.manifest is None or run.manifest.sha256 != sha256:
            continue
        settings, name = farm.settings, f"model{get_target(run.target).suffix}"
        file = find_artifact(settings.cache, sha256)
        file = file or fetch(farm.database, settings.store, sha256, name)
        if file is not None:
            return FileResponse(file, media_type="application/octet-stream", filename=file.name)
    raise Refused(404, f"job {job}: no artifact {sha256} any more")


def _status(farm: _Farm, job: str) -> JobStatus:
    try:
        return jobs.status(farm.database, job)
    except UsageError as error:
        raise Refused(404, str(error)) from None


async def _counted(
    farm: _Farm, token: Token, told: AsyncIterator[dict[str, str]]
) -> AsyncIterator[dict[str, str]]:
    farm.streams[token] += 1
    try:
        async for event in told:
            yield event
    finally:
        farm.streams[token] -= 1


async def _stream(
    database: Database, token: Token, job: str, after: int
) -> AsyncIterator[dict[str, str]]:
    while await run_sync(is_good, database, token):
        done = (await run_sync(jobs.status, database, job)).state == "done"
        new = await run_sync(lambda seen: list(read_events(database, job, after=seen)), after)
        for event in new:
            after = event.id
            yield {"id": str(event.id), "event": event.kind, "data": to_json(event).decode()}
        if done:
            yield {"event": LAST_EVENT, "data": "{}"}
            return
        await asyncio.sleep(_POLL_S)

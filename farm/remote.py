"""The farm's queue on a server, spoken to over HTTP; the same `JobQueue` as a database's."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

import requests
from pydantic import TypeAdapter, ValidationError

from farm.archive import pack
from farm.device_check import CheckItem
from farm.events import Event
from farm.job import JobRequest
from farm.jobs import JobStatus
from farm.snapshot import Snapshot
from harness import errors
from harness.errors import HarnessError, UsageError
from harness.host.cache import default_cache
from harness.host.progress import Progress, no_progress
from harness.host.scratch import scratch_folder
from harness.host.wording import first_fault
from harness.records import Run, parse_run
from targets import get_target

_TIMEOUT_S = 60.0
_TRIES = 5
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}
_STATUS = TypeAdapter(JobStatus)
_STATUSES = TypeAdapter(list[JobStatus])
_EVENT = TypeAdapter(Event)
_EVENTS = TypeAdapter(list[Event])
_SNAPSHOT = TypeAdapter(Snapshot)
_ITEMS = TypeAdapter(list[CheckItem])
_RUNS = TypeAdapter(list[dict[str, Any]])
_KINDS = ("UsageError", "NoDevice", "NotYours", "OverQuota", "DevicesBusy", "ModelError")

_T = TypeVar("_T")


class _Unreachable(HarnessError):
    """The server does not answer now."""


@dataclass(frozen=True)
class RemoteQueue:
    """The queue of a server.

    Attributes:
        url: of the server, https:// unless it is on this machine.
        token: who speaks.
        progress: told about the export of models.
    """

    url: str
    token: str
    progress: Progress = no_progress

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise UsageError(f"server {self.url!r}: expected https://HOST[:PORT]")
        if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
            raise UsageError(f"server {self.url}: the token would travel in clear; use https://")
        if not (self.token.isascii() and self.token.isprintable() and self.token):
            raise UsageError("no token for the server: give --token or set EDGEFARM_TOKEN")

    def submit(self, request: JobRequest, job_id: str | None = None) -> str:
        """Export the model here, send the archive; its job's id. A broken connection is tried
        again: the same archive is the same job."""
        if job_id is not None:
            raise UsageError("a server names its jobs itself")
        takes = self._get("/limits").json()
        with scratch_folder() as folder:
            file = folder / "job.zip"
            if get_target(request.target).suffix != ".tflite" and not takes["pt2"]:
                raise UsageError(
                    f"server {self.url} takes .tflite models only; {request.target} needs a .pt2"
                )
            pack(request, file, cache=default_cache(), progress=self.progress)
            if file.stat().st_size > takes["upload_bytes"]:
                raise UsageError(
                    f"the job's archive has {file.stat().st_size} bytes; "
                    f"server {self.url} takes {takes['upload_bytes']}"
                )
            self.progress("sending the job", 0, None)
            answer = self._post("/jobs", file)
        return str(answer.json()["job"])

    def status(self, job: str) -> JobStatus:
        """How a job stands."""
        return _parsed(_STATUS.validate_json, self._get(f"/jobs/{_path(job)}"))

    def recent(self, limit: int, *, mine: bool = False) -> list[JobStatus]:
        """The newest jobs, or those of this token, newest first."""
        query = f"limit={limit}&mine={str(mine).lower()}"
        return _parsed(_STATUSES.validate_json, self._get(f"/jobs?{query}"))

    def cancel(self, job: str) -> bool:
        """End a job; False when it had ended already."""
        return bool(self._post(f"/jobs/{_path(job)}/cancel").json()["cancelled"])

    def results(self, job: str) -> list[Run]:
        """The accepted runs of a job."""
        found = _parsed(_RUNS.validate_json, self._get(f"/jobs/{_path(job)}/runs"))
        return [parse_run(TypeAdapter(dict[str, Any]).dump_json(one)) for one in found]

    def events(self, job: str, after: int = 0) -> list[Event]:
        """What happened to a job so far, after one event."""
        answer = self._get(f"/jobs/{_path(job)}/events?after={after}")
        return _parsed(_EVENTS.validate_json, answer)

    def watch(self, job: str, after: int = 0) -> Iterator[Event]:
        """What happens to a job, until it is done; a broken connection is taken up again."""
        failures = 0
        while True:
            try:
                with self._get(f"/jobs/{_path(job)}/stream?after={after}", stream=True) as answer:
                    for kind, data in _server_sent(answer):
                        if kind == "end":
                            return
                        event = _EVENT.validate_json(data)
                        after, failures = event.id, 0
                        yield event
                broken = _Unreachable(f"server {self.url}: the connection ended early")
            except requests.RequestException as error:
                broken = _Unreachable(f"server {self.url}: the connection broke: {error}")
            except ValidationError as error:
                broken = _Unreachable(f"server {self.url}: not an event: {first_fault(error)}")
            except _Unreachable as error:
                broken = error
            failures += 1
            if failures > _TRIES:
                raise broken
            time.sleep(min(2**failures, 10))

    def snapshot(self) -> Snapshot:
        """The farm at this moment."""
        return _parsed(_SNAPSHOT.validate_json, self._get("/snapshot"))

    def examine(self) -> list[CheckItem]:
        """What the server's host finds when it looks at the farm; see `farm.doctor`."""
        return _parsed(_ITEMS.validate_json, self._get("/doctor"))

    def _get(self, path: str, *, stream: bool = False) -> requests.Response:
        def send() -> requests.Response:
            return requests.get(
                self.url.rstrip("/") + path, headers=self._headers(), timeout=_TIMEOUT_S,
                stream=stream, allow_redirects=False,
            )  # fmt: skip

        return self._tried(send)

    def _post(self, path: str, file: Path | None = None) -> requests.Response:
        def send() -> requests.Response:
            url, headers = self.url.rstrip("/") + path, self._headers()
            if file is None:
                return requests.post(url, headers=headers, timeout=_TIMEOUT_S)
            headers["Content-Type"] = "application/zip"
            with file.open("rb") as body:
                return requests.post(url, data=body, headers=headers, timeout=_TIMEOUT_S)

        return self._tried(send)

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    def _tried(self, send: Callable[[], requests.Response]) -> requests.Response:
        """The answer to a request that may be repeated, or the error that it names."""
        failure = _Unreachable(f"server {self.url} cannot be reached")
        for number in range(_TRIES):
            try:
                answer = send()
            except requests.RequestException as error:
                failure = _Unreachable(f"server {self.url} cannot be reached: {error}")
            else:
                if answer.status_code < 300:
                    return answer
                if answer.status_code not in (502, 503, 504):
                    raise _error_of(answer, self.url)
                failure = _Unreachable(str(_error_of(answer, self.url)))
            if number < _TRIES - 1:
                time.sleep(0.2 * 2**number)
        raise failure


def _error_of(answer: requests.Response, url: str) -> HarnessError:
    """The error that an answer names, as the database on this machine would raise it."""
    try:
        told = answer.json()["error"]
        kind, message = str(told["kind"]), str(told["message"])
    except (ValueError, KeyError, TypeError):
        return HarnessError(f"server {url}: answers {answer.status_code} {answer.reason}")
    made: HarnessError = getattr(errors, kind if kind in _KINDS else "HarnessError")(message)
    return made


def _parsed(parse: Callable[[bytes], _T], answer: requests.Response) -> _T:
    try:
        return parse(answer.content)
    except ValidationError as error:
        raise HarnessError(
            f"{answer.url}: an answer of another version: {first_fault(error)}"
        ) from error


def _server_sent(answer: requests.Response) -> Iterator[tuple[str, str]]:
    """Kinds and data of server-sent events; ours have one line of data."""
    kind = ""
    for line in answer.iter_lines(decode_unicode=True):
        field, _, value = line.partition(": ")
        if field == "event":
            kind = value
        elif field == "data":
            yield kind, value


def _path(job: str) -> str:
    """A job's id as part of a URL."""
    return quote(job, safe="")

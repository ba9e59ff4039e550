"""JobQueue: what the command line asks of the farm; here of a database, elsewhere of a server."""

import os
import pwd
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from farm import jobs
from farm.database import Database
from farm.events import Event, read_events
from farm.job import JobRequest
from farm.job_files import share
from farm.jobs import JobStatus
from harness.records import Run


def this_user() -> str:
    """The user of this machine that the process runs as, whatever its environment says."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid {os.getuid()}"


class JobQueue(Protocol):
    """Submit jobs and ask for them; every method raises UsageError for an unknown job."""

    def submit(self, request: JobRequest, job_id: str | None = None) -> str:
        """Put a job in line; its id. See `farm.jobs.submit`."""

    def status(self, job: str) -> JobStatus:
        """How a job stands."""

    def recent(self, limit: int, *, mine: bool = False) -> list[JobStatus]:
        """The newest jobs, or the caller's own, newest first."""

    def cancel(self, job: str) -> bool:
        """End a job; False when it had ended already, NotYours when it is somebody else's."""

    def results(self, job: str) -> list[Run]:
        """The accepted runs of a job."""

    def events(self, job: str, after: int = 0) -> Iterable[Event]:
        """What happened to a job so far, after one event."""

    def watch(self, job: str, after: int = 0) -> Iterator[Event]:
        """What happens to a job, until it is done."""


@dataclass(frozen=True)
class LocalQueue:
    """The queue of a database that this process can open itself.

    Attributes:
        database: the farm's.
        user: who asks.
    """

    database: Database
    user: str = field(default_factory=this_user)

    def submit(self, request: JobRequest, job_id: str | None = None) -> str:
        """Put a job in line; its id."""
        asked = request.model_copy(update={"submitter": self.user})
        return jobs.submit(self.database, share(self.database, asked), job_id=job_id)

    def status(self, job: str) -> JobStatus:
        """How a job stands."""
        return jobs.status(self.database, job)

    def recent(self, limit: int, *, mine: bool = False) -> list[JobStatus]:
        """The newest jobs, or this user's, newest first."""
        user = self.user if mine else None
        return jobs.recent_jobs(self.database, limit=limit, submitter=user)

    def cancel(self, job: str) -> bool:
        """End a job; False when it had ended already.

        Root, and whoever owns the file of the database, is an operator.
        """
        return jobs.cancel(self.database, job, by=self.user, operator=self._is_operator())

    def _is_operator(self) -> bool:
        if self.user != this_user():
            return False
        file = self.database.engine.url.database if self.database.is_sqlite else None
        owned = file is not None and Path(file).exists() and Path(file).stat().st_uid == os.getuid()
        return os.getuid() == 0 or owned

    def results(self, job: str) -> list[Run]:
        """The accepted runs of a job."""
        return jobs.results(self.database, job)

    def events(self, job: str, after: int = 0) -> Iterable[Event]:
        """What happened to a job so far, after one event."""
        jobs.status(self.database, job)
        return read_events(self.database, job, after=after)

    def watch(self, job: str, after: int = 0) -> Iterator[Event]:
        """What happens to a job, until it is done."""
        return jobs.watch(self.database, job, after=after)

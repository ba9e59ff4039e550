"""JobQueue: what the command line asks of the farm; here of a database, elsewhere of a server."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from farm import jobs
from farm.database import Database
from farm.events import Event, read_events
from farm.job import JobRequest
from farm.jobs import JobStatus
from farm.stored import share
from harness.records import Run


class JobQueue(Protocol):
    """Submit jobs and ask for them; every method raises UsageError for an unknown job."""

    def submit(self, request: JobRequest, job_id: str | None = None) -> str:
        """Put a job in line; its id. See `farm.jobs.submit`."""

    def status(self, job: str) -> JobStatus:
        """How a job stands."""

    def recent(self, limit: int) -> list[JobStatus]:
        """The newest jobs, newest first."""

    def cancel(self, job: str) -> bool:
        """End a job; False when it had ended already."""

    def results(self, job: str) -> list[Run]:
        """The accepted runs of a job."""

    def events(self, job: str, after: int = 0) -> Iterable[Event]:
        """What happened to a job so far, after one event."""

    def watch(self, job: str, after: int = 0) -> Iterator[Event]:
        """What happens to a job, until it is done."""


@dataclass(frozen=True)
class LocalQueue:
    """The queue of a database that this process can open itself."""

    database: Database

    def submit(self, request: JobRequest, job_id: str | None = None) -> str:
        """Put a job in line; its id."""
        return jobs.submit(self.database, share(self.database, request), job_id=job_id)

    def status(self, job: str) -> JobStatus:
        """How a job stands."""
        return jobs.status(self.database, job)

    def recent(self, limit: int) -> list[JobStatus]:
        """The newest jobs, newest first."""
        return jobs.recent_jobs(self.database, limit=limit)

    def cancel(self, job: str) -> bool:
        """End a job; False when it had ended already."""
        return jobs.cancel(self.database, job)

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

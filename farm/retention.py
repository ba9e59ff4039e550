"""Retention: what may be forgotten. Results stay for ever; what can be made again, or was only said
on the way, goes by age and size.
"""

import contextlib
import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from farm.database import Database, now
from farm.job_files import clear_abandoned
from farm.tables import EVENTS, FILES, HEALTH_LOG, JOBS, PREPARATIONS
from harness.host.cache import Cache
from harness.host.scratch import remove_abandoned

_DAY_S = 86400.0
_DIGEST = re.compile(r"\b[0-9a-f]{64}\b")
_BATCH = 500
_ENDED = ("SUCCESS", "ERROR", "CANCELLED")


@dataclass(frozen=True)
class RetentionPolicy:
    """How long what is kept.

    Attributes:
        events_days: what happened to jobs that have ended.
        health_days: transitions of devices' health.
        workflows_days: steps of workflows that have ended.
        files_days: files that jobs came with, since they were last submitted; never while a job
            that names one is live.
        cache_days: artifacts and tensors in this host's cache, since they were made.
        cache_bytes: what the cache may hold; the oldest go first.
    """

    events_days: float = 30.0
    health_days: float = 365.0
    workflows_days: float = 7.0
    files_days: float = 30.0
    cache_days: float = 30.0
    cache_bytes: int = 50 << 30


@dataclass(frozen=True)
class Forgotten:
    """What was removed: rows, rows, workflows, files of jobs, entries of the cache and their
    bytes, and scratch folders of killed processes."""

    events: int
    health_changes: int
    workflows: int
    files: int
    cache_entries: int
    cache_bytes: int
    scratch_folders: int


def forget(
    database: Database, cache: Cache, store: Path, host: str, policy: RetentionPolicy
) -> Forgotten:
    """Remove what the policy lets go. Runs and jobs stay; safe while workers work.

    Args:
        database: the farm's.
        cache: of this host.
        store: of this host, for files of jobs.
        host: its name: an artifact that is gone must be made again before a device waits for it.
        policy: how long what is kept.
    """
    entries = list(_outdated(cache, policy))
    if entries:
        with database.begin() as connection:
            done = (PREPARATIONS.c.host == host, PREPARATIONS.c.state == "done")
            connection.execute(PREPARATIONS.delete().where(*done))
    for path, _ in entries:
        shutil.rmtree(path, ignore_errors=True)
    with database.begin() as connection:
        ended = sa.select(JOBS.c.id).where(JOBS.c.state == "done")
        events = connection.execute(
            EVENTS.delete().where(
                EVENTS.c.at < now() - policy.events_days * _DAY_S, EVENTS.c.job.in_(ended)
            )
        ).rowcount
        changes = connection.execute(
            HEALTH_LOG.delete().where(HEALTH_LOG.c.at < now() - policy.health_days * _DAY_S)
        ).rowcount
    workflows = _forget_workflows(database, policy)
    files = _forget_files(database, store, policy)
    clear_abandoned(store)
    freed = sum(size for _, size in entries)
    scratch = remove_abandoned()
    return Forgotten(events, changes, workflows, files, len(entries), freed, scratch)


def _outdated(cache: Cache, policy: RetentionPolicy) -> Iterator[tuple[Path, int]]:
    """Entries of the cache that are too old, then the oldest of those that are too many."""
    entries = []
    for path in cache.root.glob("*/*"):
        with contextlib.suppress(OSError):  # another process may remove it just now
            if path.is_dir() and not path.name.startswith("."):
                entries.append((path.stat().st_mtime, path, _size(path)))
    entries.sort(key=lambda entry: entry[0])
    total = sum(size for _, _, size in entries)
    oldest_kept = time.time() - policy.cache_days * _DAY_S
    for made, path, size in entries:
        if made >= oldest_kept and total <= policy.cache_bytes:
            return
        total -= size
        yield path, size


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _forget_files(database: Database, store: Path, policy: RetentionPolicy) -> int:
    """Remove files of jobs from the store and the database; how many there were."""
    old = FILES.c.at < now() - policy.files_days * _DAY_S
    with database.begin() as connection:
        # Shared anew between this look and the removal, a file's time is new: the guard holds.
        stored = set(connection.execute(sa.select(FILES.c.sha256).where(old)).scalars())
        live = connection.execute(sa.select(JOBS.c.request).where(JOBS.c.state == "live"))
        needed = {digest for text in live.scalars() for digest in _DIGEST.findall(text)}
    for digest in stored - needed:
        with database.begin() as connection:
            connection.execute(FILES.delete().where(FILES.c.sha256 == digest, old))
    since = time.time() - policy.files_days * _DAY_S
    gone = stored - needed
    for folder in store.iterdir() if store.is_dir() else ():
        if not _DIGEST.fullmatch(folder.name) or folder.name in needed:
            continue
        with contextlib.suppress(FileNotFoundError):  # another process may remove it just now
            if folder.stat().st_mtime < since:
                shutil.rmtree(folder)
                gone.add(folder.name)
    return len(gone)


def _forget_workflows(database: Database, policy: RetentionPolicy) -> int:
    """Remove ended workflows from the engine's tables, by its own client."""
    from dbos import DBOSClient

    with database.begin() as connection:
        schema = None if database.is_sqlite else "dbos"
        if not sa.inspect(connection).has_table("workflow_status", schema=schema):
            return 0  # no worker has been here yet
    url = database.engine.url.render_as_string(hide_password=False)
    client = DBOSClient(
        system_database_url=url,
        system_database_engine=database.engine if database.is_sqlite else None,
    )
    before = time.strftime(
        "%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - policy.workflows_days * _DAY_S)
    )
    removed = 0
    try:
        while old := client.list_workflows(
            status=list(_ENDED), end_time=before, limit=_BATCH, load_input=False, load_output=False
        ):
            client.delete_workflows([one.workflow_id for one in old])
            removed += len(old)
    except SQLAlchemyError:
        return removed  # busy: the rest goes the next time
    finally:
        client.destroy()
    return removed

"""History: what nightly jobs measured on a device before."""

from collections.abc import Mapping
from dataclasses import replace

import sqlalchemy as sa

from farm.database import Database
from farm.job import parse_request
from farm.jobs import parse_document
from farm.nightly.night import JOB_PREFIX
from farm.tables import JOBS, PARTS, RUNS
from harness.errors import ModelError
from harness.records import Run


def past_runs(database: Database, newest: Mapping[str, int]) -> list[Run]:
    """The newest accepted runs of nightly jobs. A run of before recipes' digests were kept has the
    one of its job's recipe.

    Args:
        database: the farm's.
        newest: by device, how many of its runs.
    """
    found = []
    for device, limit in newest.items():
        query = (
            sa.select(RUNS.c.id, RUNS.c.document, JOBS.c.request)
            .join(PARTS, PARTS.c.id == RUNS.c.part)
            .join(JOBS, JOBS.c.id == RUNS.c.job)
            .where(PARTS.c.device == device, RUNS.c.job.startswith(JOB_PREFIX))
            .order_by(RUNS.c.at.desc())
            .limit(limit)
        )
        with database.begin() as connection:
            rows = connection.execute(query).all()
        for row in rows:
            run = parse_document(row.document, where=f"run {row.id}")
            found.append(run if run.recipe_digest else _by_its_job(run, row.request))
    return found


def _by_its_job(run: Run, request: str) -> Run:
    try:
        recipe = parse_request(request).recipe
    except ModelError:  # of another version: what its recipe was cannot be known
        return run
    return replace(run, recipe_digest=recipe.digest()) if recipe else run

"""History: what nightly jobs measured on a device before."""

from collections.abc import Mapping

import sqlalchemy as sa

from farm.database import Database
from farm.jobs import parse_document
from farm.nightly.night import JOB_PREFIX
from farm.tables import PARTS, RUNS
from harness.records import Run


def past_runs(database: Database, newest: Mapping[str, int]) -> list[Run]:
    """The newest accepted runs of nightly jobs.

    Args:
        database: the farm's.
        newest: by device, how many of its runs.
    """
    found = []
    for device, limit in newest.items():
        query = (
            sa.select(RUNS.c.id, RUNS.c.document)
            .join(PARTS, PARTS.c.id == RUNS.c.part)
            .where(PARTS.c.device == device, RUNS.c.job.startswith(JOB_PREFIX))
            .order_by(RUNS.c.at.desc())
            .limit(limit)
        )
        with database.begin() as connection:
            rows = connection.execute(query).all()
        found += [parse_document(row.document, where=f"run {row.id}") for row in rows]
    return found

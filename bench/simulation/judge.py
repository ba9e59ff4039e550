"""The judge: what the device-side log and the database say of a run of the simulation."""

import json
import zlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from farm.database import Database
from farm.tables import EVENTS, HEALTH_LOG, JOBS, PARTS, RUNS
from harness.records import Outcome, parse_run

_OUT = {"quarantined", "offline"}


@dataclass(frozen=True)
class Verdict:
    """What must hold, in numbers.

    Attributes:
        lost: jobs without a typed outcome.
        accepted_twice: results that count twice, or that no device completed.
        overlaps: pairs of jobs that ran on a device at the same time.
        outcomes: how jobs ended.
        stolen_bytes: messages to a device whose host key has changed.
    """

    lost: int
    accepted_twice: int
    overlaps: int
    outcomes: dict[str, int]
    stolen_bytes: int


def read_log(path: Path) -> list[dict[str, Any]]:
    """The device-side log; a last line that is cut short is left out."""
    lines = []
    for line in path.read_text().splitlines():
        try:
            lines.append(json.loads(line))
        except ValueError:
            continue
    return lines


def judge(database: Database, log: Sequence[dict[str, Any]]) -> Verdict:
    """Hold the database against the device-side log."""
    with database.begin() as connection:
        jobs = connection.execute(sa.select(JOBS.c.id, JOBS.c.state, JOBS.c.outcome)).all()
        documents = connection.execute(sa.select(RUNS.c.document)).scalars().all()
        parts = connection.execute(sa.select(PARTS.c.id, PARTS.c.outcome)).all()
    known = {str(one) for one in Outcome}
    lost = sum(state != "done" or outcome not in known for _, state, outcome in jobs)
    lost += sum(outcome not in known for _, outcome in parts)
    runs = [parse_run(zlib.decompress(one)) for one in documents]
    nonces = Counter(note for run in runs for note in run.notes)
    done = {line["nonce"] for line in log if line["what"] == "end" and line["how"] == "done"}
    twice = sum(count - 1 for count in nonces.values())
    twice += sum(nonce not in done for nonce in nonces)
    return Verdict(
        lost=lost,
        accepted_twice=twice,
        overlaps=_overlaps(log),
        outcomes=dict(Counter(outcome or "none" for _, _, outcome in jobs)),
        stolen_bytes=sum(line["what"] == "bytes for a stolen device" for line in log),
    )


def _overlaps(log: Sequence[dict[str, Any]]) -> int:
    """Jobs that begin on a device while another has not ended there."""
    running: dict[str, set[str]] = defaultdict(set)
    overlaps = 0
    for line in log:
        if line["what"] == "begin":
            overlaps += len(running[line["device"]])
            running[line["device"]].add(line["nonce"])
        elif line["what"] == "end":
            running[line["device"]].discard(line["nonce"])
    return overlaps


def idle_gaps_s(
    log: Sequence[dict[str, Any]], unsettled: Sequence[tuple[str, float, float]]
) -> list[float]:
    """From a job's end to the next one's begin on a device, while there were jobs in line.

    Args:
        log: device-side.
        unsettled: (device, from, to) on the monotonic clock: its worker was dead, or the device was
            not healthy; gaps that touch such a time do not count.
    """
    barred: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for device, begin, end in unsettled:
        barred[device].append((begin, end))
    times: dict[str, list[tuple[float, str]]] = defaultdict(list)
    for line in log:
        if line["what"] in {"begin", "end"}:
            times[line["device"]].append((line["t"], line["what"]))
    gaps = []
    for device, moments in times.items():
        for (ended, first), (began, second) in pairwise(moments):
            inside = any(begin < began and ended < end for begin, end in barred[device])
            if (first, second) == ("end", "begin") and not inside:
                gaps.append(began - ended)
    return gaps


def jobs_before_out(database: Database, device: str) -> int | None:
    """How many parts were started on a device before it was taken out of service; None if never."""
    with database.begin() as connection:
        out = connection.execute(
            sa.select(sa.func.min(HEALTH_LOG.c.at)).where(
                HEALTH_LOG.c.device == device, HEALTH_LOG.c.after.in_(_OUT)
            )
        ).scalar_one()
        if out is None:
            return None
        return connection.execute(
            sa.select(sa.func.count()).where(
                EVENTS.c.device == device, EVENTS.c.kind == "started", EVENTS.c.at <= out
            )
        ).scalar_one()


def taken_out(database: Database) -> dict[str, set[str]]:
    """Devices that were ever taken out of service, and how."""
    query = sa.select(HEALTH_LOG.c.device, HEALTH_LOG.c.after).where(HEALTH_LOG.c.after.in_(_OUT))
    found: dict[str, set[str]] = defaultdict(set)
    with database.begin() as connection:
        for device, after in connection.execute(query):
            found[device].add(after)
    return found


def unhealthy_times(database: Database) -> list[tuple[str, float, float]]:
    """(device, from, to) by the wall clock, while it was not healthy."""
    query = sa.select(HEALTH_LOG).order_by(HEALTH_LOG.c.id)
    since: dict[str, float] = {}
    times = []
    with database.begin() as connection:
        for row in connection.execute(query):
            if row.before == "healthy":
                since[row.device] = row.at
            elif row.after == "healthy":
                times.append((row.device, since.pop(row.device, 0.0), row.at))
    return times + [(device, at, float("inf")) for device, at in since.items()]

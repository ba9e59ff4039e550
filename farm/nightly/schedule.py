"""Schedule: a service that runs a plan's nights by the clock, as durable workflows (DBOS).

A night that was under way when the service was killed goes on when it starts again. Nights that it
missed altogether are made up for by the latest one, or skipped, as the plan says.
"""

import logging
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from croniter import croniter
from dbos import DBOS, DBOSConfig
from pydantic import TypeAdapter

from farm.database import Database
from farm.nightly.night import Submitted, submit_night, sum_up, wait_for_night
from farm.nightly.plan import Plan
from farm.nightly.summary import Summary
from harness.errors import UsageError

LOG = logging.getLogger("edgefarm.nightly")
_VERSION = "1"
_SUBMITTED = TypeAdapter(list[Submitted])

Report = Callable[[Plan, Summary], None]
"""Told of a night's end; at least once."""


class _Service:
    """What the workflows of this process need; set before they are launched."""

    database: Database
    report: Report


def serve_schedule(
    database: Database, plan: Plan, report: Report, *, stop: threading.Event
) -> None:
    """Run the plan's nights until told to stop.

    Args:
        database: the farm's; the schedule is kept in it.
        plan: with a schedule.
        report: told of every night's end.
        stop: set it to end; a night under way goes on at the next start.

    Raises:
        UsageError: the plan has no schedule.
    """
    if plan.nightly.schedule is None:
        raise UsageError('[nightly] has no schedule: add one, e.g. schedule = "0 2 * * *"')
    _Service.database, _Service.report = database, staticmethod(report)
    logging.getLogger("dbos").setLevel(logging.WARNING)
    DBOS(config=_config(database, plan.nightly.name))
    DBOS.launch()
    try:
        DBOS.apply_schedules(
            [
                {
                    "schedule_name": f"nightly-{plan.nightly.name}",
                    "workflow_fn": scheduled_night,
                    "schedule": plan.nightly.schedule,
                    "context": plan.model_dump_json(),
                    "automatic_backfill": plan.nightly.missed == "catch-up",
                    "cron_timezone": plan.nightly.timezone,
                }
            ]
        )
        LOG.info("scheduled", extra={"plan": plan.nightly.name, "cron": plan.nightly.schedule})
        stop.wait()
    finally:
        DBOS.destroy()


def is_superseded(plan: Plan, when: datetime) -> bool:
    """Whether the next night was due already: then only that one is made up for."""
    zone = ZoneInfo(plan.nightly.timezone)
    following = croniter(plan.nightly.schedule, when.astimezone(zone), second_at_beginning=True)
    due: datetime = following.get_next(datetime)
    return due <= datetime.now(UTC)


@DBOS.workflow(name="night")
def scheduled_night(when: datetime, context: Any) -> None:  # noqa: ANN401  DBOS hands it over
    """A night of a plan; nothing when it was superseded."""
    night = _begin(when, context)
    if night is not None:
        submitted, started = _submit(night, context), _clock()
        ended = _wait(submitted, context)
        _finish(night, submitted, ended, started, context)


@DBOS.step(name="night-begin")
def _begin(when: datetime, context: str) -> str | None:
    plan = Plan.model_validate_json(context)
    if is_superseded(plan, when):
        LOG.info("skipped, for the next night is due", extra={"when": when.isoformat()})
        return None
    return f"{plan.nightly.name}-{when.astimezone(UTC):%Y%m%dT%H%M%S}"


@DBOS.step(name="night-submit")
def _submit(night: str, context: str) -> str:
    plan = Plan.model_validate_json(context)
    return _SUBMITTED.dump_json(submit_night(_Service.database, plan, night)).decode()


@DBOS.step(name="night-clock")
def _clock() -> float:
    return time.time()


@DBOS.step(name="night-wait")
def _wait(submitted: str, context: str) -> dict[str, str]:
    ids = [one.job for one in _SUBMITTED.validate_json(submitted) if one.job is not None]
    plan = Plan.model_validate_json(context)
    return wait_for_night(_Service.database, plan, ids, say=LOG.info)


@DBOS.step(name="night-finish")
def _finish(
    night: str, submitted: str, ended: dict[str, str], started: float, context: str
) -> None:
    plan = Plan.model_validate_json(context)
    summary = sum_up(
        _Service.database, plan, night, _SUBMITTED.validate_json(submitted),
        ended=ended, seconds=time.time() - started,
    )  # fmt: skip
    LOG.info("%s", summary.headline, extra={"night": night})
    _Service.report(plan, summary)


def _config(database: Database, name: str) -> DBOSConfig:
    config: DBOSConfig = {
        "name": f"edgefarm-nightly-{name}",
        "system_database_url": database.engine.url.render_as_string(hide_password=False),
        "application_version": f"{_VERSION}-nightly-{name}",
        "executor_id": f"nightly-{name}",
        "log_level": "WARNING",
        "scheduler_polling_interval_sec": 1.0,
    }
    if database.is_sqlite:
        config["system_database_engine"] = database.engine
    return config

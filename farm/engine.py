"""The durable engine under a worker: DBOS, on the farm's own database.

Every lab host is an application of its own there, so a host's workflows are taken up again by that
host alone, whose devices they are about.
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from dbos import DBOS, DBOSConfig, SetWorkflowID

from farm.database import Database
from farm.workflows import WORKFLOWS, Shop, Workflows
from harness.host.extras import require_extra

_VERSION = "1"
"""Of the workflows' steps; a change of it leaves unfinished workflows to their leases' expiry."""

_POLL_S = 0.5
_FLUSH_MS = 10_000


@contextmanager
def running_engine(shop: Shop, *, preparers: int, traces: Sequence[str] = ()) -> Iterator["Engine"]:
    """Launch DBOS: unfinished workflows of this lab host go on in the background.

    Args:
        shop: what the workflows need.
        preparers: how many artifacts are made at the same time.
        traces: OTLP endpoints (http) that get a span for every workflow and step.

    Raises:
        UsageError: there are `traces`, and what sends them is not installed.
    """
    if traces:
        require_extra("traces", "opentelemetry.sdk", "opentelemetry.exporter")
    logging.getLogger("dbos").setLevel(logging.WARNING)
    WORKFLOWS.shop = shop
    DBOS(config=_config(shop, traces))
    queue = f"prepare-{shop.host}"
    DBOS.listen_queues([queue])
    DBOS.launch()
    try:
        DBOS.register_queue(queue, worker_concurrency=preparers, polling_interval_sec=_POLL_S)
        yield Engine(WORKFLOWS, queue)
    finally:
        DBOS.destroy()
        if traces:
            _send_the_last()


def _send_the_last() -> None:
    """Spans are sent in batches; the process may end before the next one is due."""
    from opentelemetry import trace

    provider: Any = trace.get_tracer_provider()
    provider.force_flush(_FLUSH_MS)


class Engine:
    """Starts workflows; the same workflow started twice runs once."""

    def __init__(self, workflows: Workflows, queue: str) -> None:
        self._workflows = workflows
        self._queue = queue

    def run_part(self, part: str, attempt: int) -> str:
        """Run a part here and wait for its end; how it was settled."""
        with SetWorkflowID(f"{part}:{attempt}"):
            return self._workflows.part(part, attempt)

    def resume_part(self, part: str, attempt: int) -> None:
        """Start a part's workflow unless it is there already, which recovery takes up."""
        with SetWorkflowID(f"{part}:{attempt}"):
            DBOS.start_workflow(self._workflows.part, part, attempt)

    def prepare(self, key: str, workflow: str) -> None:
        """Put a preparation in line."""
        with SetWorkflowID(workflow):
            DBOS.enqueue_workflow(self._queue, self._workflows.prepare, key)


def _config(shop: Shop, traces: Sequence[str]) -> DBOSConfig:
    database: Database = shop.database
    config: DBOSConfig = {
        "name": f"edgefarm-{shop.host}",
        "system_database_url": database.engine.url.render_as_string(hide_password=False),
        "application_version": f"{_VERSION}-{shop.host}",  # unique among the applications
        "executor_id": shop.host,
        "log_level": "WARNING",
    }
    if database.is_sqlite:
        config["system_database_engine"] = database.engine
    if traces:
        config["enable_otlp"] = True
        config["otlp_traces_endpoints"] = list(traces)
    return config

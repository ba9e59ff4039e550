"""Prometheus metrics, all read from the database: any process of the farm can serve them."""

from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from farm.database import Database
from farm.snapshot import Snapshot, take_snapshot
from harness.errors import UsageError

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def render_metrics(database: Database) -> bytes:
    """The farm's metrics in Prometheus's text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collected(take_snapshot(database)))
    return generate_latest(registry)


def serve_metrics(database: Database, port: int) -> None:
    """Answer Prometheus on loopback until interrupted.

    Raises:
        UsageError: the port is in use.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            text = render_metrics(database)
            self.send_response(200)
            self.send_header("Content-Type", CONTENT_TYPE)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: object) -> None:
            """Say nothing of each look."""

    try:
        server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    except OSError as error:
        raise UsageError(f"port {port} on 127.0.0.1: {error.strerror}; choose another") from error
    with server:
        server.serve_forever()


class _Collected:
    """A snapshot as metrics."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def collect(self) -> Iterator[Metric]:
        """One family after the other."""
        seen = self._snapshot
        yield _gauges("edgefarm_parts", "Parts of jobs that are not done.", "state", seen.parts)
        yield _counters("edgefarm_jobs", "Jobs that ended.", "outcome", seen.jobs)
        yield _counters("edgefarm_events", "What happened to jobs.", "kind", seen.events)
        yield GaugeMetricFamily(
            "edgefarm_oldest_ready_seconds", "Wait of the first in line.", seen.oldest_ready_s or 0
        )
        silent = {one.host: one.silent_s for one in seen.workers}
        help_text = "Time since the worker's last heartbeat."
        yield _gauges("edgefarm_worker_silent_seconds", help_text, "host", silent)
        health = GaugeMetricFamily(
            "edgefarm_device_health",
            "1 for the state it is in.",
            labels=["device", "host", "state"],
        )
        leased = GaugeMetricFamily("edgefarm_device_leased", "1 when in use.", labels=["device"])
        for one in seen.devices:
            health.add_metric([one.device.name, one.host or "", one.health], 1)
            in_use = one.holder is not None and (one.expires or 0) > seen.at
            leased.add_metric([one.device.name], int(in_use))
        yield health
        yield leased


def _gauges(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family


def _counters(name: str, text: str, label: str, values: Mapping[str, int]) -> Metric:
    family = CounterMetricFamily(name, text, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family

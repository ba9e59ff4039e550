"""Every report of every run that parses: odd ones are shown, never a traceback."""

import io

from hypothesis import HealthCheck, given, settings
from rich.console import Console

from harness.records import Run
from reports.frame import frame_of
from reports.html import render
from reports.tables import run_detail, runs_table
from tests.harness.any_run import values_of


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(values_of(Run))
def test_any_run_is_shown(run: Run) -> None:
    console = Console(file=io.StringIO(), width=90)
    console.print(runs_table([run]))
    console.print(run_detail(run))
    frame_of([run])
    render([run])

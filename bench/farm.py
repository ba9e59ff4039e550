"""Whether the farm loses nothing: simulated devices, seeded faults, killed workers and server.

    python bench/farm.py --jobs 10000 --devices 50 --faults 0.2 --kills 100 --database both

Workers are real processes, devices live in a process of their own behind the transport contract,
and the log that is written there is the judge. The figures of bench/damage.py and of
bench/regressions.py follow. Exit code 1 when one is not reached.
"""

import argparse
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bench import damage, regressions  # noqa: E402  the tree is not installed
from bench.figures import Figure, print_figures  # noqa: E402
from bench.simulation.judge import (  # noqa: E402
    idle_gaps_s,
    jobs_before_out,
    judge,
    read_log,
    taken_out,
    unhealthy_times,
)
from bench.simulation.server import KilledServer  # noqa: E402
from bench.simulation.work import request  # noqa: E402
from bench.simulation.worker import TTL_S  # noqa: E402
from farm.database import Database, open_database  # noqa: E402
from farm.jobs import submit  # noqa: E402
from farm.tables import DEVICES, EVENTS, JOBS, PARTS  # noqa: E402
from tests.farm.databases import create_database, postgres_server  # noqa: E402

HOSTS = ("lab-1", "lab-2")
BAD = ("crashes", "wrong", "dead", "stolen")
LONG_DEAD_EVERY = 10
STALL_EVERY = 7
SERVER_EVERY = 5
SUBMITS_A_SERVER = 6
STUCK_S = 240.0
GOES_ON_S = 30.0


@dataclass
class Kill:
    """A SIGKILL of a worker.

    Attributes:
        host: whose.
        at, at_wall: on the monotonic and on the wall clock.
        back: when it was started again, monotonic.
        running: parts that it ran then, with their attempts.
    """

    host: str
    at: float
    at_wall: float
    running: dict[str, int]
    back: float = 0.0


@dataclass
class Scene:
    """The rack, the workers, the server and what was done to them."""

    server: KilledServer
    folder: Path
    url: str
    devices: dict[str, str]
    chance: random.Random
    workers: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)
    kills: list[Kill] = field(default_factory=list)

    @property
    def socket(self) -> Path:
        """Of the rack."""
        return self.folder / "rack.sock"

    def start_worker(self, host: str) -> None:
        """Start a lab host's worker; every second device is attached to it."""
        names = list(self.devices)[HOSTS.index(host) :: len(HOSTS)]
        argv = [self.url, host, str(self.socket), *names]
        with (self.folder / f"{host}.log").open("ab") as log:
            self.workers[host] = subprocess.Popen(
                [sys.executable, "-m", "bench.simulation.worker", *argv],
                cwd=ROOT, env=os.environ | {"EDGEFARM_HOME": str(self.folder)}, stderr=log,
            )  # fmt: skip

    def host_of(self, device: str) -> str:
        """The lab host that a device is attached to."""
        return HOSTS[list(self.devices).index(device) % len(HOSTS)]


@contextlib.contextmanager
def scene(options: argparse.Namespace, database: Database, folder: Path) -> Iterator[Scene]:
    """Start the rack and the workers; end them all."""
    names = [f"d{number}" for number in range(options.devices)]
    chance = random.Random(options.seed)  # noqa: S311  a reproducible draw
    bad = dict(zip(chance.sample(names, min(len(BAD), len(names) // 5)), BAD, strict=False))
    server = KilledServer(database, folder)
    made = Scene(server, folder, database.url, {name: bad.get(name, "") for name in names}, chance)
    settings = {
        "log": str(folder / "devices.log"), "seed": options.seed, "fault_rate": options.faults,
        "socket": str(made.socket), "devices": made.devices, "job_s": options.job_s,
    }  # fmt: skip
    (folder / "rack.json").write_text(json.dumps(settings))
    rack = subprocess.Popen(
        [sys.executable, "-m", "bench.simulation.rack", str(folder / "rack.json")],
        cwd=ROOT, stdout=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert rack.stdout is not None  # noqa: S101  for readers: a pipe
        rack.stdout.readline()
        for host in HOSTS:
            made.start_worker(host)
        yield made
    finally:
        for worker in made.workers.values():
            worker.kill()
            worker.wait()
        server.stop()
        rack.kill()
        rack.wait()


def count(database: Database, table: sa.Table, *where: sa.ColumnElement[bool]) -> int:
    """How many rows."""
    with database.begin() as connection:
        query = sa.select(sa.func.count()).select_from(table).where(*where)
        return int(connection.execute(query).scalar_one())


def kills_server(number: int) -> bool:
    """Whether a disturbance is about the server."""
    return number % SERVER_EVERY == 1 and number % STALL_EVERY != STALL_EVERY - 1


def disturb(stage: Scene, database: Database, number: int) -> None:
    """SIGKILL the server while jobs are sent to it; or a worker, started again now and then late;
    or stop a worker for too long."""
    if kills_server(number):
        labels = [f"sent {number}.{one}" for one in range(SUBMITS_A_SERVER)]
        stage.server.submit_and_kill(labels, stage.chance.uniform(0, 0.4))
        return
    host = stage.chance.choice(HOSTS)
    if number % STALL_EVERY == STALL_EVERY - 1:
        stalled = stage.workers[host]
        stalled.send_signal(signal.SIGSTOP)
        time.sleep(TTL_S + 2)
        stalled.send_signal(signal.SIGCONT)
        return
    query = sa.select(PARTS.c.id, PARTS.c.attempt).where(
        PARTS.c.state == "running", PARTS.c.host == host
    )
    worker = stage.workers[host]
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    at, at_wall = time.monotonic(), time.time()
    with database.begin() as connection:
        running = {row.id: row.attempt for row in connection.execute(query)}
    if number % LONG_DEAD_EVERY == LONG_DEAD_EVERY // 2:
        time.sleep(TTL_S + 3)
    stage.start_worker(host)
    stage.kills.append(Kill(host, at, at_wall, running, time.monotonic()))


def planned(kills: int) -> int:
    """How many disturbances it takes: some only stop a worker."""
    number = 0
    while kills > 0:
        kills -= number % STALL_EVERY != STALL_EVERY - 1
        number += 1
    return number


def drive(
    options: argparse.Namespace, stage: Scene, database: Database
) -> tuple[list[float], float]:
    """Submit, kill now and then, wait for the end.

    Returns:
        Seconds of each submit, and when (monotonic) fewer jobs than devices were left in line.
    """
    while count(database, DEVICES) < len(stage.devices):
        time.sleep(0.2)
    disturbances = planned(options.kills)
    sent = SUBMITS_A_SERVER * sum(kills_server(number) for number in range(disturbances))
    submits = []
    for number in range(options.jobs - sent):
        begin = time.perf_counter()
        submit(database, request(f"job {number}"))
        submits.append(time.perf_counter() - begin)
    done, last, changed = 0, -1, time.monotonic()
    number, line_end = 0, float("inf")
    while done < options.jobs and time.monotonic() - changed < STUCK_S:
        if number < disturbances and done >= options.jobs * (number + 1) / (disturbances + 2):
            disturb(stage, database, number)
            number += 1
        time.sleep(0.2)
        done = count(database, PARTS, PARTS.c.state == "done")
        if line_end == float("inf") and done >= options.jobs - 2 * options.devices:
            line_end = time.monotonic()
        if done != last:
            last, changed = done, time.monotonic()
    return submits, line_end


def back_in_line_s(database: Database, kill: Kill) -> list[float]:
    """From a kill to what happened next to each part that ran: it was lost, or it went on."""
    delays = []
    with database.begin() as connection:
        for part in kill.running:
            query = sa.select(sa.func.min(EVENTS.c.at)).where(
                EVENTS.c.part == part, EVENTS.c.at > kill.at_wall
            )
            at = connection.execute(query).scalar_one()
            delays.append(float("inf") if at is None else at - kill.at_wall)
    return delays


def goes_on_s(log: list[dict[str, Any]], stage: Scene, kill: Kill) -> float | None:
    """From a kill to the next job on one of that host's devices; None when no job was left."""
    begun = [line for line in log if line["what"] == "begin" and line["t"] > kill.at]
    own = (line["t"] - kill.at for line in begun if stage.host_of(line["device"]) == kill.host)
    others_went_on = any(line["t"] > kill.at + GOES_ON_S for line in begun)
    return next(own, float("inf") if others_went_on else None)


def percentile(values: list[float], share: float) -> float:
    """Of no values: 0."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))] if values else 0.0


def figures(
    options: argparse.Namespace,
    stage: Scene,
    database: Database,
    submits: list[float],
    line_end: float,
) -> list[Figure]:
    """What the device-side log, the database and the clocks say."""
    log = read_log(stage.folder / "devices.log")
    verdict = judge(database, log)
    there = count(database, JOBS, JOBS.c.id.in_(stage.server.jobs))
    unknown = len(stage.server.jobs) - there
    taken = [delay for kill in stage.kills for delay in back_in_line_s(database, kill)]
    delays = [goes_on_s(log, stage, kill) for kill in stage.kills]
    went_on = [delay for delay in delays if delay is not None]
    bad = {name: kind for name, kind in stage.devices.items() if kind}
    before = {name: jobs_before_out(database, name) for name in bad}
    out = {name: how for name, how in taken_out(database).items() if name not in bad}
    wrongly = [name for name, how in out.items() if "quarantined" in how]
    healthy = len(stage.devices) - len(bad)
    shift = time.time() - time.monotonic()
    unsettled = [(d, a - shift - 1, b - shift + 2) for d, a, b in unhealthy_times(database)]
    unsettled += [
        (device, kill.at - 1, kill.back + TTL_S + 10)
        for kill in stage.kills for device in stage.devices if stage.host_of(device) == kill.host
    ]  # fmt: skip
    in_line = [line for line in log if line["t"] < line_end]
    gaps = idle_gaps_s(in_line, unsettled)
    attempts = sum(line["what"] == "begin" for line in log)
    slow = percentile(gaps, 0.95)
    return [
        Figure("jobs without a typed outcome", str(verdict.lost), "0", verdict.lost == 0),
        Figure("accepted twice, or by no device", str(verdict.accepted_twice), "0",
               verdict.accepted_twice == 0),
        Figure("overlapping jobs on a device", str(verdict.overlaps), "0", verdict.overlaps == 0),
        Figure("how jobs ended", json.dumps(verdict.outcomes), f"{options.jobs} in all",
               sum(verdict.outcomes.values()) == options.jobs),
        Figure(f"queue goes on after a kill, worst of {len(went_on)}",
               f"{max(went_on, default=0):.1f} s", f"{GOES_ON_S:g} s",
               max(went_on, default=0) <= GOES_ON_S, timed=True),
        Figure(f"lease taken back, worst of {len(taken)}", f"{max(taken, default=0):.1f} s",
               f"{TTL_S + 10:g} s", max(taken, default=0) <= TTL_S + 10, timed=True),
        Figure("bad devices out of service after jobs",
               ", ".join(f"{bad[name]} {jobs}" for name, jobs in before.items()), "3 each",
               all(jobs is not None and jobs <= 3 for jobs in before.values())),
        Figure("healthy devices quarantined", f"{len(wrongly)} of {healthy}", "1 %",
               len(wrongly) <= healthy / 100),
        Figure("messages to a device with another host key", str(verdict.stolen_bytes), "0",
               verdict.stolen_bytes == 0),
        Figure(f"idle device to job start, p95 of {len(gaps)}", f"{slow:.2f} s", "1 s",
               slow <= 1, timed=True),
        Figure("submit, p95", f"{percentile(submits, 0.95) * 1e3:.0f} ms", "50 ms",
               percentile(submits, 0.95) <= 0.05, timed=True),
        Figure("jobs that the server answered and that are not there", str(unknown), "0",
               unknown == 0),
        Figure("device-side jobs begun", str(attempts), "", True),
        Figure("kills of workers and server", f"{len(stage.kills)} + {stage.server.kills}",
               str(options.kills), len(stage.kills) + stage.server.kills == options.kills),
    ]  # fmt: skip


def play(options: argparse.Namespace, kind: str, url: str, folder: Path) -> bool:
    """One database: play it through and print the figures."""
    database = open_database(url)
    begin = time.monotonic()
    with scene(options, database, folder) as stage:
        submits, line_end = drive(options, stage, database)
        rows = figures(options, stage, database, submits, line_end)
    minutes = (time.monotonic() - begin) / 60
    database.close()
    title = (
        f"{kind}: {options.jobs} jobs, {options.devices} devices, "
        f"{options.faults:.0%} faults, {options.kills} kills, {minutes:.1f} min"
    )
    return print_figures(title, rows, as_json=options.json, times=not options.no_times) == 0


def main() -> None:
    """Play the scene on the databases that were named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=500)
    parser.add_argument("--devices", type=int, default=50)
    parser.add_argument("--faults", type=float, default=0.2)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--job-s", type=float, default=0.5, help="mean time of a job on a device")
    parser.add_argument("--no-times", action="store_true", help="times do not decide the exit code")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON lines")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--database", choices=("sqlite", "postgres", "both"), default="both")
    parser.add_argument("--damaged", type=int, default=1000, help="see bench/damage.py; 0: none")
    parser.add_argument(
        "--series", type=int, default=1000, help="see bench/regressions.py; 0: none"
    )
    parser.add_argument("--nights", type=int, default=40, help="see bench/regressions.py")
    parser.add_argument("--keep", help="keep databases and logs in this new folder")
    options = parser.parse_args()
    good = True
    with contextlib.ExitStack() as stack:
        if options.keep:
            Path(options.keep).mkdir()
        name = options.keep or stack.enter_context(
            tempfile.TemporaryDirectory(prefix="edgefarm-bench-")
        )
        if options.database in {"sqlite", "both"}:
            folder = Path(name) / "sqlite"
            folder.mkdir()
            good &= play(options, "SQLite", f"sqlite:///{folder / 'farm.sqlite'}", folder)
        if options.database in {"postgres", "both"}:
            folder = Path(name) / "postgres"
            folder.mkdir()
            with postgres_server() as server:
                good &= play(options, "Postgres", create_database(server, "farm"), folder)
    if options.damaged:
        rows = damage.measure(options.damaged, options.seed)
        good &= print_figures("damage", rows, as_json=options.json) == 0
    if options.series:
        rows = regressions.measure(options.series, options.nights, options.seed)
        good &= print_figures("regression detector", rows, as_json=options.json) == 0
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()

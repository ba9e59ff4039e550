"""The farm among faults and kills: 500 jobs, 10 SIGKILLs; the device-side log is the judge."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.farm.databases import postgres_missing

ROOT = Path(__file__).parents[2]
SMALL = (
    "--jobs",
    "500",
    "--kills",
    "10",
    "--job-s",
    "2",
    "--no-times",
    "--damaged",
    "0",
    "--series",
    "0",
)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_nothing_is_lost_and_nothing_counts_twice(database: str) -> None:
    if database == "postgres" and (lacking := postgres_missing()):
        pytest.skip(lacking)
    ended = subprocess.run(
        [sys.executable, "bench/farm.py", *SMALL, "--database", database],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stdout + ended.stderr

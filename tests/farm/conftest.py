"""Devices that several tests of the farm use."""

from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from farm.database import Database, open_database
from harness.device import Device
from tests.farm.databases import create_database, postgres_missing, postgres_server


@pytest.fixture(scope="session")
def busybox_board(started_board: Callable[[str, str], Device]) -> Device:
    """A board with busybox and sshd, and nothing else."""
    return started_board("cortex-a53", "none")


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """A Postgres server of this session; its URL without a database's name."""
    if lacking := postgres_missing():
        pytest.skip(lacking)
    with postgres_server() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database, once of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'farm.sqlite'}"
    return create_database(request.getfixturevalue("postgres"), f"t{uuid4().hex}")


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """An open farm database, once of each kind."""
    opened = open_database(database_url)
    yield opened
    opened.close()

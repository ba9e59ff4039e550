"""The two databases that the farm's tests run on: a file, and a Postgres server of their own."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_FOUND = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: path.parent.name)


def postgres_missing() -> str | None:
    """What to install for a Postgres of the tests' own; None when it is there."""
    if not _FOUND:
        return "Postgres is not installed: apt-get install postgresql"
    return None


@contextmanager
def postgres_server() -> Iterator[str]:
    """Start a server on loopback in a temporary folder; its URL without a database's name.

    Postgres refuses to run as root: then it runs as `nobody`.
    """
    folder = Path(tempfile.mkdtemp(prefix="edgefarm-pg-"))
    user = "nobody" if os.getuid() == 0 else None
    if user:
        shutil.chown(folder, user)
    data, port = folder / "data", _free_port()
    initdb = [str(_FOUND[-1] / "initdb"), "-D", str(data), "-U", "edgefarm", "-A", "trust", "-N"]
    server = [
        str(_FOUND[-1] / "postgres"), "-D", str(data), "-p", str(port),
        "-h", "127.0.0.1", "-k", str(folder), "-c", "max_connections=200",
    ]  # fmt: skip
    try:
        subprocess.run(initdb, check=True, user=user, cwd=folder, stdout=subprocess.DEVNULL)
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(server, user=user, cwd=folder, stdout=log, stderr=log)
        try:
            _wait_until_up(process, port)
            yield f"postgresql://edgefarm@127.0.0.1:{port}"
        finally:
            process.send_signal(signal.SIGQUIT)  # at once: its data is thrown away
            process.wait(60)
    finally:
        shutil.rmtree(folder)


def create_database(server: str, name: str, options: str = "") -> str:
    """Make a database; its URL."""
    import psycopg

    with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}" {options}'.encode())
    return f"{server}/{name}"


def _wait_until_up(process: "subprocess.Popen[bytes]", port: int) -> None:
    ask = [str(_FOUND[-1] / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(port)]
    for _ in range(300):
        assert process.poll() is None, "Postgres ended"
        if subprocess.run(ask, check=False).returncode == 0:
            return
        time.sleep(0.1)
    raise AssertionError("Postgres does not answer")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

"""The fence on a real device's shell: a lease that is over can no longer do anything there."""

import hashlib
import os
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from farm.fence import FencedConnect, FencedTransport, claim, look
from farm.transports import connect
from harness.device import Device, PullLimits
from harness.errors import HarnessError, LeaseLost

SHELLS = [name for name in ("dash", "bash", "mksh") if shutil.which(name)]


@pytest.fixture(params=SHELLS)
def device(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Device:
    """This host, whose `sh` is one of those that devices have."""
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "sh").symlink_to(shutil.which(request.param) or "")
    monkeypatch.setenv("PATH", str(tools), prepend=":")
    return Device("here", "local", workdir=str(tmp_path / "work"), python=sys.executable)


@pytest.fixture
def two(device: Device) -> Iterator[tuple[FencedTransport, FencedTransport]]:
    """Two connections, under the tokens 9 and 10; only 9 is claimed."""
    with connect(device) as old, connect(device) as new:
        claim(old, 9, "old")
        yield FencedTransport(old, 9), FencedTransport(new, 10)


def pushed(transport: FencedTransport, tmp_path: Path) -> str:
    local = tmp_path / "file"
    local.write_bytes(b"content")
    remote = f"{transport.device.workdir}/file"
    digest = hashlib.sha256(b"content").hexdigest()
    transport.push(local, remote, sha256=digest, timeout_s=10)
    return remote


def test_under_its_lease_a_holder_works(
    two: tuple[FencedTransport, FencedTransport], tmp_path: Path
) -> None:
    old, _ = two
    ran = old.run(("sh", "-c", "cat; echo $1 >&2; exit 7", "sh", "x"), timeout_s=10, stdin=b"in")
    assert (ran.argv[0], ran.exit_status, ran.stdout, ran.stderr) == ("sh", 7, b"in", b"x\n")
    assert Path(pushed(old, tmp_path)).read_bytes() == b"content"
    folder = Path(old.device.workdir) / "out"
    folder.mkdir()
    (folder / "a").write_text("a")
    got = old.pull(str(folder), tmp_path / "got", limits=PullLimits(), timeout_s=10)
    assert got == (Path("a"),)


def test_after_a_takeover_nothing_is_done_and_nothing_accepted(
    two: tuple[FencedTransport, FencedTransport], tmp_path: Path
) -> None:
    old, new = two
    claim(new.transport, 10, "new holder")
    with pytest.raises(LeaseLost, match="10 new holder"):
        old.run(("touch", str(tmp_path / "done")), timeout_s=10)
    assert not (tmp_path / "done").exists()
    with pytest.raises(LeaseLost):
        pushed(old, tmp_path)
    assert not (Path(old.device.workdir) / "file").exists()
    folder = Path(old.device.workdir) / "out"
    folder.mkdir()
    with pytest.raises(LeaseLost):
        old.pull(str(folder), tmp_path / "got", limits=PullLimits(), timeout_s=10)
    with pytest.raises(LeaseLost):
        claim(old.transport, 9, "old")
    assert new.run(("true",), timeout_s=10).exit_status == 0


def test_what_runs_under_the_old_lease_is_ended(
    two: tuple[FencedTransport, FencedTransport], tmp_path: Path
) -> None:
    """As when a worker was stopped for longer than its lease, its connection still open."""
    old, new = two
    beats = tmp_path / "beats"
    job = Path(old.device.workdir) / "jobs" / "left"
    job.mkdir(parents=True)
    script = f"while :; do echo >>{beats}; sleep 0.05; done"

    def run() -> None:
        with suppress(HarnessError):
            old.run(("sh", "-c", script), timeout_s=60)

    worker = threading.Thread(target=run)
    worker.start()
    while not beats.exists():
        time.sleep(0.02)
    claim(new.transport, 10, "new")
    size = beats.stat().st_size
    worker.join(30)
    assert not worker.is_alive()
    time.sleep(0.3)
    assert beats.stat().st_size == size
    assert not job.exists()


def test_the_same_lease_may_claim_again(two: tuple[FencedTransport, FencedTransport]) -> None:
    old, _ = two
    claim(old.transport, 9, "old")
    assert old.run(("true",), timeout_s=10).exit_status == 0


def test_a_device_that_forgot_its_lease_accepts_nothing(
    two: tuple[FencedTransport, FencedTransport],
) -> None:
    old, _ = two
    shutil.rmtree(Path(old.device.workdir) / "lease")
    with pytest.raises(LeaseLost, match="nobody"):
        old.run(("true",), timeout_s=10)


def test_a_working_folder_that_is_a_link_is_refused(device: Device, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    Path(device.workdir).symlink_to(tmp_path / "elsewhere")
    fenced = FencedConnect(connect, device.name, 9, "holder")
    with pytest.raises(HarnessError, match="lease cannot be written"), fenced(device):
        pass
    assert not any((tmp_path / "elsewhere").iterdir())


def test_other_devices_are_opened_as_they_are(device: Device) -> None:
    with FencedConnect(connect, "another", 9, "holder")(device) as transport:
        assert transport.run(("true",), timeout_s=10).exit_status == 0
    assert not Path(device.workdir).exists()


def test_what_is_no_token_shuts_nobody_out_and_is_removed(device: Device) -> None:
    """An editor's copy, a folder, a pipe, a number that no farm has come to."""
    tokens = Path(device.workdir, "lease", "tokens")
    tokens.mkdir(parents=True)
    names = ["9~", "word", "a b", "-f", "1\n2", "2147483647", "4294967296", "9" * 30, "-5"]
    for name in names:
        (tokens / name).write_text("worker lab-1/000000000000\n")
    (tokens / "2000000000").mkdir()
    (tokens / "2000000001").symlink_to("nowhere")
    for name in ("2000000002", "7"):
        os.mkfifo(tokens / name)
    with connect(device) as transport:
        assert look(transport) is None
        claim(transport, 7, "mine")
        assert FencedTransport(transport, 7).run(("echo", "x"), timeout_s=10).stdout == b"x\n"
        seen = look(transport)
    assert seen is not None
    assert (seen.token, seen.holder) == (7, "mine")
    assert [path.name for path in tokens.iterdir()] == ["7"]

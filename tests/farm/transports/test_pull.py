"""The contract of Transport.pull, on every transport: what a device may not do to this host."""

import os
from pathlib import Path

import pytest

from harness.device import PullLimits, Transport
from harness.errors import TransportError, UsageError
from tests.farm.transports.conftest import left_in, shell, shell_in

LIMITS = PullLimits(max_files=8, max_file_bytes=2 << 20, max_total_bytes=3 << 20)
NAMES = ("plain", "a b", "-rf", "--", "ünï", "new\nline", "$(id)", "n" * 200)


def pull(transport: Transport, remote: str, local: Path) -> tuple[Path, ...]:
    return transport.pull(remote, local, limits=LIMITS, timeout_s=60)


def test_brings_files_of_any_name(transport: Transport, folder: str, tmp_path: Path) -> None:
    script = 'mkdir -p "$1"; cd "$1"; shift; for name; do printf %s "$name" > "./$name"; done'
    shell(transport, script, folder, *NAMES)
    assert pull(transport, folder, tmp_path / "got") == tuple(sorted(map(Path, NAMES)))
    assert [(tmp_path / "got" / name).read_text() for name in NAMES] == list(NAMES)
    assert left_in(tmp_path) == ["got"]


def test_brings_binary_data_and_folders(transport: Transport, folder: str, tmp_path: Path) -> None:
    data = os.urandom(1_000_003)
    shell_in(transport, folder, "mkdir -p d/e none; cat > d/e/data; : > empty", stdin=data)
    assert pull(transport, folder, tmp_path / "got") == (Path("d/e/data"), Path("empty"))
    assert (tmp_path / "got/d/e/data").read_bytes() == data
    assert (tmp_path / "got/empty").read_bytes() == b""


def test_an_empty_folder(transport: Transport, folder: str, tmp_path: Path) -> None:
    shell_in(transport, folder, "")
    assert pull(transport, folder, tmp_path / "got") == ()
    assert left_in(tmp_path / "got") == []


HOSTILE = {
    "a link out": ("ln -s /etc/passwd stolen", "a symbolic link"),
    "a link to a folder": ("ln -s / root", "a symbolic link"),
    "a dangling link": ("ln -s nowhere l", "a symbolic link"),
    "a hard link": ("echo x > a; ln a b", "a hard link"),
    "a fifo": ("mkfifo f", "a fifo"),
    "names that fold": ("echo x > Out; echo y > out", "when case is folded"),
    "folders that fold": ("mkdir a A; echo x > a/x; echo y > A/y", "when case is folded"),
    "names that fold in Unicode": ("echo x > straße; echo y > strasse", "when case is folded"),
    "a name that is no text": ("echo x > $(printf '\\377\\376')", "not UTF-8"),
    "too many files": ("for i in 1 2 3 4 5 6 7 8 9; do : > $i; done", "more than 8 files"),
    "too many folders": ("mkdir 1 2 3 4 5 6 7 8 9", "more than 8 files"),
    "a file too big": ("head -c 2097153 /dev/zero > big", "allowed per file: 2097152"),
    "a huge sparse file": ("truncate -s 9G s", "allowed per file"),
    "too much in all": (
        "head -c 2000000 /dev/zero > a; head -c 2000000 /dev/zero > b",
        "more than 3145728 bytes in all",
    ),
    "a file nobody may read": ("echo x > f; chmod 0 f", "tar failed"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_refuses(transport: Transport, folder: str, tmp_path: Path, case: str) -> None:
    script, message = HOSTILE[case]
    if "nobody may read" in case and shell(transport, "id -u") == b"0\n":
        pytest.skip("root may read everything")
    shell_in(transport, folder, f"{{ {script}; }} >/dev/null 2>&1 || true")
    with pytest.raises(TransportError, match=message) as caught:
        pull(transport, folder, tmp_path / "got")
    assert caught.value.device == transport.device.name
    assert left_in(tmp_path) == []


@pytest.mark.parametrize("make", ["", "echo x > thing", "ln -s / thing", "mkfifo thing"])
def test_refuses_what_is_no_folder(
    transport: Transport, folder: str, tmp_path: Path, make: str
) -> None:
    shell_in(transport, folder, make)
    with pytest.raises(TransportError, match="could not be read") as caught:
        pull(transport, f"{folder}/thing", tmp_path / "got")
    assert "not a folder" in caught.value.stderr_tail
    assert left_in(tmp_path) == []


def test_never_touches_what_is_there(transport: Transport, folder: str, tmp_path: Path) -> None:
    (tmp_path / "got").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    shell_in(transport, folder, "")
    for name in ("got", "link"):
        with pytest.raises(UsageError, match="exists"):
            pull(transport, folder, tmp_path / name)
    with pytest.raises(UsageError, match="no such folder"):
        pull(transport, folder, tmp_path / "no/where")
    assert left_in(tmp_path) == ["got", "link"]

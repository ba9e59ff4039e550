"""Boards and phones of a user who is not root, and what such a user is told."""

import os
import platform
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from farm.transports import adb
from farm.virtual import privilege, processes, requirements
from farm.virtual.boards import device_of, find_board, list_boards
from farm.virtual.settings import UID
from harness.errors import UsageError
from tests.farm.virtual.conftest import Shell
from tests.farm.virtual.ordinary_user import OrdinaryUser, ordinary_user

_NAME = f"user-{os.getpid()}"
_LEAVE_FILES = (
    "umask 077; mkdir -p ~/closed /var/tmp/mine; echo kept | tee ~/closed/f /var/tmp/mine/f"
)


@pytest.fixture(scope="module")
def user() -> Iterator[OrdinaryUser]:
    with ordinary_user() as somebody:
        yield somebody
        for board in list_boards(somebody.home):
            somebody.edgefarm("board", "destroy", board.name)


def succeed(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stderr
    return done.stdout


def check_life(user: OrdinaryUser, shell: Shell, *, before: str = "") -> None:
    create = ("board", "create", _NAME, "--core", "cortex-a53", "--runtime", "none")
    succeed(user.edgefarm(*create, before=before))
    board = find_board(_NAME, home=user.home)
    assert board.pid is not None
    assert Path(f"/proc/{board.pid}").stat().st_uid == user.uid
    told = shell(device_of(board), f"id -u; uname -m; hostname; {_LEAVE_FILES}")
    assert told.split() == [str(UID), "aarch64", _NAME, "kept"]

    succeed(user.edgefarm("board", "stop", _NAME))
    assert processes.find(board.folder) is None
    succeed(user.edgefarm("board", "start", _NAME, before=before))
    again = device_of(find_board(_NAME, home=user.home))
    assert shell(again, "cat ~/closed/f /var/tmp/mine/f") == "kept\nkept\n"
    # Without, a folder of the shared layer could not be removed and made anew.
    assert ",userxattr" in shell(again, "head -n 1 /proc/mounts")

    succeed(user.edgefarm("board", "destroy", _NAME))
    assert processes.find(board.folder) is None
    assert not board.folder.exists()
    assert [path.name for path in board.folder.parent.iterdir()] == [".lock"]


@pytest.mark.timeout(300)
def test_a_board_by_what_is_registered_here(user: OrdinaryUser, shell: Shell) -> None:
    check_life(user, shell)


@pytest.mark.timeout(300)
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can hide the host's registration")
def test_a_board_where_nothing_is_registered(user: OrdinaryUser, shell: Shell) -> None:
    release = tuple(int(part) for part in platform.release().split(".")[:2])
    if release < (6, 7):
        pytest.skip("before Linux 6.7 a user has no binfmt_misc of their own")
    check_life(user, shell, before="umount /proc/sys/fs/binfmt_misc || true")


@pytest.mark.timeout(300)
def test_a_phone(user: OrdinaryUser, adb_server: None) -> None:  # noqa: ARG001
    succeed(user.edgefarm("board", "create", _NAME, "--kind", "phone"))
    phone = find_board(_NAME, home=user.home)
    serial = f"127.0.0.1:{phone.port}"
    client = ("adb", "-P", str(adb.server_port()))
    for _ in range(60):  # `connect` ends well even where it failed, or the phone is offline yet
        subprocess.run([*client, "connect", serial], check=True, capture_output=True)
        state = [*client, "-s", serial, "get-state"]
        if subprocess.run(state, check=False, capture_output=True).stdout.strip() == b"device":
            break
        time.sleep(0.5)
    asked = [*client, "-s", serial, "shell", "id -u; hostname; touch data/local/tmp/f && echo made"]
    done = subprocess.run(asked, check=True, capture_output=True, text=True)
    assert done.stdout.split() == [str(UID), _NAME, "made"]
    succeed(user.edgefarm("board", "destroy", _NAME))
    assert not phone.folder.exists()


@pytest.mark.parametrize(
    ("status", "says", "expected"),
    [
        (1, "", "sysctl user.max_user_namespaces"),
        (1, "unshare: no line matching user 'x' in /etc/subuid", "usermod --add-subuids "),
        (1, "unshare: unrecognized option '--map-auto'", "util-linux 2.38"),
        (0, "ids", "usermod --add-subuids "),
        (0, "mount", "apparmor_restrict_unprivileged_userns=0"),
        (0, "overlay", "mount no overlay"),
        (0, "proc", "a container needs --privileged"),
        (0, "binfmt_misc", "systemctl restart systemd-binfmt"),
    ],
)
def test_what_the_kernel_refuses_is_told_with_what_mends_it(
    status: int, says: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An `unshare` that refuses: entering at all (status 1), or a step of what a board needs."""
    step = f"[ $# -gt 10 ] || exit 0; echo {says}; echo refused >&2; exit 1"
    refuse = f"""echo "{says or "unshare failed: No space left"}" >&2; exit 1"""
    fake = tmp_path / "unshare"
    fake.write_text(f"#!/bin/sh\n{refuse if status else step}\n")
    fake.chmod(0o755)
    for name in ("newuidmap", "newgidmap"):
        (tmp_path / name).symlink_to("/bin/true")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(requirements.os, "geteuid", lambda: 47_000)
    (line,) = requirements.missing()
    assert expected in line


def test_ids_that_nobody_has_are_offered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = tmp_path / "subuid"
    given.write_text("ann:100000:65536\n# a remark\nbob:165536:65536\nbroken:x:y\n")
    monkeypatch.setattr(requirements, "_SUBORDINATE", (given, tmp_path / "none"))
    assert requirements._ends(given) == [165_536, 231_072]
    assert "--add-subuids 231072-296607 --add-subgids 231072-296607" in requirements._wants_ids("")


def test_another_users_boards_are_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "boards"
    assert privilege.own_folder(folder) == folder
    monkeypatch.setattr(privilege.os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(UsageError, match=r"boards belongs to the user .*EDGEFARM_HOME"):
        privilege.own_folder(folder)

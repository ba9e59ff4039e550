"""Runs edgefarm as an ordinary user: this one, or, where root runs the tests, a user made up.

The made-up user exists in a mount namespace of each command alone: its entries in /etc/passwd and
/etc/subuid are files bound there, and so are readable ways to Python and to this checkout.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

_NAME = "edgefarm-test"
_UID = 47_000
_FIRST_SUBORDINATE = 1_500_000_000
_FORBIDDEN = (
    *("unshare", "--user", "--map-root-user", "--map-auto", "--mount", "--pid", "--fork"),
    *("sh", "-c", "mount -t tmpfs tmpfs /tmp && mount -t proc proc /proc"),
)
_PROJECT = Path(__file__).parents[3]


@dataclass(frozen=True)
class OrdinaryUser:
    """Whoever is not root.

    Attributes:
        uid: on the host.
        home: the EDGEFARM_HOME of its commands.
    """

    uid: int
    home: Path

    def edgefarm(self, *arguments: str, before: str = "") -> subprocess.CompletedProcess[str]:
        """Run edgefarm to its end.

        Args:
            arguments: of the command line.
            before: shell commands of root in the mount namespace; none unless root runs the tests.
        """
        return self.run([sys.executable, "-P", "-m", "harness.cli", *arguments], before=before)

    def run(self, argv: Sequence[str], *, before: str = "") -> subprocess.CompletedProcess[str]:
        """Run any command to its end; see `edgefarm`."""
        return subprocess.run(
            argv if os.geteuid() else self._from_root(argv, before),
            env=os.environ | {"EDGEFARM_HOME": str(self.home), "HOME": str(self.home)},
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )

    def _from_root(self, argv: Sequence[str], before: str) -> list[str]:
        passwd = f"{_NAME}:x:{self.uid}:{self.uid}::{self.home}:/bin/sh"
        subordinate = f"{_NAME}:{_FIRST_SUBORDINATE}:65536"
        script = f"""set -e
            stage={self.home.parent}/stage
            mkdir -p $stage
            mount -t tmpfs stage $stage
            {{ cat /etc/passwd; echo '{passwd}'; }} >$stage/passwd
            mount --bind $stage/passwd /etc/passwd
            echo '{subordinate}' >$stage/subordinate
            touch /etc/subuid /etc/subgid
            mount --bind $stage/subordinate /etc/subuid
            mount --bind $stage/subordinate /etc/subgid
            {_open_ways((Path(sys.base_prefix), Path(sys.prefix), _PROJECT))}
            {before}
            exec setpriv --reuid={self.uid} --regid={self.uid} --clear-groups --inh-caps=-all "$@"
        """
        return ["unshare", "--mount", "sh", "-c", script, "as-user", *argv]


@contextmanager
def ordinary_user() -> Iterator[OrdinaryUser]:
    """An ordinary user with an empty home; skips the test where the kernel gives a user nothing."""
    if shutil.which("unshare") is None or shutil.which("newuidmap") is None:
        pytest.skip("a user's namespaces need: apt-get install uidmap util-linux")
    # Not among pytest's folders, which root keeps closed.
    above = Path(tempfile.mkdtemp(prefix="edgefarm-user-"))
    above.chmod(0o755)
    home = above / "home"
    home.mkdir()
    user = OrdinaryUser(os.geteuid() or _UID, home)
    if user.uid != os.geteuid():
        os.chown(home, user.uid, user.uid)
    try:
        tried = user.run(_FORBIDDEN)
        if tried.returncode != 0:
            pytest.skip(f"this host forbids a user their own namespaces: {tried.stderr.strip()}")
        yield user
    finally:
        shutil.rmtree(above)


def _open_ways(wanted: Sequence[Path]) -> str:
    """Shell commands by which everybody may reach these folders, whatever is closed above them."""
    ways = {way for folder in wanted for way in (folder.absolute(), folder.resolve())}
    closed = {way: shut for way in ways if (shut := _first_closed(way)) is not None}
    lines = []
    for index, way in enumerate(closed):
        lines += [f"mkdir $stage/{index}", f"mount --bind '{way}' $stage/{index}"]
    lines += [f"mount -t tmpfs -o mode=755 open '{shut}'" for shut in sorted(set(closed.values()))]
    for index, way in enumerate(closed):
        lines += [f"mkdir -p '{way}'", f"mount --bind $stage/{index} '{way}'"]
    return "\n".join(lines)


def _first_closed(folder: Path) -> Path | None:
    above = [*reversed(folder.parents), folder]
    return next((path for path in above if not path.stat().st_mode & 0o001), None)

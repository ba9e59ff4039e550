"""A service that a host asks for: a process inside the phone's file system, as the phone's user."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from farm.virtual.phone import sync
from farm.virtual.settings import UID

_PATH = "/system/bin"


@dataclass(frozen=True)
class Service:
    """What to start, and how its streams are carried.

    Attributes:
        argv: the command.
        framed: by the shell protocol v2: stdin, stdout, stderr and the status apart.
        stderr: where its errors go, as `subprocess.Popen` has it; None: into the phone's log.
    """

    argv: tuple[str, ...]
    framed: bool
    stderr: int | None


def find_service(name: str, root: Path) -> Service | None:
    """The service of that name; None when the phone has none such.

    There are no terminals: an interactive shell reads its commands from a pipe.
    """
    kind, _, rest = name.partition(":")
    kind, *options = kind.split(",")
    if kind in {"shell", "exec"}:
        command = ("-c", rest) if rest else ()
        user = f"{UID}:{UID}"
        inside = ("chroot", f"--userspec={user}", "--groups=", str(root))
        framed = "v2" in options
        errors = subprocess.PIPE if framed else subprocess.STDOUT
        return Service((*inside, f"{_PATH}/sh", *command), framed, errors)
    if kind == "sync":
        argv = (sys.executable, "-P", str(sync.__file__), str(root), str(UID))
        return Service(argv, framed=False, stderr=None)
    return None


def start_service(service: Service, core: str) -> subprocess.Popen[bytes]:
    """Start it; its pipes are the caller's."""
    return subprocess.Popen(
        service.argv,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=service.stderr,
        bufsize=0,
        env={
            "PATH": f"{_PATH}:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": "/data/local/tmp",
            "TMPDIR": "/data/local/tmp",
            "ANDROID_ROOT": "/system",
            "ANDROID_DATA": "/data",
            "QEMU_CPU": core,
        },
        cwd="/",
        umask=0o077,
        start_new_session=True,
    )

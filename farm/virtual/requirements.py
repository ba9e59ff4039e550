"""What this host lacks for virtual boards, each with the command that mends it."""

import importlib.util
import os
import shutil
import subprocess
from pathlib import Path

from farm.virtual.binfmt import find_registration
from farm.virtual.privilege import namespace_options
from farm.virtual.settings import UID

_COMMANDS = {
    "qemu-aarch64-static": "qemu-user-static",
    "mmdebstrap": "mmdebstrap",
    "unshare": "util-linux",
    "setpriv": "util-linux",
    "setsid": "util-linux",
    "mount": "mount",
    "hostname": "hostname",
}
_USER_COMMANDS = {"newuidmap": "uidmap", "newgidmap": "uidmap"}
_KEYS = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_FILE_SYSTEMS = {"overlay": "overlay", "binfmt_misc": "binfmt_misc"}
_NAMESPACES = ("--mount", "--pid", "--uts", "--ipc", "--fork")
_SUBORDINATE = (Path("/etc/subuid"), Path("/etc/subgid"))
_IDS = 65_536
_FIRST_ID = 100_000  # where useradd begins

# Each step prints its name when it fails; what a board needs of the kernel, tried on /tmp.
_TRIAL = f"""\
setpriv --reuid={UID} --regid={UID} --clear-groups true || {{ echo ids; exit 1; }}
mount -t tmpfs tmpfs /tmp || {{ echo mount; exit 1; }}
cd /tmp && mkdir lower upper work root
mount -t overlay -o lowerdir=lower,upperdir=upper,workdir=work,userxattr overlay root ||
    {{ echo overlay; exit 1; }}
[ -z "$1" ] || mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc ||
    {{ echo binfmt_misc; exit 1; }}
mount -t proc proc /proc || {{ echo proc; exit 1; }}
"""


def missing() -> list[str]:
    """One line for each thing that lacks; empty when boards can be made and started here."""
    return [*_missing_packages(), *_missing_pip(), *_missing_rights()]


def _missing_packages() -> list[str]:
    needed = _COMMANDS | (_USER_COMMANDS if namespace_options() else {})
    lacking = {package for command, package in needed.items() if shutil.which(command) is None}
    if not _KEYS.exists():
        lacking.add("debian-archive-keyring")
    names = " ".join(sorted(lacking))
    return [f"not installed: {names}; run `{_sudo()}apt-get install {names}`"] if lacking else []


def _missing_pip() -> list[str]:
    if importlib.util.find_spec("pip") is not None:
        return []
    return ["this Python has no pip: run `python -m ensurepip`"]


def _missing_rights() -> list[str]:
    if any(shutil.which(command) is None for command in ("unshare", "setpriv", "mount")):
        return []  # named as packages already
    if namespace_options():
        return [] if shutil.which("newuidmap") is None else _missing_to_user()
    done = _run(["unshare", *_NAMESPACES, "true"])
    if done.returncode != 0:
        reason = done.stderr.strip()
        return [f"this host forbids new namespaces ({reason}): a container needs --privileged"]
    return _missing_file_systems()


def _missing_file_systems() -> list[str]:
    return [
        f"this kernel lacks {name}: run `{_sudo()}modprobe {module}`"
        for name, module in _FILE_SYSTEMS.items()
        if not _has_file_system(name, module) and not (name == "binfmt_misc" and _registered())
    ]


def _has_file_system(name: str, module: str) -> bool:
    if name in Path("/proc/filesystems").read_text().split():
        return True
    modprobe = shutil.which("modprobe")
    if modprobe is not None:
        subprocess.run([modprobe, "--quiet", module], capture_output=True, check=False)
    return name in Path("/proc/filesystems").read_text().split()


def _missing_to_user() -> list[str]:
    """What keeps a user who is not root from being root in a namespace of their own."""
    entering = ["unshare", *namespace_options(), *_NAMESPACES]
    entered = _run([*entering, "true"])
    if entered.returncode != 0:
        return [_why_not_entered(entered.stderr.strip())]
    if lacking := _missing_file_systems():
        return lacking
    own_binfmt = "" if _registered() else "own"
    tried = _run([*entering, "sh", "-c", _TRIAL, "trial", own_binfmt])
    if tried.returncode == 0:
        return []
    step, reason = tried.stdout.strip(), tried.stderr.strip()
    if step == "ids":
        return [_wants_ids(f"user {UID} of a board is none of this user's ids ({reason})")]
    if step == "binfmt_misc":
        return [
            f"a user has no binfmt_misc of their own on this kernel ({reason}; Linux 6.7 or newer "
            "gives one), and QEMU is not registered for all: run `sudo systemctl restart "
            "systemd-binfmt`, or once `edgefarm board start` as root"
        ]
    return [
        f"this host lets a user mount no {step} ({reason}): a container needs --privileged; on "
        "Ubuntu run `sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0`; or run as root"
    ]


def _why_not_entered(reason: str) -> str:
    if any(str(file) in reason for file in _SUBORDINATE):
        return _wants_ids(f"this user has no subordinate ids ({reason})")
    if "map-auto" in reason:
        return f"unshare is older than util-linux 2.38 ({reason}): upgrade the system, or use root"
    return (
        f"this host forbids a user new namespaces ({reason}): a container needs --privileged; "
        "elsewhere run `sudo sysctl user.max_user_namespaces=10000` and, where it exists, "
        "`sudo sysctl kernel.unprivileged_userns_clone=1`; or run as root"
    )


def _wants_ids(what: str) -> str:
    first = max([_FIRST_ID, *(end for file in _SUBORDINATE for end in _ends(file))])
    block = f"{first}-{first + _IDS - 1}"
    return (
        f"{what}: run `sudo usermod --add-subuids {block} --add-subgids {block} "
        "$(id -un)`, or run as root"
    )


def _ends(file: Path) -> list[int]:
    """The first id after each range that somebody has."""
    try:
        lines = file.read_text().splitlines()
    except OSError:
        return []
    ranges = [line.split(":")[1:] for line in lines if line.count(":") == 2]
    return [int(first) + int(count) for first, count in ranges if (first + count).isdigit()]


def _registered() -> bool:
    return find_registration() is not None


def _sudo() -> str:
    return "" if os.geteuid() == 0 else "sudo "


def _run(argv: list[str]) -> subprocess.CompletedProcess[str]:
    """Run with messages in English, for they are read."""
    environment = os.environ | {"LC_ALL": "C"}
    return subprocess.run(
        argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, env=environment
    )

"""What this host lacks for virtual boards, each with the command that mends it."""

import importlib.util
import os
import shutil
import subprocess
from pathlib import Path

_COMMANDS = {
    "qemu-aarch64-static": "qemu-user-static",
    "mmdebstrap": "mmdebstrap",
    "unshare": "util-linux",
    "setpriv": "util-linux",
    "setsid": "util-linux",
    "mount": "mount",
}
_KEYS = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_FILE_SYSTEMS = {"overlay": "overlay", "binfmt_misc": "binfmt_misc"}


def missing() -> list[str]:
    """One line for each thing that lacks; empty when boards can be made and started here."""
    return [*_missing_packages(), *_missing_pip(), *_missing_rights()]


def _missing_packages() -> list[str]:
    lacking = {package for command, package in _COMMANDS.items() if shutil.which(command) is None}
    if not _KEYS.exists():
        lacking.add("debian-archive-keyring")
    names = " ".join(sorted(lacking))
    return [f"not installed: {names}; run `apt-get install {names}`"] if lacking else []


def _missing_pip() -> list[str]:
    if importlib.util.find_spec("pip") is not None:
        return []
    return ["this Python has no pip: run `python -m ensurepip`"]


def _missing_rights() -> list[str]:
    if os.geteuid() != 0:
        return ["virtual boards need root (mounts and namespaces): run the command with sudo"]
    probe = ["unshare", "--mount", "--pid", "--uts", "--ipc", "--fork", "true"]
    if shutil.which("unshare"):
        done = subprocess.run(probe, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            reason = done.stderr.strip()
            return [f"this host forbids new namespaces ({reason}): a container needs --privileged"]
    return [
        f"this kernel lacks {name}: run `modprobe {module}`"
        for name, module in _FILE_SYSTEMS.items()
        if not _has_file_system(name, module)
    ]


def _has_file_system(name: str, module: str) -> bool:
    if name in Path("/proc/filesystems").read_text().split():
        return True
    modprobe = shutil.which("modprobe")
    if modprobe is not None:
        subprocess.run([modprobe, "--quiet", module], capture_output=True, check=False)
    return name in Path("/proc/filesystems").read_text().split()

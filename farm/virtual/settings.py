"""The files that packages' maintainer scripts would have made, and the board's own settings."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from farm.virtual.commands import run_tool

USER = "edge"
UID = 58_000
"""Of the login user: above the host's people, below its services, so that it owns nothing there."""

PID_FILE = "sshd.pid"
"""In the board's /run; sshd writes it when it listens."""

_SSHD_CONFIG = f"""\
ListenAddress 127.0.0.1
HostKey /etc/ssh/ssh_host_ed25519_key
AuthorizedKeysFile /etc/ssh/authorized_keys/%u
PidFile /run/{PID_FILE}
AllowUsers {USER}
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
UseDNS no
PrintMotd no
MaxStartups 64
Subsystem sftp /usr/lib/openssh/sftp-server
"""

_FILES = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\n"
    "sshd:x:101:65534::/run/sshd:/usr/sbin/nologin\n"
    f"{USER}:x:{UID}:{UID}::/home/{USER}:/bin/sh\n"
    "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
    "etc/group": f"root:x:0:\ntty:x:5:\n{USER}:x:{UID}:\nnogroup:x:65534:\n",
    "etc/shadow": "".join(f"{name}:*:19000::::::\n" for name in ("root", "sshd", USER, "nobody")),
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\n",
    "etc/hosts": "127.0.0.1 localhost\n",
    "etc/ssh/sshd_config": _SSHD_CONFIG,
}
_FOLDERS = (
    *("dev", "proc", "root", "run", "sys", "tmp", "var/tmp"),
    *("etc/ssh", "home", f"home/{USER}"),
)
_OF_THE_HOST = ("etc/hostname", "etc/resolv.conf", "etc/apt/apt.conf.d/99mmdebstrap")
_DOCUMENTATION = ("usr/share/doc", "usr/share/locale", "usr/share/man")
_PERL = (
    *("usr/share/perl", "usr/share/perl5", "usr/lib/aarch64-linux-gnu/perl"),
    *("usr/lib/aarch64-linux-gnu/perl-base", "usr/lib/aarch64-linux-gnu/perl5"),
)
"""What Debian's sshd package asks for and sshd itself does not use."""
_KEPT_COMMANDS = ("busybox", "scp", "tini")


def write_settings(root: Path, *, busybox_only: bool) -> None:
    """Make an unpacked root file system start.

    Args:
        root: the root file system.
        busybox_only: a small board: busybox's commands in place of all others, no Perl.
    """
    for folder in _FOLDERS:
        make_folder(root / folder, 0o1777 if folder.endswith("tmp") else 0o755)
    for name, text in _FILES.items():
        write_file(root / name, text, 0o600 if name == "etc/shadow" else 0o644)
    for name in _OF_THE_HOST:
        (root / name).unlink(missing_ok=True)
    for name in (*_DOCUMENTATION, *(_PERL if busybox_only else ())):
        shutil.rmtree(root / name, ignore_errors=True)
    if busybox_only:
        link_commands(root, "busybox", "--list", kept=_KEPT_COMMANDS)


def make_folder(folder: Path, mode: int = 0o755) -> Path:
    """Make a folder that the board sees, with this mode whatever the umask is."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(mode)
    return folder


def write_file(file: Path, text: str, mode: int = 0o644) -> None:
    """Write a file that the board sees, with this mode whatever the umask is."""
    file.write_text(text)
    file.chmod(mode)


def link_commands(root: Path, program: str, *listing: str, kept: Sequence[str]) -> None:
    """Put the commands that one program is in place of all others but those kept.

    Args:
        root: the root file system.
        program: in its ``usr/bin``.
        listing: arguments with which it lists its commands.
        kept: names in ``usr/bin``.
    """
    names = run_tool(
        ["qemu-aarch64-static", "-L", str(root), str(root / "usr/bin" / program), *listing],
        board=root.name,
        what=f"asking {program} for its commands",
    ).split()
    for command in (root / "usr/bin").iterdir():
        if command.name not in kept:
            command.unlink()
    for name in names:
        if not any((root / folder / name).exists() for folder in ("usr/bin", "usr/sbin")):
            (root / "usr/bin" / name).symlink_to(program)

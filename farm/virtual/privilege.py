"""Root's rights over boards: the host's own root has them, another user within a user namespace.

In the namespace the user is root, and its subordinate ids (/etc/subuid) are the board's other
users. So files on the host belong to the user or to its subordinate ids, and only from within the
namespace can all of them be removed.
"""

import os
import pwd
from pathlib import Path

from farm.virtual.commands import run_tool
from harness.errors import UsageError

_USER_NAMESPACE = ("--user", "--map-root-user", "--map-auto")


def namespace_options() -> tuple[str, ...]:
    """What `unshare` is told besides, so that its command has root's rights; nothing for root."""
    return () if os.geteuid() == 0 else _USER_NAMESPACE


def remove_tree(folder: Path) -> None:
    """Remove a folder, if it is there, with all that a board's users left in it.

    Raises:
        DeviceError: it cannot be removed.
    """
    entering = ("unshare", *options) if (options := namespace_options()) else ()
    run_tool(
        [*entering, "rm", "-rf", "--", str(folder)],
        board=folder.name,
        what=f"removing {folder}",
    )


def own_folder(folder: Path) -> Path:
    """Make the folder if need be.

    Raises:
        UsageError: it is another user's: in a namespace, its files would be nobody's.
    """
    folder.mkdir(parents=True, exist_ok=True)
    owner = folder.stat().st_uid
    if owner != os.geteuid():
        raise UsageError(
            f"{folder} belongs to the user {_user_name(owner)}, and boards are their user's own: "
            f"run this as {_user_name(owner)}, or set EDGEFARM_HOME to another folder"
        )
    return folder


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)

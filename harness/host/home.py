"""The folder where edgefarm keeps what outlives a command: inventory, boards, caches."""

import os
from pathlib import Path

import platformdirs

from harness.errors import UsageError


def home() -> Path:
    """``$EDGEFARM_HOME``, else the platform's data folder of this user; absolute, made if absent.

    An empty ``EDGEFARM_HOME`` counts as unset.

    Raises:
        UsageError: it is no folder, or cannot be made or used.
    """
    named = os.environ.get("EDGEFARM_HOME")
    folder = Path(named) if named else Path(platformdirs.user_data_dir("edgefarm"))
    try:
        folder = folder.expanduser().absolute()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        usable = os.access(folder, os.R_OK | os.W_OK | os.X_OK)
        reason = "" if usable else "this user may not write into it"
    except OSError as error:
        reason = error.strerror or str(error)
    except (RuntimeError, ValueError) as error:  # no such user's home; a NUL
        reason = str(error)
    if reason:
        raise UsageError(
            f"home folder {folder}: cannot be used: {reason}; set EDGEFARM_HOME to a folder that "
            "this user can write"
        )
    return folder

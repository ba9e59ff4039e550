"""The folder where edgefarm keeps what outlives a command: inventory, boards, caches."""

import os
from pathlib import Path

import platformdirs


def home() -> Path:
    """``$EDGEFARM_HOME``, else the platform's data folder of this user; absolute, made if absent.

    An empty ``EDGEFARM_HOME`` counts as unset.
    """
    named = os.environ.get("EDGEFARM_HOME")
    folder = Path(named) if named else Path(platformdirs.user_data_dir("edgefarm"))
    folder = folder.expanduser().absolute()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder

"""Qualcomm's libraries, as the user installed them: where they are, and leave to use them.

Nothing of Qualcomm's is in edgefarm. The x86-64 wheel of onnxruntime-qnn carries the compiler and
the emulator of the Hexagon tensor processor; the tree that LiteRT's compiler plug-in wants is made
of links to them, in the user's cache.
"""

import os
from importlib.metadata import version
from pathlib import Path

from harness.errors import UsageError
from harness.host.cache import Cache, content_key, default_cache
from harness.host.extras import require_extra
from harness.host.home import home
from targets.hexagon.elf import empty_shared_object

ACCEPT_VARIABLE = "EDGEFARM_ACCEPT_QUALCOMM_LICENSE"
_ACCEPTED_FILE = "qualcomm-license-accepted"
_EMPTY = "libQnnLpai.so"


def accept_licence() -> None:
    """Keep, in edgefarm's home, that the user has accepted Qualcomm's licence."""
    (home() / _ACCEPTED_FILE).write_text(f"onnxruntime-qnn {version('onnxruntime-qnn')}\n")


def require_licence() -> None:
    """Check that Qualcomm's licence has been accepted.

    Raises:
        UsageError: it has not; the message says what it is, where to read it and how to accept it.
    """
    if os.environ.get(ACCEPT_VARIABLE) == "1" or (home() / _ACCEPTED_FILE).exists():
        return
    raise UsageError(
        "the Hexagon compiler and emulator are Qualcomm's, under the Qualcomm AI Stack License, "
        f"which you find in {library_folder() / 'Qualcomm_LICENSE.pdf'}: use in your own "
        "applications is allowed, redistribution and reverse engineering are not. If you accept "
        f"it, say so once with --accept-qualcomm-license, or set {ACCEPT_VARIABLE}=1"
    )


def library_folder() -> Path:
    """The folder of Qualcomm's libraries.

    Raises:
        UsageError: onnxruntime-qnn is not installed.
    """
    require_extra("hexagon", "onnxruntime", "onnxruntime_qnn", "onnx")
    import onnxruntime_qnn

    return Path(onnxruntime_qnn.LIB_DIR_FULL_PATH)


def qairt_version() -> str:
    """Version of Qualcomm's libraries, e.g. ``2.51.0``."""
    library_folder()
    from onnxruntime_qnn import build_and_package_info

    return str(build_and_package_info.qnn_version)


def plugin_libraries() -> Path:
    """The folder of libraries that LiteRT's compiler plug-in loads, made when first needed.

    The libraries look for their own beside that folder. The plug-in does not load without
    libQnnLpai.so either, which the wheel does not carry: an empty one will do.
    """
    source, cache = library_folder(), default_cache()
    key = content_key({"folder": str(source), "version": version("onnxruntime-qnn")})
    stored = cache.entry("qairt", key)
    if not stored.is_dir():
        _make_tree(source, cache, key)
    return stored / "lib" / "x86_64-linux-clang"


def _make_tree(source: Path, cache: Cache, key: str) -> None:
    with cache.fill("qairt", key) as folder:
        libraries = folder / "lib" / "x86_64-linux-clang"
        libraries.mkdir(parents=True)
        for file in (*source.glob("libQnn*.so"), source / "libHtpPrepare.so"):
            (libraries / file.name).symlink_to(file)
        (libraries / _EMPTY).write_bytes(empty_shared_object(_EMPTY))
        own = source.parent / "onnxruntime_qnn.libs"
        (folder / "lib" / own.name).symlink_to(own)

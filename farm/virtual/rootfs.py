"""The root file systems that boards and phones share, one for each kind: built once, then kept.

A root file system is unpacked Debian arm64 packages and aarch64 wheels; no program of theirs runs
while it is built except Python, to load the runtime once: that proves that it loads, and leaves
its byte code behind.
"""

import hashlib
import json
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from farm.virtual.commands import DIES_WITH_CREATOR, run_tool
from farm.virtual.debian import mirror_arguments
from farm.virtual.locks import locked
from farm.virtual.phone.system import write_system
from farm.virtual.privilege import namespace_options, own_folder, remove_tree
from farm.virtual.settings import write_settings
from harness.host.progress import Progress

RuntimeKind = Literal["ai-edge-litert", "tflite-runtime", "none"]
RootfsKind = RuntimeKind | Literal["phone"]

SITE_PACKAGES = "usr/local/lib/python3.11/dist-packages"
_FORMAT = 2  # raise it when a change of this package makes old root file systems unfit
_SUITE = "bookworm"
_PLATFORMS = tuple(f"manylinux{name}_aarch64" for name in ("_2_34", "_2_28", "_2_27", "2014"))
_SERVER = ("busybox", "libgcc-s1", "libstdc++6", "openssh-server", "tini")
_DEBIAN = (
    *("base-files", "bash", "coreutils", "dash", "findutils", "grep", "gzip", "hostname", "mount"),
    *("procps", "python3", "sed", "tar", "util-linux"),
)


@dataclass(frozen=True)
class RootfsSpec:
    """What goes into a root file system.

    Attributes:
        kind: the inference runtime it carries, or ``phone``: none, and the ways of Android.
        packages: of Debian, their dependencies follow.
        wheels: pinned, without their dependencies: a runner needs no more than these.
        loads: Python module that must load.
        format_version: see `_FORMAT`.
    """

    kind: RootfsKind
    packages: tuple[str, ...]
    wheels: tuple[str, ...] = ()
    loads: str | None = None
    format_version: int = _FORMAT

    @property
    def folder_name(self) -> str:
        """Names the contents, so that a changed spec is another folder."""
        text = json.dumps(asdict(self), sort_keys=True)
        return f"{self.kind}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


SPECS: dict[RootfsKind, RootfsSpec] = {
    "ai-edge-litert": RootfsSpec(
        "ai-edge-litert",
        (*_SERVER, *_DEBIAN),
        ("ai-edge-litert==2.3.0", "ml-dtypes==0.5.4", "numpy==2.4.6"),
        "ai_edge_litert.interpreter",
    ),
    "tflite-runtime": RootfsSpec(
        "tflite-runtime",
        (*_SERVER, *_DEBIAN),
        ("tflite-runtime==2.14.0", "numpy==1.26.4"),
        "tflite_runtime.interpreter",
    ),
    "none": RootfsSpec("none", _SERVER),
    "phone": RootfsSpec(
        "phone", ("libgcc-s1", "libstdc++6", "mksh", "toybox"), format_version=_FORMAT + 1
    ),
}


def ensure_rootfs(kind: RootfsKind, home: Path, progress: Progress) -> str:
    """Build the root file system of this kind unless it is there.

    Whoever builds holds a lock. The build happens in a folder of its own and is renamed when
    complete, so a builder that was killed leaves at worst a folder that the next one removes.

    Returns:
        Its folder's name under ``home/rootfs``.

    Raises:
        DeviceError: the packages or wheels cannot be had; the command and its words are in it.
    """
    spec = SPECS[kind]
    shelf = own_folder(home / "rootfs")
    final = shelf / spec.folder_name
    if final.is_dir():
        return final.name
    reason = f"another process builds the root file system {kind}"
    with locked(shelf / f".lock-{kind}", reason, progress) as lock:
        if not final.is_dir():
            for left_behind in shelf.glob(f".{kind}-*"):
                remove_tree(left_behind)
            building = Path(tempfile.mkdtemp(prefix=f".{spec.folder_name}-", dir=shelf))
            building.chmod(0o755)
            try:
                _build(spec, building, lock, progress)
                building.rename(final)
            finally:
                remove_tree(building)
    return final.name


def _build(spec: RootfsSpec, root: Path, lock: int, progress: Progress) -> None:
    steps = 4
    progress(f"unpacking Debian {_SUITE} arm64 for {spec.kind}", 0, steps)
    _unpack_packages(spec, root, lock)
    progress("unpacking aarch64 wheels", 1, steps)
    if spec.wheels:
        _unpack_wheels(spec, root, lock)
    progress("writing the board's settings", 2, steps)
    if spec.kind == "phone":
        write_system(root)
    else:
        write_settings(root, busybox_only=spec.loads is None)
    progress("loading the runtime once", 3, steps)
    if spec.loads:
        _load_once(spec, root, lock)
    progress(f"root file system {spec.kind} is complete", steps, steps)


def _unpack_packages(spec: RootfsSpec, root: Path, lock: int) -> None:
    merged_usr = 'for d in bin lib sbin; do mkdir -p "$1/usr/$d"; ln -s "usr/$d" "$1/$d"; done'
    # In a pid namespace of its own, so that its children go with it when it is killed.
    alone = ("--mount", "--pid", "--mount-proc", "--fork", "--kill-child=KILL")
    run_tool(
        [
            *(*DIES_WITH_CREATOR, "unshare", *namespace_options(), *alone),
            *("mmdebstrap", "--mode=root", "--variant=extract"),
            *("--architectures=arm64", "--components=main"),
            f"--include={','.join(spec.packages)}",
            f"--setup-hook={merged_usr}",
            *mirror_arguments(_SUITE, root),
        ],
        board=f"rootfs {spec.kind}",
        what="unpacking Debian packages",
        lock=lock,
    )


def _unpack_wheels(spec: RootfsSpec, root: Path, lock: int) -> None:
    run_tool(
        [
            *(*DIES_WITH_CREATOR, sys.executable, "-P", "-m", "pip", "install", "--quiet"),
            *("--disable-pip-version-check", "--no-compile", "--no-deps"),
            *("--only-binary=:all:", "--python-version=311"),
            *(f"--platform={platform}" for platform in _PLATFORMS),
            f"--target={root / SITE_PACKAGES}",
            *spec.wheels,
        ],
        board=f"rootfs {spec.kind}",
        what="fetching aarch64 wheels",
        lock=lock,
    )


def _load_once(spec: RootfsSpec, root: Path, lock: int) -> None:
    run_tool(
        [
            *(*DIES_WITH_CREATOR, "qemu-aarch64-static", "-cpu", "cortex-a53", "-L", str(root)),
            # Isolated from our environment, which may say that no byte code is to be written.
            *(str(root / "usr/bin/python3"), "-I", "-c"),
            f"import sys; sys.path.append({str(root / SITE_PACKAGES)!r}); "
            f"import argparse, ctypes, hashlib, json, platform, resource, {spec.loads}",
        ],
        board=f"rootfs {spec.kind}",
        what=f"loading {spec.loads} under QEMU",
        lock=lock,
    )

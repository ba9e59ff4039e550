"""Checks one device by asking it: what ``edgefarm device check`` shows.

What the device answers is untrusted: it is cut to short printable text before it is shown.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from farm.golden import Golden, golden_target, run_golden
from harness.device import Connect, Device, Transport
from harness.errors import DeviceError, HostKeyChanged, UsageError
from harness.host.progress import Progress, no_progress
from harness.records import Outcome
from harness.target import Target
from targets import TARGETS, get_target

LEAST_FREE_BYTES = 256 << 20
_TIMEOUT_S = 60.0
_SHOWN_CHARS = 200
_MOST_BYTES = 64 << 10

_TOOLS = ("setsid", "head", "cat", "sleep", "tar", "wc", "mv", "rm", "mkdir")

_ASK_SHELL = f"""
echo "machine $(uname -m)"
umask 077
if mkdir -p "$1" && [ -O "$1" ] && [ -w "$1" ]; then echo "workdir ours"; fi
echo "free $(df -Pk "$1" | tail -n 1)"
for tool in {" ".join(_TOOLS)}; do
  command -v "$tool" >/dev/null || echo "lacking $tool"
done
for tool in sha256sum "busybox sha256sum" "toybox sha256sum"; do
  if $tool </dev/null >/dev/null 2>&1; then echo "digest $tool"; break; fi
done
"""

# Nothing of the folder that it happens to start in; older ones than 3.11 have no option for that.
_ASK_PYTHON = """
import sys
sys.path[:] = [place for place in sys.path if place]
import importlib.metadata, importlib.util, platform
print("python", platform.python_version())
for name in sys.argv[1:]:
    if importlib.util.find_spec(name):
        try:
            version = importlib.metadata.version(name.replace("_", "-"))
        except importlib.metadata.PackageNotFoundError:
            version = "of unknown version"
        print("package", name, version)
"""


@dataclass(frozen=True)
class CheckItem:
    """One thing that was looked at.

    Attributes:
        name: e.g. ``free space``.
        ok: whether the device can do its work with it.
        found: what there is, in words.
        remedy: what to do about it; empty when it is ok.
    """

    name: str
    ok: bool
    found: str
    remedy: str = ""


@dataclass(frozen=True)
class DeviceCheck:
    """All that was looked at on a device, in order; what needs a connection lacks without one."""

    device: str
    items: tuple[CheckItem, ...]

    @property
    def ok(self) -> bool:
        """Whether every item is."""
        return all(item.ok for item in self.items)


def check_device(device: Device, connect: Connect) -> DeviceCheck:
    """Connect to a device and look at what its targets need; trouble is an item, not an error."""
    items: list[CheckItem] = []
    add_again = f"if it was set up anew: `edgefarm device remove {device.name}`, then add it again"
    try:
        with connect(device) as transport:
            items += _reached(device)
            items += _look(device, transport)
    except HostKeyChanged as error:
        items.append(CheckItem("host key", False, error.message, add_again))
    except DeviceError as error:
        items.append(
            CheckItem("connection", False, error.message, "is it on, and its address right?")
        )
    except UsageError as error:
        items.append(CheckItem("entry", False, str(error), "correct its entry in the inventory"))
    return DeviceCheck(device.name, tuple(items))


def check_golden(
    device: Device,
    connect: Connect,
    *,
    golden: Golden = Golden(),  # noqa: B008  frozen
    progress: Progress = no_progress,
) -> CheckItem | None:
    """Run the golden model on a device; None when none of its targets takes it."""
    target = golden_target(device)
    if target is None:
        return None
    run = run_golden(device, target, connect, golden=golden, progress=progress)
    outputs = run.exactness.outputs if run.exactness else ()
    differing = sum(output.differing or 0 for output in outputs)
    if run.outcome is Outcome.PASS:
        elements = sum(output.elements for output in outputs)
        return CheckItem("golden model", True, f"0 of {elements} elements differ on {target.name}")
    found = "; ".join(run.reasons) or f"{differing} elements differ"
    wrong = "another version of the runtime, or a faulty machine: compare with another device"
    remedy = wrong if run.outcome is Outcome.FAIL else "see above; then check it again"
    return CheckItem("golden model", False, found, remedy)


def _reached(device: Device) -> Iterator[CheckItem]:
    address = device.address
    user = f"{address.user}@" if address.user else ""
    where = f" {user}{address.host}:{address.port}" if address.host else ""
    yield CheckItem("connection", True, f"{device.transport}{where}")
    if device.host_key is not None:
        yield CheckItem("host key", True, device.host_key)


def _look(device: Device, transport: Transport) -> Iterator[CheckItem]:
    told = _ask(transport, ("sh", "-c", _ASK_SHELL, "sh", device.workdir))
    targets = [get_target(name) for name in device.targets]
    machine = told.get("machine", ["unknown"])[0]
    wanted = sorted({target.machine for target in targets if target.machine} - {machine})
    yield _item("machine", not wanted, machine, f"its targets are for {', '.join(wanted)}")
    yield _item(
        "work folder",
        told.get("workdir") == ["ours"],
        device.workdir,
        "must be, or be made, a folder that the login user owns and can write to",
    )
    free = _free_bytes(told.get("free", [""])[0])
    yield _item(
        "free space",
        free is not None and free >= LEAST_FREE_BYTES,
        "unknown" if free is None else f"{free >> 20} MiB",
        f"free {LEAST_FREE_BYTES >> 20} MiB under {device.workdir}",
    )
    lacking = told.get("lacking", [])
    yield _item(
        "tools",
        not lacking,
        f"lacking: {', '.join(lacking)}" if lacking else "all",
        "install busybox, toybox or coreutils, util-linux and tar",
    )
    digest = told.get("digest", ["none"])[0]
    yield _item("sha256", digest != "none", digest, "install sha256sum, or busybox with it")
    yield from _look_at_runtimes(device, transport, targets)


def _look_at_runtimes(
    device: Device, transport: Transport, targets: Sequence[Target]
) -> Iterator[CheckItem]:
    runtimes = {target.runtime for target in targets}
    if device.python is None:
        native = all(target.native_runner is not None for target in targets)
        remedy = "its targets need Python; install it and set python in its entry"
        yield _item("python", native, "none", remedy)
        return
    wanted = {one.runtime: one.packages for one in (*TARGETS.values(), *targets) if one.packages}
    asked = [name for names in wanted.values() for name in names]
    told = _ask(transport, (device.python, "-c", _ASK_PYTHON, *asked))
    version = told.get("python", [""])[0]
    found = f"{device.python} {version or 'does not run'}"
    remedy = "install Python 3, or correct python in its entry (empty: it has none)"
    yield _item("python", bool(version), found, remedy)
    packages = told.get("package", [])
    brought = {target.runtime for target in targets if target.native_first}
    for runtime, names in wanted.items():
        has = [package for package in packages if package.split()[0] in names]
        if runtime in brought and not has:
            yield _item(f"runtime {runtime}", True, "none; the native runner brings it", "")
        elif has or runtime in runtimes:
            remedy = f"install {' or '.join(names)} for {device.python} on the device"
            yield _item(f"runtime {runtime}", bool(has), ", ".join(has) or "none", remedy)


def _item(name: str, ok: bool, found: str, remedy: str) -> CheckItem:
    return CheckItem(name, ok, found, "" if ok else remedy)


def _ask(transport: Transport, argv: Sequence[str]) -> dict[str, list[str]]:
    """What a command prints, by the first word of each line."""
    result = transport.run(argv, timeout_s=_TIMEOUT_S, max_output_bytes=_MOST_BYTES)
    told: dict[str, list[str]] = {}
    for line in result.stdout.decode(errors="replace").splitlines():
        word, _, rest = "".join(c if c.isprintable() else "?" for c in line).partition(" ")
        if rest.strip():
            told.setdefault(word, []).append(rest.strip()[:_SHOWN_CHARS])
    return told


def _free_bytes(line: str) -> int | None:
    """The fourth field of ``df -Pk``."""
    fields = line.split()
    if len(fields) < 6 or not re.fullmatch("[0-9]{1,18}", fields[3]):
        return None
    return int(fields[3]) << 10

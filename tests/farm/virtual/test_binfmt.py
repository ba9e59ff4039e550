"""Registration with the kernel, in a user namespace: there binfmt_misc is a fresh one."""

import subprocess
import sys

import pytest

from farm.virtual.requirements import missing

ISOLATED = ["unshare", "--user", "--map-root-user", "--mount"]
PROGRAM = """
import subprocess
from pathlib import Path
from farm.virtual.binfmt import ensure_registered
folder = Path("/proc/sys/fs/binfmt_misc")
fresh = ["mount", "-t", "binfmt_misc", "binfmt_misc", str(folder)]
subprocess.run(fresh, check=True)
print("before", *sorted(entry.name for entry in folder.iterdir()))
{planted}
ensure_registered("test")
ensure_registered("test")
print("after", *sorted(entry.name for entry in folder.iterdir()))
"""
# As Debian's package writes it, but with flags to choose.
PLANT = """
magic = r"\\x7fELF\\x02\\x01\\x01\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x02\\x00\\xb7\\x00"
rule = f":qemu-aarch64:M::{{magic}}::/usr/bin/qemu-aarch64-static:{flags}"
(folder / "register").write_text(rule)
"""


def registered(planted: str = "") -> list[str]:
    program = PROGRAM.format(planted=planted)
    done = subprocess.run(
        [*ISOLATED, sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    if "unshare" in done.stderr or "mount:" in done.stderr:
        pytest.skip(f"no own binfmt_misc in a user namespace here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    before, after = done.stdout.splitlines()
    assert before == "before register status"
    return [name for name in after.split()[1:] if name not in {"register", "status"}]


@pytest.fixture(autouse=True)
def _needs_qemu() -> None:
    if lacking := missing():
        pytest.skip("; ".join(lacking))


def test_registers_once_where_nothing_is() -> None:
    assert registered() == ["edgefarm-aarch64"]


def test_takes_the_registration_that_the_package_made() -> None:
    assert registered(PLANT.format(flags="OPF")) == ["qemu-aarch64"]


def test_adds_its_own_beside_one_that_needs_qemu_inside_the_board() -> None:
    assert registered(PLANT.format(flags="O")) == ["edgefarm-aarch64", "qemu-aarch64"]

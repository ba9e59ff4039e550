"""What runs on a started board, over a real SSH connection."""

import base64
import hashlib

import paramiko
import pytest

from harness.device import Device


def host_key_fingerprint(key: paramiko.PKey) -> str:
    digest = hashlib.sha256(key.asbytes()).digest()
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


class PinnedKey(paramiko.MissingHostKeyPolicy):
    def __init__(self, fingerprint: str | None) -> None:
        self.fingerprint = fingerprint

    def missing_host_key(
        self, _client: paramiko.SSHClient, _hostname: str, key: paramiko.PKey
    ) -> None:
        assert host_key_fingerprint(key) == self.fingerprint


def connect(device: Device) -> paramiko.SSHClient:
    client = paramiko.SSHClient()
    client.set_missing_host_key_policy(PinnedKey(device.host_key))
    address = device.address
    client.connect(
        address.host,
        address.port,
        address.user,
        key_filename=address.key_file,
        allow_agent=False,
        look_for_keys=False,
        timeout=20,
    )
    return client


def run(device: Device, command: str, stdin: bytes = b"") -> str:
    with connect(device) as client:
        source, output, errors = client.exec_command(command, timeout=120)
        source.write(stdin)
        source.channel.shutdown_write()
        text = output.read().decode()
        assert output.channel.recv_exit_status() == 0, errors.read().decode()
    return text


@pytest.fixture(params=["cortex-a53", "cortex-a76"])
def board(request: pytest.FixtureRequest) -> Device:
    return request.getfixturevalue(request.param.replace("-", "_"))


def test_is_an_aarch64_debian_of_its_own_name(board: Device) -> None:
    words = run(board, "uname -m; hostname; . /etc/os-release; echo $ID; id -un").split()
    assert words == ["aarch64", board.name, "debian", "edge"]


HWCAP_BITS = [
    *("fp", "asimd", "evtstrm", "aes", "pmull", "sha1", "sha2", "crc32", "atomics", "fphp"),
    *("asimdhp", "cpuid", "asimdrdm", "jscvt", "fcma", "lrcpc", "dcpop", "sha3", "sm3", "sm4"),
    *("asimddp", "sha512", "sve", "asimdfhm", "dit", "uscat", "ilrcpc", "flagm", "ssbs", "sb"),
]


def test_cpuinfo_tells_the_capabilities_of_the_emulated_core(board: Device) -> None:
    program = (
        "import ctypes; get = ctypes.CDLL(None).getauxval; get.restype = ctypes.c_ulong\n"
        "print(get(ctypes.c_ulong(16)))"
    )
    hwcap = int(run(board, "python3", program.encode()))
    features = run(board, "grep -m1 ^Features /proc/cpuinfo").partition(":")[2].split()
    assert set(features) == {name for bit, name in enumerate(HWCAP_BITS) if hwcap >> bit & 1}


def test_sees_nothing_of_the_host(board: Device) -> None:
    listing = run(board, "ls -A /; cut -d' ' -f2 /proc/mounts; ps -e -o comm=").split()
    assert ".host" not in listing
    assert not [entry for entry in listing if entry.startswith(("/mnt", "/.host", "systemd"))]
    assert run(board, "cat /proc/1/comm").strip() in {"tini", "qemu-aarch64-st"}

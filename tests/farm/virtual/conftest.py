"""Real SSH to a board, by paramiko itself: the transport has tests of its own."""

import base64
import hashlib
from collections.abc import Callable

import paramiko
import pytest

from harness.device import Device

Shell = Callable[..., str]


class PinnedKey(paramiko.MissingHostKeyPolicy):
    def __init__(self, fingerprint: str | None) -> None:
        self.fingerprint = fingerprint

    def missing_host_key(
        self, _client: paramiko.SSHClient, _hostname: str, key: paramiko.PKey
    ) -> None:
        digest = hashlib.sha256(key.asbytes()).digest()
        assert self.fingerprint == "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


def connect(device: Device) -> paramiko.SSHClient:
    client = paramiko.SSHClient()
    client.set_missing_host_key_policy(PinnedKey(device.host_key))
    client.connect(
        device.address.host,
        device.address.port,
        device.address.user,
        key_filename=device.address.key_file,
        allow_agent=False,
        look_for_keys=False,
        timeout=20,
    )
    return client


@pytest.fixture(scope="session")
def shell() -> Shell:
    """Call with (device, command, stdin) for what it printed; it must exit with 0."""

    def run(device: Device, command: str, stdin: bytes = b"") -> str:
        with connect(device) as client:
            source, output, errors = client.exec_command(command, timeout=120)
            source.write(stdin)
            source.channel.shutdown_write()
            text = output.read().decode()
            assert output.channel.recv_exit_status() == 0, errors.read().decode()
        return text

    return run

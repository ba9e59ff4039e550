"""The contract of Transport.run and close, on every transport."""

import os
import time
import uuid

import pytest

from farm.transports import connect
from harness.device import Device, Transport
from harness.errors import DeviceTimeout, TransportError, UsageError
from tests.farm.transports.conftest import shell

AWKWARD = ("a b", "", "'", '"$HOME"', "`id`", "*", "-n", "--", "ü\n\t", "\\", ";&|<>!#~")


def marker() -> str:
    """A number of seconds to sleep that no other process has on its command line."""
    return str(10**8 + uuid.uuid4().int % 10**8)


def assert_dies(transport: Transport, mark: str) -> None:
    """Nothing on the device has this word on its command line any more."""
    deadline = time.monotonic() + 10
    while mark.encode() in shell(transport, "cat /proc/[0-9]*/cmdline 2>/dev/null || true"):
        assert time.monotonic() < deadline, "it survived"
        time.sleep(0.2)


def test_tells_status_and_streams_apart(transport: Transport) -> None:
    argv = ("sh", "-c", "echo out; echo err >&2; exit 3")
    result = transport.run(argv, timeout_s=60)
    assert (result.argv, result.exit_status) == (argv, 3)
    assert (result.stdout, result.stderr) == (b"out\n", b"err\n")


def test_hands_arguments_over_as_they_are(transport: Transport) -> None:
    result = transport.run(("printf", "%s\\0", *AWKWARD), timeout_s=60)
    assert result.stdout.split(b"\0")[:-1] == [word.encode() for word in AWKWARD]


def test_a_missing_program_is_a_result(transport: Transport) -> None:
    result = transport.run(["no-such-program"], timeout_s=60)
    assert result.exit_status == 127
    assert b"no-such-program" in result.stderr


@pytest.mark.parametrize("signal", [9, 11, 15])
def test_a_signal_is_a_negative_status(transport: Transport, signal: int) -> None:
    result = transport.run(("sh", "-c", f"kill -{signal} $$"), timeout_s=60)
    assert result.exit_status == -signal
    assert b"sh:" not in result.stderr  # QEMU may have its say about a core dump, no shell


def test_binary_data_goes_through_unchanged(transport: Transport) -> None:
    data = os.urandom(3 << 20)
    result = transport.run(["cat"], timeout_s=60, stdin=data)
    assert result.stdout == data


def test_without_stdin_the_command_reads_its_end(transport: Transport) -> None:
    assert transport.run(["cat"], timeout_s=60).exit_status == 0


def test_stdin_that_nobody_reads_does_no_harm(transport: Transport) -> None:
    result = transport.run(["echo", "done"], timeout_s=60, stdin=bytes(1 << 20))
    assert (result.exit_status, result.stdout) == (0, b"done\n")


def test_both_streams_full_at_once(transport: Transport) -> None:
    script = "for i in 1 2 3 4; do head -c 200000 /dev/zero; head -c 200000 /dev/zero >&2; done"
    result = transport.run(("sh", "-c", script), timeout_s=60)
    assert (len(result.stdout), len(result.stderr)) == (800_000, 800_000)


def test_endless_output_is_cut_and_the_command_killed(transport: Transport) -> None:
    mark = marker()
    script = f"sleep {mark} & cat /dev/zero"
    with pytest.raises(TransportError, match="more than 100000 bytes"):
        transport.run(("sh", "-c", script), timeout_s=60, max_output_bytes=100_000)
    assert_dies(transport, mark)


def test_at_the_limit_the_whole_group_is_killed(transport: Transport) -> None:
    mark = marker()
    deaf = f"(trap '' TERM HUP; sleep {mark})"
    script = f"printf 'tale \\033[31m\\n' >&2; {deaf} & sleep {mark} | sleep {mark}"
    with pytest.raises(DeviceTimeout, match="has been killed") as caught:
        transport.run(("sh", "-c", script), timeout_s=2)
    assert caught.value.stderr_tail == "tale ?[31m\n"
    assert caught.value.argv[0] == "sh"
    assert caught.value.device == transport.device.name
    assert_dies(transport, mark)


def test_at_the_limit_a_command_that_reads_no_stdin_is_killed(transport: Transport) -> None:
    mark = marker()
    with pytest.raises(DeviceTimeout, match="has been killed"):
        transport.run(["sleep", mark], timeout_s=1, stdin=bytes(8 << 20))
    assert_dies(transport, mark)


def test_nothing_outlives_its_command(transport: Transport) -> None:
    mark = marker()
    result = transport.run(("sh", "-c", f"sleep {mark} & echo left"), timeout_s=60)
    assert (result.exit_status, result.stdout) == (0, b"left\n")
    assert_dies(transport, mark)


@pytest.mark.parametrize("argv", [[], ["echo", "a\0b"], ["echo", "x" * 200_000]])
def test_refuses_what_is_no_command(transport: Transport, argv: list[str]) -> None:
    with pytest.raises(UsageError, match=r"command"):
        transport.run(argv, timeout_s=60)


def test_close_twice(device: Device) -> None:
    with connect(device) as opened:
        assert opened.device == device
        opened.close()
        opened.close()
        with pytest.raises(TransportError, match="closed"):
            opened.run(["true"], timeout_s=60)

"""The contract of Transport.run and close, on every transport."""

import os
import time
import uuid

import pytest

from farm.transports import connect
from farm.transports.command import _End
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


def end_all(transport: Transport, mark: str) -> None:
    """End what runs on the device with this word on its command line."""
    shell(
        transport,
        'for p in /proc/[0-9]*; do case "$(tr "\\0" " " <"$p/cmdline" 2>/dev/null)" in\n'
        '  *"sleep $1"*) kill -9 "${p#/proc/}" 2>/dev/null;; esac; done; true',
        mark,
    )


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


def test_what_is_left_behind_with_the_output_open_does_not_hang_the_host(
    transport: Transport,
) -> None:
    mark = marker()
    began = time.monotonic()
    left = f"setsid sh -c 'sleep {mark}' & setsid sh -c 'sleep {mark}' & echo out; echo err >&2"
    result = transport.run(("sh", "-c", f"{left}; exit 3"), timeout_s=60)
    assert (result.exit_status, result.stdout, result.stderr) == (3, b"out\n", b"err\n")
    assert time.monotonic() - began < 20
    end_all(transport, mark)
    assert_dies(transport, mark)


def test_what_is_left_behind_does_not_make_a_time_limit_longer(transport: Transport) -> None:
    mark = marker()
    began = time.monotonic()
    with pytest.raises(DeviceTimeout, match="has been killed"):
        transport.run(("sh", "-c", f"setsid sh -c 'sleep {mark}' & sleep {mark}"), timeout_s=2)
    assert time.monotonic() - began < 20
    assert shell(transport, "echo usable") == b"usable\n"
    end_all(transport, mark)


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


def test_the_mark_of_a_command_s_end_is_found_wherever_pieces_break() -> None:
    mark = b"edgefarm-end-0123:"
    printed = b"out edgefarm-end-\nedgefarm-end-0123:x\nedgefarm-end-" + mark + b"137\nlater"
    for size in range(1, len(printed)):
        end = _End(mark)
        pieces = [printed[at : at + size] for at in range(0, len(printed), size)]
        kept = b"".join(end.cut(piece) for piece in pieces) + end.rest()
        assert (kept, end.status) == (printed[: printed.index(mark + b"1")], 137), size


def test_a_stream_without_a_mark_loses_nothing() -> None:
    end = _End(b"edgefarm-end-0123:")
    assert end.cut(b"all of it, edgefarm-end-0") + end.rest() == b"all of it, edgefarm-end-0"
    assert end.status is None


def test_a_forged_mark_is_not_kept_in_memory() -> None:
    end = _End(b"edgefarm-end-0123:")
    endless = b"edgefarm-end-0123:" + b"9" * (1 << 20)
    assert sum(len(end.cut(endless)) for _ in range(4)) >= 3 * len(endless)

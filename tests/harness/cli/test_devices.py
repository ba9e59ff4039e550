"""`edgefarm device add`: what it takes for an address."""

import socket

import pytest

from tests.harness.cli.command import Edgefarm

TARGET = ("--target", "arm-neon-litert")


@pytest.mark.parametrize(
    "place", ["pi.example", "pi@", "@pi", "pi@pi:", "pi@pi:0", "pi@pi:65536", "pi@pi:x", "pi@::1"]
)
def test_an_address_that_is_none(edgefarm: Edgefarm, place: str) -> None:
    said = edgefarm("device", "add", "one", "--ssh", place, *TARGET)
    assert said.code == 2
    assert f"--ssh {place}: expected USER@HOST" in said.err


def test_a_numeric_ipv6_address_stands_in_brackets(edgefarm: Edgefarm) -> None:
    with socket.socket(socket.AF_INET6) as closed:
        try:
            closed.bind(("::1", 0))
        except OSError:
            pytest.skip("this host has no IPv6 loopback")
        port = closed.getsockname()[1]
        said = edgefarm("device", "add", "one", "--ssh", f"pi@[::1]:{port}", *TARGET)
    assert said.code == 3
    assert f"device ::1:{port}" in said.err

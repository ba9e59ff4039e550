"""Devices that several tests of the farm use."""

from collections.abc import Callable

import pytest

from harness.device import Device


@pytest.fixture(scope="session")
def busybox_board(started_board: Callable[[str, str], Device]) -> Device:
    """A board with busybox and sshd, and nothing else."""
    return started_board("cortex-a53", "none")

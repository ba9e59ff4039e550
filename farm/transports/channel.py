"""Channel: one shell command running at the other end of a connection.

All that a kind of connection has to provide; everything else is written once, above it.
"""

from collections.abc import Callable
from enum import Enum
from typing import Protocol


class Stream(Enum):
    """Where a piece of output came from."""

    STDOUT = "stdout"
    STDERR = "stderr"


class Channel(Protocol):
    """A running command: what it prints, what it is fed, how it ended.

    `send` and `end_input` are called by one thread while another is in `receive`. Every method
    but `close` raises OSError when the connection is lost.
    """

    def receive(self, timeout_s: float) -> tuple[Stream, bytes] | None:
        """Wait for the next piece of output; None at the end of both streams.

        Raises:
            TimeoutError: nothing came.
        """

    def send(self, data: bytes) -> None:
        """Feed all of `data` to its standard input; may block."""

    def end_input(self) -> None:
        """Close its standard input."""

    def exit_status(self, timeout_s: float) -> int:
        """How it ended, 0 to 255, once both streams have ended."""

    def close(self) -> None:
        """Give the channel back after its end; never blocks."""

    def sever(self) -> None:
        """Cut the connection under it, because the other end does not answer; never blocks."""


OpenChannel = Callable[[str, float], Channel]
"""From (command line for the device's login shell, seconds to wait for its start)."""

"""Connections: how many, how large a request's head may be, and how long it may take."""

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_S = 20.0
"""A connection on which no head of a request came between two looks so far apart is closed."""


class Connection(H11Protocol):
    """uvicorn's, which would wait for the rest of a head for ever, and takes so many at a time."""

    _watch: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        """Begin to look."""
        super().connection_made(transport)
        self._look(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """Look no more."""
        if self._watch is not None:
            self._watch.cancel()
        super().connection_lost(exc)

    def _look(self, before: object) -> None:
        """Close a connection that waits for a head and waited for the same one before."""
        waits = self.conn.their_state is h11.IDLE
        last = self.cycle or self  # a new one for each request
        if waits and before is last:
            self.transport.close()
            return
        self._watch = self.loop.call_later(HEAD_S, self._look, last if waits else None)


OPTIONS: dict[str, Any] = {
    "http": Connection,
    "ws": "none",
    "server_header": False,
    "limit_concurrency": 200,
    "h11_max_incomplete_event_size": 16 << 10,
    "timeout_graceful_shutdown": 5,
}
"""For `uvicorn.run`."""

"""A heartbeat: a thread that says in the database, again and again, that its process lives."""

import logging
import threading
import time
from collections.abc import Callable

from sqlalchemy.exc import SQLAlchemyError

LOG = logging.getLogger("edgefarm.heartbeat")
_BEATS_A_LEASE = 6
_JOIN_S = 10.0
"""A beat may hang at the database; the thread ends with the process."""


class Heartbeat:
    """Beats several times in a lease's time, from `start` to `stop`."""

    def __init__(
        self, name: str, ttl_s: float, beat: Callable[[], None], silent: Callable[[], None]
    ) -> None:
        """Nothing beats yet.

        Args:
            name: of the thread.
            ttl_s: how long a lease outlives its last heartbeat.
            beat: one heartbeat. A database that cannot be reached is tried again.
            silent: called while the last heartbeat is longer ago than that: all leases are over.
        """
        self._ttl_s = ttl_s
        self._beat = beat
        self._silent = silent
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._beat_on, name=name, daemon=True)

    def start(self) -> None:
        """Begin to beat."""
        self._thread.start()

    def stop(self) -> None:
        """Beat no more."""
        self._end.set()
        self._thread.join(_JOIN_S)

    def _beat_on(self) -> None:
        last = time.monotonic()
        while not self._end.wait(self._ttl_s / _BEATS_A_LEASE):
            try:
                self._beat()
                last = time.monotonic()
            except SQLAlchemyError as error:
                LOG.warning("heartbeat failed: %s", getattr(error, "orig", None) or error)
            if time.monotonic() - last > self._ttl_s:
                self._silent()

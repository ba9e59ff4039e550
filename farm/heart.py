"""The heart of a worker: a thread that keeps its leases alive and hears what must end."""

import logging
import threading
import time

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from farm.attachment import Attachment, beat
from farm.database import Database
from farm.leases import renew
from farm.parts import take_back
from farm.running import Attempts
from farm.tables import JOBS

LOG = logging.getLogger("edgefarm.worker")
_BEATS_A_LEASE = 6
_JOIN_S = 10.0
"""A beat may hang at the database; the thread ends with the process."""


class Heart:
    """Beats several times in a lease's time. `superseded` when another process has taken over."""

    def __init__(
        self, database: Database, attachment: Attachment, attempts: Attempts, ttl_s: float
    ) -> None:
        self._database = database
        self._attachment = attachment
        self._attempts = attempts
        self._ttl_s = ttl_s
        self._last_beat = time.monotonic()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._beat_on, name="heart", daemon=True)
        self.draining = False
        self.superseded = threading.Event()

    def start(self) -> None:
        """Begin to beat."""
        self._thread.start()

    def stop(self) -> None:
        """Beat no more."""
        self._end.set()
        self._thread.join(_JOIN_S)

    def _beat_on(self) -> None:
        while not self._end.wait(self._ttl_s / _BEATS_A_LEASE):
            try:
                self._beat()
                self._last_beat = time.monotonic()
            except SQLAlchemyError as error:
                LOG.warning("heartbeat failed: %s", getattr(error, "orig", None) or error)
            if time.monotonic() - self._last_beat > self._ttl_s:
                for attempt in self._attempts.now():
                    attempt.lost = True  # others may have the devices by now

    def _beat(self) -> None:
        running = self._attempts.now()
        with self._database.begin() as connection:
            if not beat(connection, self._attachment, draining=self.draining):
                self.superseded.set()
            holds = renew(
                connection, self._attachment.holder, self._attempts.devices(), ttl_s=self._ttl_s
            )
        take_back(self._database)
        with self._database.begin() as connection:
            query = sa.select(JOBS.c.id).where(
                JOBS.c.cancelled, JOBS.c.id.in_([one.claimed.job for one in running])
            )
            cancelled = set(connection.execute(query).scalars()) if running else set()
        for one in running:
            one.lost |= holds.get(one.claimed.lease.device) != one.claimed.lease.token
            one.cancelled |= one.claimed.job in cancelled

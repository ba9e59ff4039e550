"""The heart of a worker: keeps its leases alive and hears what must end."""

import threading

import sqlalchemy as sa

from farm.attachment import Attachment, beat
from farm.database import Database
from farm.heartbeat import Heartbeat
from farm.leases import renew
from farm.parts import take_back
from farm.running import Attempts
from farm.tables import JOBS


class Heart:
    """The heartbeat of a worker. `superseded` when another process has taken over."""

    def __init__(
        self, database: Database, attachment: Attachment, attempts: Attempts, ttl_s: float
    ) -> None:
        self._database = database
        self._attachment = attachment
        self._attempts = attempts
        self._ttl_s = ttl_s
        heartbeat = Heartbeat("heart", ttl_s, self._beat, self._all_lost)
        self.start, self.stop = heartbeat.start, heartbeat.stop
        self.draining = False
        self.superseded = threading.Event()

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

    def _all_lost(self) -> None:
        """Others may have the devices by now."""
        for attempt in self._attempts.now():
            attempt.lost = True

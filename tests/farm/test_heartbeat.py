"""The heartbeat: it outlives a database that fails, and says when its leases are over."""

import threading
import time

from sqlalchemy.exc import OperationalError

from farm.heartbeat import Heartbeat


def failure() -> OperationalError:
    return OperationalError("UPDATE", {}, Exception("the database is away"))


def test_it_beats_several_times_in_a_lease_and_then_no_more() -> None:
    beats, silent = [], threading.Event()
    heartbeat = Heartbeat("test", 0.6, lambda: beats.append(time.monotonic()), silent.set)
    heartbeat.start()
    time.sleep(1.2)
    heartbeat.stop()
    met = len(beats)
    assert met >= 3
    assert not silent.is_set()
    time.sleep(0.3)
    assert len(beats) == met


def test_a_database_that_fails_for_a_lease_is_told_and_tried_again() -> None:
    silent, again = threading.Event(), threading.Event()

    def beat() -> None:
        if not silent.is_set():
            raise failure()
        again.set()

    heartbeat = Heartbeat("test", 0.3, beat, silent.set)
    began = time.monotonic()
    heartbeat.start()
    assert silent.wait(10)
    assert time.monotonic() - began > 0.3
    assert again.wait(10)
    heartbeat.stop()

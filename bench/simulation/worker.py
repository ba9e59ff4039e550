"""A worker of the simulation: the real one, with simulated devices and work.

python -m bench.simulation.worker DATABASE HOST SOCKET DEVICE…
"""

import signal
import sys
import threading

from bench.simulation.transport import connect
from bench.simulation.work import TARGET, Simulated, probe
from farm.database import open_database
from farm.health import Policy
from farm.logs import log_to
from farm.worker import Settings, serve
from harness.device import Address, Device

TTL_S = 5.0
POLICY = Policy(
    probe_every_s=60.0, first_retry_s=0.2, last_retry_s=2.0, offline_every_s=3.0,
    quarantine_every_s=10.0,
)  # fmt: skip


def main() -> None:
    """Serve until SIGTERM, then drain."""
    url, host, socket, *names = sys.argv[1:]
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    log_to()
    devices = [Device(name, "local", (TARGET,), Address(host=socket)) for name in names]
    settings = Settings(ttl_s=TTL_S, poll_s=0.2, policy=POLICY)
    serve(
        open_database(url), host, devices,
        connect=connect, work=Simulated(), probe=probe, stop=stop, settings=settings,
    )  # fmt: skip


if __name__ == "__main__":
    main()

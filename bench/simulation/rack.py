"""A rack of simulated devices: one process that outlives every worker, reached by a socket.

python -m bench.simulation.rack SETTINGS.json
"""

import json
import sys
import threading
import time
from multiprocessing.connection import Connection, Listener
from pathlib import Path
from typing import Any

from bench.simulation.device import Broken, Lost, SimulatedDevice

KEY = b"a rack of simulated devices"


class Rack:
    """Serves connections, a thread each; the first message names the device."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self._log = Path(settings["log"]).open("a", buffering=1)  # noqa: SIM115  as long as we live
        self._writing = threading.Lock()
        self._job_s = settings["job_s"]
        self.devices = {
            name: SimulatedDevice(name, settings["seed"], settings["fault_rate"], bad, self._write)
            for name, bad in settings["devices"].items()
        }

    def _write(self, line: dict[str, object]) -> None:
        with self._writing:
            self._log.write(json.dumps(line) + "\n")

    def serve(self, connection: "Connection[Any, Any]") -> None:
        """One connection to one device, from its first message to its end."""
        try:
            device = self.devices[connection.recv()]
            if not device.reachable():
                return
            if device.bad == "stolen":
                connection.send("key")
                if connection.poll(5):
                    connection.recv()
                    device.log("bytes for a stolen device")
                return
            connection.send("welcome")
            session = Session(device, connection, self._job_s)
            while True:
                session.answer(connection.recv())
        except (EOFError, OSError, Broken):
            pass
        finally:
            connection.close()


class Session:
    """One connection to one device, with the fault that was drawn for it."""

    def __init__(
        self, device: SimulatedDevice, connection: "Connection[Any, Any]", job_s: float
    ) -> None:
        self._device = device
        self._job_s = job_s
        self._connection = connection
        self._fault = device.draw_fault()
        self._result = b""

    def answer(self, message: tuple[str, dict[str, Any]]) -> None:
        """Do what a message asks."""
        what, fields = message
        try:
            reply = getattr(self, f"_{what}")(**fields)
        except Lost as error:
            reply = ("lost", str(error))
        self._connection.send(reply)

    def _claim(self, token: int, holder: str) -> tuple[str, str]:
        self._device.claim(token, holder)
        return "ok", ""

    def _check(self, token: int) -> tuple[str, str]:
        self._device.check(token)
        return "ok", ""

    def _push(self, path: str, content: bytes, sha256: str) -> tuple[str, str]:
        return "ok", self._device.push(path, content, sha256, self._fault)

    def _job(self, token: int, nonce: str, label: str) -> tuple[str, str]:
        """Run until done; a broken connection ends it, as the lifeline does on a real device."""
        run = self._device.begin(token, nonce, label)
        if self._fault == "hang":
            self._wait(run, 3600.0)
        self._wait(run, self._device.draw_seconds(self._job_s))
        if self._fault == "disconnect_in_run":
            self._device.end(run, "disconnected")
            raise Broken
        if self._fault == "reboot":
            self._device.reboot()
            raise Broken
        if self._device.bad == "crashes":
            self._device.end(run, "crashed")
            return "crashed", ""
        if not self._device.end(run, "done"):
            return "killed", ""
        self._result = self._device.result(nonce, label, self._fault)
        return "ok", ""

    def _wait(self, run: Any, seconds: float) -> None:  # noqa: ANN401  device.Run
        deadline = time.monotonic() + seconds
        while not run.aborted.is_set() and time.monotonic() < deadline:
            if self._connection.poll(min(0.05, max(0.0, deadline - time.monotonic()))):
                self._device.end(run, "connection closed")
                raise Broken

    def _pull(self) -> tuple[str, bytes]:
        return "ok", self._result


def main() -> None:
    """Serve until killed."""
    settings = json.loads(Path(sys.argv[1]).read_text())
    rack = Rack(settings)
    with Listener(settings["socket"], "AF_UNIX", backlog=256, authkey=KEY) as listener:
        print("ready", flush=True)
        while True:
            try:
                connection = listener.accept()
            except (EOFError, OSError):
                continue  # a worker was killed while it connected
            threading.Thread(target=rack.serve, args=(connection,), daemon=True).start()


if __name__ == "__main__":
    main()

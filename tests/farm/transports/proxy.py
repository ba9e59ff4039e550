"""A TCP proxy that breaks: it cuts or stalls a connection after a number of bytes."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Literal

from harness.device import Device

_PIECE_BYTES = 16 << 10


@dataclass
class Fault:
    """What befalls the connections made from now on.

    Attributes:
        kind: ``cut`` resets the connection, ``stall`` lets it stand without a byte.
        after_bytes: how many bytes in that direction pass before.
        direction: ``up`` counts what goes to the device.
    """

    kind: Literal["none", "cut", "stall"] = "none"
    after_bytes: int = 0
    direction: Literal["up", "down"] = "up"


class Proxy:
    """Forwards 127.0.0.1:port to a device; `fault` may be set at any time."""

    def __init__(self, device: Device) -> None:
        self.fault = Fault()
        self._there = (device.address.host, device.address.port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        port = self._listener.getsockname()[1]
        self.device = replace(device, address=replace(device.address, port=port))
        self._ended = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Take no more connections; stalled ones end."""
        self._ended.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                here, _ = self._listener.accept()
                there = socket.create_connection(self._there)
                passed = {"up": 0, "down": 0}
                for pair in ((here, there, "up"), (there, here, "down")):
                    threading.Thread(target=self._pump, args=(*pair, passed), daemon=True).start()

    def _pump(
        self, source: socket.socket, sink: socket.socket, direction: str, passed: dict[str, int]
    ) -> None:
        with suppress(OSError):
            while data := source.recv(_PIECE_BYTES):
                passed[direction] += len(data)
                fault = self.fault
                if fault.kind != "none" and passed[fault.direction] > fault.after_bytes:
                    if fault.kind == "stall":
                        self._ended.wait()
                    break
                sink.sendall(data)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


@contextmanager
def proxy_to(device: Device) -> Iterator[Proxy]:
    """A proxy in front of a device; its `device` is the device behind it."""
    proxy = Proxy(device)
    try:
        yield proxy
    finally:
        proxy.close()

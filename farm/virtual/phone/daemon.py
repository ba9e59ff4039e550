"""The program of a virtual phone: its adb daemon, on a loopback port.

``python -m farm.virtual.phone.daemon CORE PORT FOLDER``, inside the phone's namespaces; it
ends with `REBOOT` when the phone is to start again (see launch.sh).
"""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

from pydantic import ValidationError

from farm.virtual.phone.control import PID_FILE, SOCKET
from farm.virtual.phone.faults import STATES, Fault, Trouble
from farm.virtual.phone.keys import AcceptedKeys
from farm.virtual.phone.session import Identity, Session
from farm.virtual.phone.system import DATA_BYTES, banner
from farm.virtual.settings import write_file
from harness.host.wording import first_fault

REBOOT = 42
AWAY_FILE = "away"
"""In the phone's ``run``: for how many seconds it is away."""
_MOST_REQUEST_BYTES = 4096


class Phone:
    """A phone that is switched on."""

    def __init__(self, core: str, folder: Path) -> None:
        self._root = folder / "root"
        self._away_s = asyncio.get_running_loop().create_future()
        self._sessions: set[Session] = set()
        self._keys = AcceptedKeys(folder / "adb_keys")
        self._trouble = Trouble(self._strike)
        self._identity = Identity(
            self._root, core, banner(), self._keys, self._trouble, self._reboot
        )

    async def serve(self, port: int, run: Path) -> None:
        """Answer hosts and `control` until the phone reboots."""
        # By a relative name: the path of a Unix socket may have no more than 107 bytes.
        os.chdir(run)
        Path(SOCKET).unlink(missing_ok=True)
        async with (
            await asyncio.start_server(self._meet, "127.0.0.1", port),
            await asyncio.start_unix_server(self._obey, SOCKET),
        ):
            write_file(run / PID_FILE, f"{os.getpid()}\n")
            await self._away_s
        (run / PID_FILE).unlink()
        write_file(run / AWAY_FILE, f"{self._away_s.result()}\n")

    async def _meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        session = Session(self._identity, reader, writer)
        self._sessions.add(session)
        try:
            await session.run()
        finally:
            self._sessions.discard(session)

    async def _obey(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take one fault, as JSON, and say when it is in force."""
        try:
            fault = Fault.model_validate_json(await reader.read(_MOST_REQUEST_BYTES))
        except ValidationError as error:
            writer.write(f"not a fault: {first_fault(error)}\n".encode())
        else:
            self._have(fault)
            writer.write(b"ok\n")
        await writer.drain()
        writer.close()

    def _have(self, fault: Fault) -> None:
        before = self._trouble.kind
        self._trouble.set(fault)
        if before == "full-disk":
            self._resize_data(DATA_BYTES)
        if before in STATES and before != "unauthorized":
            self._drop_all()
        if before == "unauthorized" and fault.kind != "unauthorized":
            self._keys.trust()

    def _strike(self, fault: Fault) -> None:
        if fault.kind == "unauthorized":
            self._keys.forget()
        if fault.kind == "full-disk":
            self._resize_data(self._used_bytes())
        if fault.kind == "reboot":
            self._reboot(fault.seconds)
        if fault.kind == "drop" or fault.kind in STATES:
            self._drop_all()

    def _drop_all(self) -> None:
        for session in self._sessions:
            session.drop()

    def _reboot(self, away_s: float = 2.0) -> None:
        self._drop_all()
        if not self._away_s.done():
            self._away_s.set_result(away_s)

    def _used_bytes(self) -> int:
        state = os.statvfs(self._root / "data")
        return (state.f_blocks - state.f_bfree) * state.f_frsize

    def _resize_data(self, size: int) -> None:
        options = f"remount,size={max(size, 4096)}"
        subprocess.run(["/bin/mount", "-o", options, str(self._root / "data")], check=True)


def main() -> None:
    """Run a phone until it reboots, which does not wait for what still runs on it."""
    core, port, folder = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])

    async def live() -> None:
        phone = Phone(core, folder)
        await phone.serve(port, folder / "run")
        os._exit(REBOOT)

    asyncio.run(live())


if __name__ == "__main__":
    main()

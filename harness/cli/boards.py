"""`edgefarm board`: virtual boards, registered like any physical one."""

from typing import Annotated

import typer

from farm.inventory import inventory_path, load_inventory, put_device, remove_device
from farm.virtual import boards
from farm.virtual.cpuinfo import Core
from farm.virtual.phone.faults import Fault, FaultKind
from farm.virtual.processes import Kind
from farm.virtual.rootfs import RuntimeKind
from harness.cli.output import JsonOption, print_rows, progress_bar, remark
from harness.errors import UsageError
from harness.host.home import home

_group = typer.Typer(
    no_args_is_help=True,
    help=(
        "Virtual boards and phones, under QEMU on this host.\n\n"
        "A board is a real Debian arm64 with its own sshd, a phone the same with an adb daemon and "
        "Android's ways. Needs Debian's qemu-user-static, mmdebstrap and, without root, uidmap. A "
        "virtual board computes what a real one does; its latency says nothing about one."
    ),
)

NameArgument = Annotated[str, typer.Argument(help="Name of the board, also its device name.")]


def register(app: typer.Typer) -> None:
    """Add the group to the application."""
    app.add_typer(_group, name="board", rich_help_panel="Devices")


@_group.command()
def create(
    name: NameArgument,
    kind: Annotated[Kind, typer.Option(help="A board (SSH) or a phone (adb).")] = "board",
    core: Annotated[Core, typer.Option(help="The emulated core.")] = "cortex-a76",
    runtime: Annotated[
        RuntimeKind | None,
        typer.Option(help="What it carries, by default ai-edge-litert; a phone carries none."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Make a board, start it and register it as a device.

    The first board of a runtime also builds its root file system (about a minute, cached).
    """
    if _is_registered(name):
        raise UsageError(f"device {name!r} exists; choose another name, or remove it first")
    with progress_bar() as progress:
        boards.create_board(
            name, kind=kind, core=core, runtime=runtime, home=home(), progress=progress
        )
        board = boards.start_board(name, home=home(), progress=progress)
    put_device(inventory_path(), boards.device_of(board))
    _show([board], as_json=as_json)


@_group.command()
def start(name: NameArgument, as_json: JsonOption = False) -> None:
    """Start a stopped board; its device entry follows when the port changed."""
    with progress_bar() as progress:
        board = boards.start_board(name, home=home(), progress=progress)
    put_device(inventory_path(), boards.device_of(board))
    _show([board], as_json=as_json)


@_group.command()
def stop(name: NameArgument, as_json: JsonOption = False) -> None:
    """Stop a board; what is on its disk stays."""
    _show([boards.stop_board(name, home=home())], as_json=as_json)


@_group.command("list")
def list_(as_json: JsonOption = False) -> None:
    """List the boards of this host."""
    _show(boards.list_boards(home()), as_json=as_json)


@_group.command()
def fault(
    name: NameArgument,
    kind: Annotated[FaultKind, typer.Argument(help="What goes wrong; none mends it.")],
    after_bytes: Annotated[
        int, typer.Option(min=0, help="Strike once so many bytes have passed, both ways together.")
    ] = 0,
    bytes_per_s: Annotated[int, typer.Option(min=1, help="Of slow.")] = 64 << 10,
    seconds: Annotated[float, typer.Option(min=0, max=600, help="Away in a reboot.")] = 2.0,
) -> None:
    """Give a running virtual phone a fault, for tests and demos of what then happens.

    drop, reboot and wrong-data (one altered byte) happen once; the others last until none.
    """
    wanted = Fault(kind=kind, after_bytes=after_bytes, bytes_per_s=bytes_per_s, seconds=seconds)
    boards.set_fault(name, wanted, home=home())
    remark(f"{name}: {kind}")


@_group.command()
def destroy(name: NameArgument) -> None:
    """Stop a board, remove it and its device entry."""
    boards.destroy_board(name, home=home())
    if _is_registered(name):
        remove_device(inventory_path(), name)
    remark(f"destroyed {name}")


def _is_registered(name: str) -> bool:
    return any(device.name == name for device in load_inventory(inventory_path()).devices)


def _show(found: list[boards.Board], *, as_json: bool) -> None:
    rows = [
        {
            "board": board.name,
            "kind": board.kind,
            "state": "running" if board.running else "stopped",
            "core": board.core,
            "runtime": board.runtime,
            "port": board.port,
            "host key": board.host_key,
        }
        for board in found
    ]
    print_rows("Virtual boards", rows, as_json=as_json)

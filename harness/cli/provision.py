"""`edgefarm device provision`: puts an inference runtime on a board."""

from typing import Annotated

import typer

from farm.desk import at_the_desk
from farm.inventory import inventory_path, load_inventory, put_device
from farm.provision import RUNTIMES, Provisioned, provision
from farm.transports import connect
from harness.cli.output import JsonOption, print_json, print_rows, progress_bar, remark
from harness.errors import UsageError
from harness.host.cache import default_cache


def provision_(
    name: Annotated[str, typer.Argument(help="Name of the device.")],
    runtime: Annotated[str, typer.Option(help=f"One of: {', '.join(RUNTIMES)}.")],
    as_json: JsonOption = False,
) -> None:
    """Put an inference runtime on a board with Python, and note in its entry what it can run now.

    The wheels come from pip's index (its settings hold), are kept in the cache and named by sha256.
    ExecuTorch needs PyTorch's CPU build and an Armv8.2 processor; only --runner python needs it.
    """
    if runtime not in RUNTIMES:
        raise UsageError(f"--runtime {runtime}: one of: {', '.join(RUNTIMES)}")
    device = load_inventory(inventory_path()).get_device(name)
    with (
        progress_bar() as progress,
        at_the_desk(device, connect, what="device provision") as opened,
        opened(device) as transport,
    ):
        done = provision(
            device, transport, RUNTIMES[runtime], cache=default_cache(), progress=progress
        )
    put_device(inventory_path(), done.device)
    _show(done, as_json=as_json)


def _show(done: Provisioned, *, as_json: bool) -> None:
    if as_json:
        print_json(done)
        return
    rows = [
        {"wheel": wheel.name, "MB": f"{wheel.bytes / 1e6:.1f}", "sha256": wheel.sha256}
        for wheel in done.wheels
    ]
    print_rows(f"{done.runtime} {done.version} on {done.device.name}", rows, as_json=False)
    steps = ", ".join(f"{step} {took:g} s" for step, took in done.seconds.items())
    remark(
        f"{done.sent_bytes / 1e6:.0f} MB sent, {done.unpacked_bytes / 1e6:.0f} MB unpacked; {steps}"
    )
    remark(f"interpreter {done.device.python}; targets {', '.join(done.device.targets)}")

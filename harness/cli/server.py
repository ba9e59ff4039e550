"""`edgefarm server` and `edgefarm token`: the farm for those who are not on its machines."""

import ipaddress
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from farm.archive import ArchiveLimits
from farm.database import open_database
from farm.job_files import default_store
from farm.quota import Quota
from farm.tokens import Role, create_token, list_tokens, revoke_token
from harness.cli.output import JsonOption, print_json, print_rows, remark, stdout
from harness.cli.queue import DatabaseOption, clock, farm_here
from harness.errors import UsageError
from harness.host.cache import default_cache
from harness.host.extras import require_extra

_PANEL = "The farm"
_MIB = 1 << 20

token_app = typer.Typer(no_args_is_help=True, help="Tokens: who may speak to the server.")
TokenName = Annotated[str, typer.Argument(help="Whose it is; jobs are submitted by this name.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command(rich_help_panel=_PANEL)(server)
    app.add_typer(token_app, name="token", rich_help_panel=_PANEL)


def server(
    host: Annotated[str, typer.Option(help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 chooses one.")] = 8470,
    certificate: Annotated[
        Path | None, typer.Option(help="Certificate chain (PEM), for TLS.", exists=True)
    ] = None,
    key: Annotated[
        Path | None, typer.Option(help="The certificate's key (PEM).", exists=True)
    ] = None,
    store: Annotated[
        Path | None,
        typer.Option(help="Folder for uploads; by default in edgefarm's home folder."),
    ] = None,
    upload_mib: Annotated[int, typer.Option(min=1, help="Largest archive.")] = 2048,
    unpacked_mib: Annotated[int, typer.Option(min=1, help="Largest contents of one.")] = 8192,
    day_gib: Annotated[int, typer.Option(min=1, help="What one token may send within a day.")] = 64,
    most_parts: Annotated[
        int, typer.Option(min=1, help="Parts of jobs that one token may have in line and at work.")
    ] = Quota.parts,
    most_priority: Annotated[
        int, typer.Option(min=-100, max=100, help="Highest priority; operators may give any.")
    ] = Quota.priority,
    most_hours: Annotated[
        float, typer.Option(min=0.01, help="Longest time limit of one attempt on a device.")
    ] = Quota.attempt_s / 3600,
    most_device_hours: Annotated[
        float, typer.Option(min=0.01, help="Time of devices that one token's jobs may take in all.")
    ] = Quota.device_s / 3600,
    accept_pt2: Annotated[
        bool,
        typer.Option(
            "--accept-pt2",
            help="Take .pt2 models, too: torch runs code that is in them, on the workers. Only "
            "for submitters who might as well log in there.",
        ),
    ] = False,
    database: DatabaseOption = None,
) -> None:
    """Serve the farm's queue over HTTP to those who have a token; docs/farm.md has the details.

    Listens on this machine alone unless it has a certificate; or put a reverse proxy with TLS
    before it.
    """
    require_extra("server", "fastapi", "uvicorn", "sse_starlette")
    import uvicorn

    from farm.server import OPTIONS, Settings, allow_many_files, create_app

    if (certificate is None) != (key is None):
        raise UsageError("--certificate and --key go together")
    if certificate is None and not _is_loopback(host):
        raise UsageError(
            f"--host {host} without TLS would send tokens in clear: give --certificate and --key, "
            "or listen at 127.0.0.1 behind a reverse proxy with TLS"
        )
    farm = open_database(database)
    settings = Settings(
        store=(store or default_store()).absolute(),
        cache=default_cache(),
        upload_bytes=upload_mib * _MIB,
        archive=replace(ArchiveLimits(), unpacked_bytes=unpacked_mib * _MIB, pt2=accept_pt2),
        quota=Quota(most_parts, most_priority, most_hours * 3600, most_device_hours * 3600),
        day_bytes=day_gib << 30,
    )
    allow_many_files()
    try:
        uvicorn.run(
            create_app(farm, settings),
            host=host,
            port=port,
            ssl_certfile=certificate,
            ssl_keyfile=key,
            **OPTIONS,
        )
    finally:
        farm.close()


@token_app.command()
def create(
    name: TokenName,
    role: Annotated[
        Role, typer.Option(help="read: see; submit: also submit, cancel one's own; operate: all.")
    ] = "submit",
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a token and print it, once: only its digest is kept."""
    farm = farm_here(database)
    token = create_token(farm, name, role)
    farm.close()
    print_json({"token": token}) if as_json else stdout.print(token, highlight=False)


@token_app.command("list")
def list_(database: DatabaseOption = None, as_json: JsonOption = False) -> None:
    """List the tokens: whose, and what they allow."""
    farm = farm_here(database)
    found = list_tokens(farm)
    farm.close()
    rows = [
        {
            "token": one.name,
            "role": one.role,
            "created": clock(one.created),
            "revoked": "" if one.revoked is None else clock(one.revoked),
        }
        for one in found
    ]
    print_rows("Tokens", rows, as_json=as_json)


@token_app.command()
def revoke(name: TokenName, database: DatabaseOption = None) -> None:
    """End a token at once."""
    farm = farm_here(database)
    revoke_token(farm, name)
    farm.close()
    remark(f"revoked {name}")


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False

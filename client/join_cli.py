"""`fedvlp-site init` and `join`: a hospital makes its keys, asks to be taken in, and takes the kit."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from client.clock import SiteClock
from client.home import ROSTER
from client.home import Home as SiteHome
from client.options import HOME, Home
from common.joining import Kit
from common.signed import read_signed


def init(
    name: Annotated[str, typer.Argument(help="This hospital's name in the federation.")],
    out: Annotated[
        Path | None, typer.Option(help="The request to write; NAME.request.json unless given.")
    ] = None,
    home: Home = HOME,
) -> None:
    """Make this hospital's keys, which never leave HOME, and the request that goes to the operator.

    Called again it makes the request anew and leaves the keys as they are.
    """
    place = SiteHome(home.expanduser())
    request = place.request(name, now=datetime.now(UTC))
    path = out or Path(f"{name}.request.json")
    request.save(path)
    typer.echo(f"request of {name} in {path}; it holds public keys only, send it to the operator")
    typer.echo(f"identity {request.identity}; read it to the operator when they ask")
    typer.echo(f"the private keys are in {place.folder}; back the folder up as you back up records")


def join(
    kit: Annotated[Path, typer.Argument(metavar="KIT", help="What the operator sent.")],
    operator: Annotated[
        str | None,
        typer.Option(help="The operator's key, told to you by a trusted way; needed for the first kit."),
    ] = None,
    home: Home = HOME,
) -> None:
    """Take the consortium's kit, or a later one: it says where the hub is and whom to trust."""
    place, taken = SiteHome(home.expanduser()), read_signed(kit, Kit)
    told = None if operator is None else operator.strip().lower()
    place.join(taken, operator=told, now=SiteClock(place.folder).noted())
    typer.echo(f"{taken.site} is in {taken.consortium}; the hub is {taken.hub}")
    if taken.roster is not None:
        path = place.folder / f"received-{ROSTER}"
        taken.roster.save(path)
        typer.echo(
            f"the kit brings roster version {taken.roster.version} in {path}; look at it with "
            "`fedvlp-site roster show`"
        )
    typer.echo("next: `fedvlp-site doctor`, then `fedvlp-site project show BUNDLE`")

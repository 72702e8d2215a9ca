"""`fedvlp-site identity` and `fedvlp-site roster`: how a hospital joins a consortium and agrees to it."""

from pathlib import Path
from typing import Annotated

import typer

from client.clock import SiteClock
from client.home import Home as SiteHome
from client.options import HOME, Home
from common.errors import IntegrityError
from common.roster import Roster, read_roster
from common.secagg.keys import identity_of

RosterFile = Annotated[Path, typer.Argument(metavar="ROSTER.json", help="The roster.")]

roster = typer.Typer(no_args_is_help=True, help="Who may take part in secure aggregation, signed by all.")


def identity(home: Home = HOME) -> None:
    """Print this site's identity, made on the first call: give it to the roster's author by a trusted way.

    The private key stays in HOME/identity.key.
    """
    typer.echo(identity_of(SiteHome(home.expanduser()).identity(create=True)).hex())


@roster.command("show")
def show(file: RosterFile) -> None:
    """Say who the members are, what they agree to, and who has signed."""
    for line in words_of(read_roster(file)):
        typer.echo(line)


@roster.command("sign")
def sign(
    file: RosterFile,
    name: Annotated[str, typer.Option(help="This hospital's name in the federation.")],
    home: Home = HOME,
) -> None:
    """Add this site's signature to the file, if it names this site's identity."""
    signed = read_roster(file).signed_by(name, SiteHome(home.expanduser()).identity())
    signed.save(file)
    typer.echo(f"{name} signed; {_signatures(signed)}")


@roster.command("approve")
def approve(file: RosterFile, home: Home = HOME) -> None:
    """Take part under this roster from now on; it must be signed by every member and protect no less."""
    agreed = read_roster(file)
    place = SiteHome(home.expanduser())
    place.approve(agreed, now=SiteClock(place.folder).noted())
    typer.echo(
        f"roster version {agreed.version} approved until {agreed.expires:%Y-%m-%d}, "
        f"digest {agreed.digest().hex()}"
    )


def words_of(roster: Roster) -> list[str]:
    """A roster in lines for people."""
    lines = [
        f"roster version {roster.version}, digest {roster.digest().hex()}",
        f"sums over at least {roster.min_sites} of {len(roster.members)} sites; weights up to "
        f"{roster.weight_cap}; packed {' or '.join(roster.profiles)}",
        f"in force until {roster.expires:%Y-%m-%d %H:%M} UTC",
    ]
    for member in roster.members:
        signed = "signed" if member.name in roster.signatures else "not signed"
        lines.append(f"{member.name}  {member.identity}  {signed}")
    try:
        roster.require_all_signatures()
    except IntegrityError as error:
        return [*lines, str(error)]
    return [*lines, "all signatures are valid"]


def _signatures(roster: Roster) -> str:
    return f"{len(roster.signatures)} of {len(roster.members)} signatures"

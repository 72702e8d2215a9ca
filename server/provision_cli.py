"""`fedvlp-server init`, `admit`, `remove`, `renew`, `members`: who is in the consortium."""

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from common.certificates import validity_of
from common.errors import ConfigurationError
from common.joining import JoinRequest, Kit
from common.roster import Roster, read_roster
from common.signed import read_signed
from server.home import HubHome
from server.members import Members, Membership

Home = Annotated[
    Path,
    typer.Option(
        envvar="FEDVLP_HUB_HOME",
        help="Folder of the consortium's keys and members; ~/.fedvlp-hub unless given.",
        show_default=False,
    ),
]
HOME = Path("~/.fedvlp-hub")
PasswordFile = Annotated[
    Path | None,
    typer.Option("--password-file", help="File whose first line opens the operator's keys; asked otherwise."),
]
KitFile = Annotated[Path | None, typer.Option("--out", help="The kit to write; NAME.kit.json unless given.")]
RosterFile = Annotated[Path | None, typer.Option("--roster", help="A roster to send along.")]


def init(
    name: Annotated[str, typer.Argument(help="Name of the consortium, for people.")],
    hub: Annotated[str, typer.Option(metavar="HOST:PORT", help="Where hospitals reach the hub.")],
    also: Annotated[
        list[str] | None, typer.Option(help="Another name or IP address of the hub; repeat for each.")
    ] = None,
    password_file: PasswordFile = None,
    without_password: Annotated[
        bool, typer.Option("--without-password", help="Leave the operator's keys to the file mode alone.")
    ] = False,
    home: Home = HOME,
) -> None:
    """Begin a consortium: its authority, the operator's signing key, the hub's certificate."""
    place = HubHome(home.expanduser())
    password = None if without_password else _new_password(password_file)
    consortium = place.found(name, hub, further_names=also or [], password=password)
    typer.echo(f"consortium {name}, hub at {hub}, keys in {place.folder}; back them up")
    typer.echo(f"operator {consortium.operator}")
    typer.echo("give the operator line to every hospital by a trusted way; `fedvlp-site join` asks for it")


def admit(
    request: Annotated[Path, typer.Argument(metavar="REQUEST", help="What `fedvlp-site init` wrote.")],
    out: KitFile = None,
    roster: RosterFile = None,
    password_file: PasswordFile = None,
    home: Home = HOME,
) -> None:
    """Take a hospital in and write its kit, which holds no secret; nothing changes at the others."""
    place = HubHome(home.expanduser())
    place.consortium()
    asked = read_signed(request, JoinRequest)
    kit = Members(place).admit(
        asked, password=password_of(place, password_file), roster=_roster(roster), now=datetime.now(UTC)
    )
    _write_kit(kit, out)
    typer.echo(f"identity {asked.identity}; compare it with what the hospital reads to you, by a trusted way")


def remove(site: Annotated[str, typer.Argument(help="The hospital.")], home: Home = HOME) -> None:
    """Shut a hospital out: no round asks it any more, and its keys are never admitted again."""
    Members(HubHome(home.expanduser())).remove(site, now=datetime.now(UTC))
    typer.echo(f"{site} is removed; a hub that runs lets it in no more")


def renew(
    what: Annotated[str, typer.Argument(metavar="hub|SITE", help="Whose certificate.")],
    out: KitFile = None,
    roster: RosterFile = None,
    password_file: PasswordFile = None,
    home: Home = HOME,
) -> None:
    """Make a new certificate: for the hub, in place, or for a hospital, as a new kit. Nobody else notices."""
    place = HubHome(home.expanduser())
    place.consortium()
    password = password_of(place, password_file)
    if what == "hub":
        ends = validity_of(place.renew_server_certificate(password)).ends
        typer.echo(
            f"certificate of the hub until {ends:%Y-%m-%d}; "
            "give it to the reverse proxy with `fedvlp-server proxy`, and reload that"
        )
        return
    now = datetime.now(UTC)
    _write_kit(Members(place).renew(what, password=password, roster=_roster(roster), now=now), out)


def members(
    home: Home = HOME,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Who is in, since when, and who was removed."""
    place = HubHome(home.expanduser())
    consortium = place.consortium()
    found = list(Members(place).all())
    if as_json:
        said = {"consortium": consortium.model_dump(mode="json"), "members": [_told(one) for one in found]}
        typer.echo(json.dumps(said, indent=2))
        return
    typer.echo(f"{consortium.name}, hub at {consortium.hub}, operator {consortium.operator}")
    for member in found:
        until = "" if member.removed is None else f", removed {member.removed:%Y-%m-%d}"
        typer.echo(f"{member.name}  {member.request.identity}  since {member.admitted:%Y-%m-%d}{until}")
    if not found:
        typer.echo("no hospital yet; `fedvlp-server admit REQUEST` takes one in")


def password_of(home: HubHome, password_file: Path | None) -> bytes | None:
    """What opens the operator's keys: from the file, or asked on a terminal; None if nothing is needed.

    Raises:
        ConfigurationError: there is neither a file nor a terminal.
    """
    if not home.needs_password:
        return None
    if password_file is not None:
        return _first_line(password_file)
    _require_terminal("give --password-file")
    typed: str = typer.prompt("password of the operator's keys", hide_input=True, err=True)
    return typed.encode()


def _new_password(password_file: Path | None) -> bytes:
    if password_file is not None:
        return _first_line(password_file)
    _require_terminal("give --password-file, or --without-password to leave the keys to the file mode")
    typed: str = typer.prompt(
        "new password of the operator's keys", hide_input=True, confirmation_prompt=True, err=True
    )
    return typed.encode()


def _first_line(path: Path) -> bytes:
    try:
        line = path.read_bytes().partition(b"\n")[0].strip()
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}; give the file of the password") from None
    if not line:
        raise ConfigurationError(f"the first line of {path} is empty; write the password there")
    return line


def _require_terminal(otherwise: str) -> None:
    if not sys.stdin.isatty():
        raise ConfigurationError(f"there is no terminal to ask for the password: {otherwise}")


def _roster(path: Path | None) -> Roster | None:
    return None if path is None else read_roster(path)


def _write_kit(kit: Kit, out: Path | None) -> None:
    path = out or Path(f"{kit.site}.kit.json")
    kit.save(path)
    typer.echo(f"kit of {kit.site} in {path}; it holds no secret, send it by mail")


def _told(member: Membership) -> dict[str, object]:
    return {
        "name": member.name,
        "identity": member.request.identity,
        "node_key": member.request.node_key,
        "admitted": member.admitted.isoformat(),
        "removed": None if member.removed is None else member.removed.isoformat(),
    }

"""`fedvlp-server start`, `run`, `status`, `stop`, `proxy`: the hub at work."""

import json
import logging
import math
import re
import sys
from pathlib import Path
from typing import Annotated

import typer

from common.errors import ConfigurationError
from common.loading import loading
from common.processes.asking import stop_asked
from server.home import HubHome
from server.members import Members
from server.provision_cli import HOME, Home

PORT = 8000
Port = Annotated[int, typer.Option(min=1, max=65535, help="The hub's port on the loopback.")]

FLOWERS_OWN = re.compile(r"INFO :|Successfully installed ")
"""How lines begin that tell an operator nothing; Flower's warnings and errors begin otherwise."""


def start(port: Port = PORT, home: Home = HOME) -> None:
    """Run the hub until it is asked to end (SIGTERM, Ctrl-C): members in, everybody else out, runs taken up.

    It listens on the loopback only; hospitals reach it through the reverse proxy, see `proxy`.
    """
    with loading():
        from server.service import started

    place = HubHome(home.expanduser())
    consortium = place.consortium()
    logging.basicConfig(format="%(asctime)s %(message)s", stream=sys.stderr)
    with stop_asked() as asked, started(place, port=port, asked_to_end=asked) as service:
        logs = service.runs.interior.folder / "logs"
        typer.echo(f"the hub of {consortium.name} runs on 127.0.0.1:{port}; logs in {logs}")
        service.serve(asked)
    typer.echo("the hub has ended")


def run(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="Folder of an approved project bundle.")],
    out: Annotated[Path, typer.Option(help="Folder of the run.")],
    resume: Annotated[bool, typer.Option("--resume", help="Go on after the last finished round.")] = False,
    detach: Annotated[bool, typer.Option("--detach", help="Do not wait for the end.")] = False,
    home: Home = HOME,
) -> None:
    """Start the run of a bundle at the hub that runs, and watch it; Ctrl-C ends the watching, not the run."""
    with loading():
        from server.interior import Interior
        from server.unfinished import UnfinishedRuns
        from server.watching import watch_run

    interior = Interior(HubHome(home.expanduser()))
    runs = UnfinishedRuns(interior)
    with interior.control() as control:
        one = runs.start(bundle, out, resume=resume, control=control)
        if detach:
            typer.echo(f"run {one.run} has begun; `fedvlp-server status` tells whether it has ended")
            return
        watch_run(
            control,
            one.run,
            log=runs.log_of(one.out),
            hear=pass_on,
            timeout_seconds=math.inf,
            alive=lambda: None,
        )
    typer.echo(f"run of {bundle} has ended; `fedvlp-server report {out}` writes its page")


def pass_on(line: str) -> None:
    """Print what the app says, without what Flower says of itself; both are in the run's log."""
    if not FLOWERS_OWN.match(line):
        typer.echo(line)


def status(
    home: Home = HOME,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Say which hospitals are connected and what runs."""
    with loading():
        from server.interior import Interior
        from server.unfinished import UnfinishedRuns

    place = HubHome(home.expanduser())
    interior = Interior(place)
    members = [member.name for member in Members(place).all() if member.removed is None]
    with interior.control() as control:
        online = control.online_since()
    runs = list(UnfinishedRuns(interior).all())
    if as_json:
        said = {
            "sites": {name: online.get(name) for name in members},
            "runs": [one.model_dump(mode="json") for one in runs],
        }
        typer.echo(json.dumps(said, indent=2))
        return
    for name in members:
        typer.echo(f"{name}  {f'connected since {online[name]}' if name in online else 'not connected'}")
    for one in runs:
        typer.echo(f"run {one.run} of {one.bundle} in {one.out}")
    if not runs:
        typer.echo("nothing runs")


def stop(home: Home = HOME) -> None:
    """End the run that the hub has; its checkpoints stay, and `run --resume` takes it up again."""
    with loading():
        from server.interior import Interior
        from server.unfinished import UnfinishedRuns

    interior = Interior(HubHome(home.expanduser()))
    runs = UnfinishedRuns(interior)
    found = list(runs.all())
    if not found:
        raise ConfigurationError("nothing runs; `fedvlp-server status` tells what does")
    with interior.control() as control:
        for one in found:
            runs.forget(one)
            if one.session == interior.running().session:
                control.stop(one.run)
            typer.echo(f"the run in {one.out} is stopped")


def proxy(
    out: Annotated[Path, typer.Option(help="Folder for nginx.conf and the certificates that it names.")],
    listen: Annotated[
        str | None,
        typer.Option(
            metavar="[ADDRESS:]PORT",
            help="Where hospitals connect.  [default: the port that their kits name]",
        ),
    ] = None,
    port: Port = PORT,
    client_certificates: Annotated[
        bool,
        typer.Option("--client-certificates", help="Take only hospitals that show the one of their kit."),
    ] = False,
    access_log: Annotated[
        str, typer.Option(help="A file, syslog:server=unix:/dev/log, or off.")
    ] = "/dev/stdout",
    scratch: Annotated[Path, typer.Option(help="Folder that nginx may write to.")] = Path("/tmp"),
    home: Home = HOME,
) -> None:
    """Write the settings of the reverse proxy, the hub's only door; again after `renew hub`."""
    with loading():
        from server.proxy import ProxyTerms, write_proxy

    place = HubHome(home.expanduser())
    terms = ProxyTerms(
        listen=place.consortium().hub.rpartition(":")[2] if listen is None else listen,
        hub_port=port,
        client_certificates=client_certificates,
        access_log=access_log,
        scratch=scratch,
    )
    written = write_proxy(place, out, terms)
    typer.echo(f"settings of nginx in {written}; check them with `nginx -t -c {written.resolve()}`")

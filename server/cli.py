"""`fedvlp-server`: what a consortium's operator runs.

What a command needs is imported when it runs: torch and Flower take seconds, and most need neither.
"""

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from common.errors import ConfigurationError, InputRefusedError
from common.loading import loading
from common.roster import Member, make_roster
from common.terminal import run_command
from server.project_cli import project
from server.provision_cli import admit, init, members, remove, renew
from server.service_cli import proxy, run, start, status, stop

cli = typer.Typer(
    suggest_commands=False,
    rich_markup_mode="markdown",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    help="The hub of the federation. It sees models and sums, never a patient's row.",
)
cli.add_typer(project, name="project")
for command in (init, admit, remove, renew, members, start, proxy, run, status, stop):
    cli.command()(command)

RunFolder = Annotated[Path, typer.Argument(help="The --out folder of a run.")]


@cli.command("roster")
def make_roster_file(
    out: Annotated[Path, typer.Argument(metavar="ROSTER.json", help="The file to write.")],
    member: Annotated[
        list[str],
        typer.Option(metavar="NAME=KEY", help="A hospital and what its `identity` printed; repeat for each."),
    ],
    min_sites: Annotated[int, typer.Option(help="Fewer sites are never summed; at least 3.")],
    weight_cap: Annotated[int, typer.Option(min=1, help="The most that one site counts in a mean.")],
    thin: Annotated[bool, typer.Option(help="Allow 2 bytes a parameter as well as 3.")] = False,
    version: Annotated[int, typer.Option(min=1, help="Higher than that of the roster before.")] = 1,
    days: Annotated[int, typer.Option(min=1, max=3660, help="It runs out after so many days.")] = 365,
) -> None:
    """Write a roster for all members to sign; the operator has no say in it beyond that."""
    pairs = [text.partition("=") for text in member]
    try:
        members = tuple(Member(name=name, identity=key) for name, _, key in sorted(pairs))
    except ValidationError:
        raise ConfigurationError("--member is NAME=KEY, where KEY has 64 hex digits") from None
    made = make_roster(
        version=version,
        expires=datetime.now(UTC) + timedelta(days=days),
        members=members,
        min_sites=min_sites,
        weight_cap=weight_cap,
        profiles=("wide", "thin") if thin else ("wide",),
    )
    made.save(out)
    typer.echo(
        f"roster version {version} of {len(members)} sites in {out}, in force until {made.expires:%Y-%m-%d}; "
        "send it round to be signed"
    )
    typer.echo(f"digest {made.digest().hex()}")


@cli.command()
def report(run: RunFolder) -> None:
    """Write report.html of a run anew."""
    from server.report.page import write_report

    typer.echo(f"report: {write_report(run)}")


@cli.command()
def export(run: RunFolder, out: Annotated[Path, typer.Argument(help="Folder for the model.")]) -> None:
    """Write the model of a run's last finished round for `transformers`, also while the run goes on."""
    with loading():
        from common.model_folder import write_model
        from common.project import open_project
        from server.checkpoint import load_last_checkpoint

    if not (run / "project").is_dir():
        raise InputRefusedError(f"{run} holds no run; name the --out folder of one that has begun")
    opened = open_project(run / "project")
    state = load_last_checkpoint(run / "checkpoints", opened)
    if state is None:
        raise InputRefusedError(f"{run} holds no finished round; wait for the first one to end")
    write_model(out, opened, state.weights)
    typer.echo(f"model after round {state.round} in {out}")


def main() -> None:
    """Run `fedvlp-server`, and raise SystemExit."""
    sys.exit(run_command(cli, "fedvlp-server"))

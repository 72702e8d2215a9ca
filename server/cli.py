"""`fedvlp-server`: what a consortium's operator runs."""

from pathlib import Path
from typing import Annotated

import typer

from common.errors import InputRefusedError
from common.model_folder import write_model
from common.project import create_project, open_project
from common.spec.run import read_spec
from common.store import Store
from common.terminal import run_command
from server.checkpoint import load_last_checkpoint
from server.report.page import write_report

cli = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    help="The hub of the federation. It sees models and sums, never a patient's row.",
)
project = typer.Typer(no_args_is_help=True, help="Projects: what hospitals approve and obey.")
cli.add_typer(project, name="project")

RunFolder = Annotated[Path, typer.Argument(help="The --out folder of a run.")]


@project.command("create")
def create(
    spec: Annotated[Path, typer.Argument(metavar="SPEC.toml", help="The run spec.")],
    site: Annotated[list[str], typer.Option(help="A hospital that may take part; repeat for each.")],
    out: Annotated[Path, typer.Option(help="Folder of the project.")],
    bank: Annotated[Path | None, typer.Option(help="Store of the public bank.")] = None,
) -> None:
    """Train the vocabulary on public text and write the project that goes to every site."""
    made = create_project(out, read_spec(spec), sites=site, bank=None if bank is None else Store(bank))
    typer.echo(
        f"project {made.manifest.name} for {len(made.manifest.sites)} sites, "
        f"{made.layout.num_coordinates:,} parameters, {made.tokenizer.vocabulary_size:,} word pieces, "
        f"in {out}"
    )
    typer.echo(f"digest {made.digest}")


@cli.command()
def report(run: RunFolder) -> None:
    """Write report.html of a run anew."""
    typer.echo(f"report: {write_report(run)}")


@cli.command()
def export(run: RunFolder, out: Annotated[Path, typer.Argument(help="Folder for the model.")]) -> None:
    """Write the model of a run's last finished round for `transformers`, also while the run goes on."""
    opened = open_project(run / "project")
    state = load_last_checkpoint(run / "checkpoints", opened)
    if state is None:
        raise InputRefusedError(f"{run} holds no finished round; wait for the first one to end")
    write_model(out, opened, state.weights)
    typer.echo(f"model after round {state.round} in {out}")


def main() -> None:
    """Run `fedvlp-server`."""
    run_command(cli, "fedvlp-server")


if __name__ == "__main__":
    main()

"""`fedvlp-site ledger`: what a privacy officer sees and decides."""

from pathlib import Path
from typing import Annotated

import typer

from client.home import LEDGER
from client.ledger import Ledger
from client.options import HOME, Home
from common.errors import ConfigurationError

ledger = typer.Typer(help="What was spent of the patients' privacy, and what is left.")

LedgerFolder = Annotated[
    Path | None, typer.Option("--ledger", help="Folder of the ledger; HOME/ledger unless given.")
]


@ledger.callback(invoke_without_command=True)
def show_ledger(
    context: typer.Context,
    folder: LedgerFolder = None,
    home: Home = HOME,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """What was spent of the patients' privacy, by whom, what is left, and how many rounds that allows."""
    if context.invoked_subcommand:
        return
    from client.spending import page_of, spending_of

    spending = spending_of(Ledger(folder or home.expanduser() / LEDGER).read())
    typer.echo(spending.model_dump_json(indent=2) if as_json else page_of(spending))


@ledger.command("open")
def open_ledger(
    population: Annotated[str, typer.Option(help="Name of the patient population, for people to read.")],
    epsilon: Annotated[float, typer.Option(min=0.01, max=64, help="Budget over all projects, for ever.")],
    delta: Annotated[float, typer.Option(min=0, max=0.5, help="At most one in the number of patients.")],
    folder: LedgerFolder = None,
    home: Home = HOME,
) -> None:
    """Begin the ledger of a patient population; its budget is the hospital's decision and stays as it is."""
    if delta == 0:
        raise ConfigurationError("--delta 0: this mechanism needs a delta above zero, such as 1e-6")
    place = folder or home.expanduser() / LEDGER
    Ledger.open_new(place, population=population, epsilon=epsilon, delta=delta)
    typer.echo(f"{population}: epsilon {epsilon:g} at delta {delta:g}, nothing spent; ledger in {place}")

"""`fedvlp-site`: what a hospital runs. Everything these commands read and write stays in the hospital."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from client.audit_cli import audit
from client.doctor.command import doctor
from client.ingest.account import Account
from client.ingest.pseudonyms import open_pseudonyms
from client.ingest.quality.command import quality_command
from client.ingest.summary import Summary, summarise
from client.ingest.truth import join_truth
from client.ingest_cli import ingest_command
from client.join_cli import init, join
from client.ledger_cli import ledger
from client.options import HOME, Home, JsonOutput, StoreFolder
from client.project_cli import project
from client.roster_cli import identity, roster
from client.start_cli import start
from client.wording import count, listed
from common.imaging.preparation import Preparation
from common.store import Store, write_labels
from common.terminal import run_command

cli = typer.Typer(
    suggest_commands=False,
    rich_markup_mode="markdown",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    help="One hospital of the federation. What it reads and writes stays in the hospital.",
)
cli.add_typer(audit, name="audit")
cli.add_typer(ledger, name="ledger")
cli.add_typer(roster, name="roster")
cli.add_typer(project, name="project")
cli.command("identity")(identity)
cli.command("init")(init)
cli.command("join")(join)
cli.command("doctor")(doctor)
cli.command("start")(start)
cli.command("ingest")(ingest_command)


@cli.command()
def label(
    store: StoreFolder,
    truth: Annotated[
        Path, typer.Option(help="CSV file with sop_instance_uid, file_name or accession_number, and labels.")
    ],
    column: Annotated[
        list[str] | None,
        typer.Option(
            help="A label to take; labels.covid is an entry of a JSON column. Default: all plain ones."
        ),
    ] = None,
    home: Home = HOME,
) -> None:
    """Put ground truth beside a store, for evaluation only; training never reads it."""
    opened = Store(store)
    pseudonyms = open_pseudonyms(home.expanduser(), create=False)
    joined = join_truth(opened, truth, columns=column or [], pseudonyms=pseudonyms)
    write_labels(store, joined.labels)
    names = ", ".join(joined.labels.column_names[1:])
    typer.echo(
        f"{opened.name}: {joined.labels.num_rows:,} of {count(len(opened), 'row')} labelled ({names}); "
        f"{count(joined.num_unmatched, 'line')} of {truth.name} without a row"
    )


@cli.command()
def show(
    store: Annotated[Path, typer.Argument(help="Folder of the store.")],
    as_json: JsonOutput = False,
) -> None:
    """Count what a store holds: splits, modalities, views, report lengths, patients."""
    summary = summarise(store)
    typer.echo(summary.model_dump_json(indent=2) if as_json else _page(summary))


def _page(summary: Summary) -> str:
    words = summary.report_words
    lines = {
        "store": f"{summary.name}, {_prepared(summary.preparation)}",
        "rows": f"{summary.rows:,} ({count(summary.pairs, 'pair')}, {count(summary.images, 'image')}, "
        f"{count(words.reports, 'report')})",
        "patients": f"{summary.patients:,} ({listed(summary.patients_by_split)})",
        "split": listed(summary.rows_by_split),
        "modality": listed(summary.rows_by_modality),
        "view": listed(summary.rows_by_view),
        "report words": f"shortest {words.shortest}, median {words.median}, longest {words.longest:,}",
        "labels": ", ".join(summary.labels) or "none",
        "rejected": listed(summary.rejected),
        **({} if summary.account is None else _inputs(summary.account)),
        "digest": summary.digest,
    }
    return "\n".join(f"{title:<14}{text}" for title, text in lines.items())


def _inputs(account: Account) -> dict[str, str]:
    files, reports = account.files, account.reports
    return {
        "files": f"{files.seen:,} ({count(files.images, 'image file')}, "
        f"{count(files.reports, 'report file')}, {sum(files.refused.values()):,} refused)",
        "reports": f"{reports.read:,} ({reports.paired:,} paired, "
        f"{reports.without_image:,} without an image, {sum(reports.refused.values()):,} refused)",
        "scrubbed": listed(account.scrubbed),
    }


def _prepared(preparation: Preparation) -> str:
    windows = f", CT windows {', '.join(preparation.ct_windows)}" if preparation.ct_windows else ""
    return (
        f"images of {preparation.image_size} x {preparation.image_size}{windows}, "
        f"{count(preparation.frames, 'frame')} a file, text in the pixels: {preparation.burned_in}"
    )


cli.command("quality")(quality_command)


def main() -> None:
    """Run `fedvlp-site`, and raise SystemExit."""
    sys.exit(run_command(cli, "fedvlp-site"))

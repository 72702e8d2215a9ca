"""`fedvlp-site`: what a hospital runs. Everything these commands read and write stays in the hospital."""

import json
import os
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from client.ingest.account import Account
from client.ingest.build import Ingested, Target, ingest
from client.ingest.identity import Nameless
from client.ingest.pseudonyms import Shares, open_pseudonyms
from client.ingest.quality.command import quality_command
from client.ingest.reports import FORMATS, parse_column_map
from client.ingest.reports.formats import AUTO
from client.ingest.reports.tables import COLUMNS, FURTHER_COLUMNS
from client.ingest.summary import Summary, summarise
from client.ingest.survey import Source, survey
from client.ingest.truth import join_truth
from client.join_cli import init, join
from client.ledger_cli import ledger
from client.roster_cli import identity, roster
from common.errors import ConfigurationError
from common.imaging.preparation import LARGEST_IMAGE, SMALLEST_IMAGE, Preparation
from common.spec.run import read_spec
from common.store import Store, write_labels
from common.terminal import progress, run_command

cli = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    help="One hospital of the federation. What it reads and writes stays in the hospital.",
)
cli.add_typer(ledger, name="ledger")
cli.add_typer(roster, name="roster")
cli.command("identity")(identity)
cli.command("init")(init)
cli.command("join")(join)

Home = Annotated[
    Path,
    typer.Option(
        envvar="FEDVLP_HOME",
        help="Folder of this site's secrets and state; ~/.fedvlp unless given.",
        show_default=False,
    ),
]
HOME = Path("~/.fedvlp")
StoreFolder = Annotated[Path, typer.Option("--store", help="Folder of the store.")]
JsonOutput = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


class BurnedInChoice(StrEnum):
    """What to do with text in the pixels."""

    mask = "mask"
    mask_all = "mask-all"
    reject = "reject"
    keep = "keep"


@cli.command("ingest")
def ingest_command(
    store: StoreFolder,
    name: Annotated[str, typer.Option(help="This hospital's name in the federation.")],
    dicom: Annotated[
        Path | None,
        typer.Option(help="Folder of image files, searched to the bottom. None for reports alone."),
    ] = None,
    reports: Annotated[
        list[Path] | None,
        typer.Option(help="File or folder of reports, see --format; more may follow. None for images alone."),
    ] = None,
    more_reports: Annotated[list[Path] | None, typer.Argument(hidden=True)] = None,
    column_map: Annotated[
        list[str] | None,
        typer.Option(
            "--map",
            metavar="OURS=THEIRS",
            help=f"Their name for one of our report columns: {', '.join(COLUMNS + FURTHER_COLUMNS)}.",
        ),
    ] = None,
    format_name: Annotated[
        str,
        typer.Option(
            "--format", metavar="NAME", help=f"What the reports are: {', '.join(FORMATS)}; auto looks inside."
        ),
    ] = AUTO,
    image_table: Annotated[
        Path | None,
        typer.Option(help="CSV file that says whose images are: file_name, patient_id, accession_number."),
    ] = None,
    patient_folders: Annotated[
        bool, typer.Option("--patient-folders", help="Files lie as PATIENT/STUDY/FILE under --dicom.")
    ] = False,
    missing_patient: Annotated[
        Nameless,
        typer.Option(help="Images and reports of nobody: refuse them, or take each study for a patient."),
    ] = Nameless.REFUSE,
    spec: Annotated[
        Path | None, typer.Option(help="The project's spec (*.toml): images are prepared as it says.")
    ] = None,
    image_size: Annotated[
        int | None,
        typer.Option(help="Without --spec: side of the square images.  [default: 64]"),
    ] = None,
    burned_in: Annotated[
        BurnedInChoice | None,
        typer.Option(help="Without --spec: what to do with text in the pixels, which may name the patient."),
    ] = None,
    train_share: Annotated[float, typer.Option(help="Share of the patients to train on.")] = 0.7,
    validation_share: Annotated[float, typer.Option(help="Share of the patients to validate on.")] = 0.1,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes that decode; one per core unless given.")
    ] = None,
    home: Home = HOME,
    as_json: JsonOutput = False,
) -> None:
    """Make a store of images and the reports that belong to them, or bring it up to date.

    Patients, studies and instances are known in the store by keyed pseudonyms only, days as counted from the
    patient's first, and reports have lost whoever they name. What could not be used is listed with a reason
    code in rejected.parquet beside the store, and stays in the hospital. Files that did not change since the
    last time are not read again; an ingest that was stopped goes on where it was.
    """
    source = Source(
        dicom=dicom,
        reports=[*(reports or []), *(more_reports or [])],
        columns=parse_column_map(column_map or []),
        format_name=format_name,
        image_table=image_table,
        folders=patient_folders,
        nameless=missing_patient,
    )
    target = Target(
        store, name, _preparation(spec, image_size, burned_in), Shares(train_share, validation_share)
    )
    found = survey(source, store, workers=workers or _cores())
    pseudonyms = open_pseudonyms(home.expanduser(), create=True)
    with progress(f"ingest {name}", len(found.files), unit="files") as advance:
        done = ingest(
            found,
            target,
            pseudonyms,
            workers=workers or _cores(),
            after_file=lambda read: advance(1, "" if read else "unchanged"),
        )
    if as_json:
        document: dict[str, object] = {
            "store": str(store),
            "digest": Store(store).digest(),
            "files_read": done.num_read,
        }
        document["warnings"] = list(found.warnings)
        typer.echo(json.dumps(document | done.account.model_dump(), indent=2))
    else:
        typer.echo(f"{name}: {_told(done)} in {store}")
        for warning in found.warnings:
            typer.echo(f"warning: {warning}", err=True)
        if unread := done.account.files.refused.get("unread_report", 0):
            listed = _count(unread, "structured report")
            typer.echo(f"warning: {listed} among the images; to read them give --reports {dicom}", err=True)


def _preparation(spec: Path | None, image_size: int | None, burned_in: BurnedInChoice | None) -> Preparation:
    if spec is not None:
        if image_size is not None or burned_in is not None:
            raise ConfigurationError(
                "--spec says how images are prepared: leave out --image-size and --burned-in"
            )
        return read_spec(spec).preparation
    if burned_in is None:
        raise ConfigurationError(
            "say what to do with text in the pixels: --burned-in mask, mask-all, reject or keep; "
            "or give the project's --spec"
        )
    size = 64 if image_size is None else image_size
    if not SMALLEST_IMAGE <= size <= LARGEST_IMAGE:
        raise ConfigurationError(
            f"--image-size {size} is outside {SMALLEST_IMAGE} to {LARGEST_IMAGE}; give the project's --spec"
        )
    return Preparation(image_size=size, burned_in=burned_in.value)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _told(done: Ingested) -> str:
    account = done.account
    parts = [
        _count(account.images.with_report, "pair"),
        f"{_count(account.images.without_report, 'image')} without a report",
        f"{_count(account.reports.without_image, 'report')} without an image",
        _refused(account.files.refused, "file"),
    ]
    if account.reports.refused:
        parts.append(_refused(account.reports.refused, "report row"))
    parts.append(f"{_count(sum(account.scrubbed.values()), 'identifier')} scrubbed")
    known = account.files.seen - account.files.reports - done.num_read
    if known > 0:
        parts.append(f"{_count(done.num_read, 'file')} read anew")
    return ", ".join(parts)


def _refused(reasons: Mapping[str, int], noun: str) -> str:
    listed = f" ({_listed(reasons)})" if reasons else ""
    return f"{_count(sum(reasons.values()), noun)} refused{listed}"


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items()) or "none"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


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
        f"{opened.name}: {joined.labels.num_rows:,} of {_count(len(opened), 'row')} labelled ({names}); "
        f"{_count(joined.num_unmatched, 'line')} of {truth.name} without a row"
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
        "rows": f"{summary.rows:,} ({_count(summary.pairs, 'pair')}, {_count(summary.images, 'image')}, "
        f"{_count(words.reports, 'report')})",
        "patients": f"{summary.patients:,} ({_listed(summary.patients_by_split)})",
        "split": _listed(summary.rows_by_split),
        "modality": _listed(summary.rows_by_modality),
        "view": _listed(summary.rows_by_view),
        "report words": f"shortest {words.shortest}, median {words.median}, longest {words.longest:,}",
        "labels": ", ".join(summary.labels) or "none",
        "rejected": _listed(summary.rejected),
        **({} if summary.account is None else _inputs(summary.account)),
        "digest": summary.digest,
    }
    return "\n".join(f"{title:<14}{text}" for title, text in lines.items())


def _inputs(account: Account) -> dict[str, str]:
    files, reports = account.files, account.reports
    return {
        "files": f"{files.seen:,} ({_count(files.images, 'image file')}, "
        f"{_count(files.reports, 'report file')}, {sum(files.refused.values()):,} refused)",
        "reports": f"{reports.read:,} ({reports.paired:,} paired, "
        f"{reports.without_image:,} without an image, {sum(reports.refused.values()):,} refused)",
        "scrubbed": _listed(account.scrubbed),
    }


def _prepared(preparation: Preparation) -> str:
    windows = f", CT windows {', '.join(preparation.ct_windows)}" if preparation.ct_windows else ""
    return (
        f"images of {preparation.image_size} x {preparation.image_size}{windows}, "
        f"{_count(preparation.frames, 'frame')} a file, text in the pixels: {preparation.burned_in}"
    )


cli.command("quality")(quality_command)


def main() -> None:
    """Run `fedvlp-site`."""
    run_command(cli, "fedvlp-site")


if __name__ == "__main__":
    main()

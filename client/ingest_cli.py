"""`fedvlp-site ingest`: what it is told, and what it says."""

import json
import os
import stat
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from client.ingest.build import Ingested, Target, ingest
from client.ingest.identity import Nameless
from client.ingest.links import LINKS, NOT_LINKED, Links, read_links
from client.ingest.pseudonyms import Shares, open_pseudonyms
from client.ingest.reports import FORMATS, parse_column_map
from client.ingest.reports.formats import AUTO
from client.ingest.reports.tables import COLUMNS, FURTHER_COLUMNS
from client.ingest.survey import Source, survey
from client.options import HOME, Home, JsonOutput, StoreFolder
from client.wording import count, listed
from common.errors import ConfigurationError
from common.imaging.preparation import LARGEST_IMAGE, SMALLEST_IMAGE, Preparation
from common.spec.run import read_spec
from common.store import read_manifest
from common.terminal import progress


class BurnedInChoice(StrEnum):
    """What to do with text in the pixels."""

    mask = "mask"
    mask_all = "mask-all"
    reject = "reject"
    keep = "keep"


Name = Annotated[str, typer.Option(help="This hospital's name in the federation.")]
Images = Annotated[
    Path | None, typer.Option(help="Folder of image files, searched to the bottom. None for reports alone.")
]
Reports = Annotated[
    list[Path] | None,
    typer.Option(help="File or folder of reports, see --format; more may follow. None for images alone."),
]
MoreReports = Annotated[list[Path] | None, typer.Argument(hidden=True)]
ColumnMap = Annotated[
    list[str] | None,
    typer.Option(
        "--map",
        metavar="OURS=THEIRS",
        help=f"Their name for one of our report columns: {', '.join(COLUMNS + FURTHER_COLUMNS)}.",
    ),
]
FormatName = Annotated[
    str,
    typer.Option(
        "--format", metavar="NAME", help=f"What the reports are: {', '.join(FORMATS)}; auto looks inside."
    ),
]
ImageTable = Annotated[
    Path | None,
    typer.Option(help="CSV file that says whose images are: file_name, patient_id, accession_number."),
]
PatientFolders = Annotated[
    bool, typer.Option("--patient-folders", help="Files lie as PATIENT/STUDY/FILE under --dicom.")
]
MissingPatient = Annotated[
    Nameless,
    typer.Option(help="Images and reports of nobody: refuse them, or take each study for a patient."),
]
PatientLinks = Annotated[
    Path | None,
    typer.Option(
        help=f"CSV file of identifiers that are of one person: patient_id, person. HOME/{LINKS} unless given."
    ),
]
SpecFile = Annotated[
    Path | None, typer.Option(help="The project's spec (*.toml): images are prepared as it says.")
]
ImageSize = Annotated[
    int | None, typer.Option(help="Without --spec: side of the square images.  [default: 64]")
]
BurnedIn = Annotated[
    BurnedInChoice | None,
    typer.Option(help="Without --spec: what to do with text in the pixels, which may name the patient."),
]
TrainShare = Annotated[float, typer.Option(help="Share of the patients to train on.")]
ValidationShare = Annotated[float, typer.Option(help="Share of the patients to validate on.")]
Workers = Annotated[int | None, typer.Option(min=1, help="Processes that decode; one per core unless given.")]


def ingest_command(
    store: StoreFolder,
    name: Name,
    dicom: Images = None,
    reports: Reports = None,
    more_reports: MoreReports = None,
    column_map: ColumnMap = None,
    format_name: FormatName = AUTO,
    image_table: ImageTable = None,
    patient_folders: PatientFolders = False,
    missing_patient: MissingPatient = Nameless.REFUSE,
    patient_links: PatientLinks = None,
    spec: SpecFile = None,
    image_size: ImageSize = None,
    burned_in: BurnedIn = None,
    train_share: TrainShare = 0.7,
    validation_share: ValidationShare = 0.1,
    workers: Workers = None,
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
        links=_links(patient_links, home.expanduser()),
    )
    shares = Shares(train_share, validation_share)
    target = Target(store, name, _preparation(spec, image_size, burned_in), shares)
    done, warnings = _ingest(source, target, home.expanduser(), workers or _cores())
    if as_json:
        typer.echo(_document(target, done, warnings))
        return
    typer.echo(f"{name}: {_told(done)} in {store}")
    for warning in warnings:
        typer.echo(f"warning: {warning}", err=True)


def _ingest(source: Source, target: Target, home: Path, workers: int) -> tuple[Ingested, list[str]]:
    """What an ingest did, and what its user should know besides."""
    found = survey(source, target.store, workers=workers)
    pseudonyms = open_pseudonyms(home, create=True)
    with progress(f"ingest {target.name}", len(found.files), unit="files") as advance:
        done = ingest(
            found,
            target,
            pseudonyms,
            workers=workers,
            after_file=lambda read: advance(1, "" if read else "unchanged"),
        )
    warnings = [*found.warnings]
    if unread := done.account.files.refused.get("unread_report", 0):
        said = count(unread, "structured report")
        warnings.append(f"{said} among the images; to read them give --reports {source.dicom}")
    return done, warnings


def _links(table: Path | None, home: Path) -> Links:
    """The table that was given, or the one that the site keeps as it keeps its keys, or none."""
    kept = home / LINKS
    if table is None and not kept.exists():
        return NOT_LINKED
    if table is not None:
        return read_links(table)
    if kept.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ConfigurationError(f"{kept} can be read by others; run `chmod 600` on it")
    return read_links(kept)


def _document(target: Target, done: Ingested, warnings: list[str]) -> str:
    document = {
        "store": str(target.store),
        "digest": read_manifest(target.store).digest(),
        "files_read": done.num_read,
        "warnings": warnings,
    }
    return json.dumps(document | done.account.model_dump(), indent=2)


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
        count(account.images.with_report, "pair"),
        f"{count(account.images.without_report, 'image')} without a report",
        f"{count(account.reports.without_image, 'report')} without an image",
        _refused(account.files.refused, "file"),
    ]
    if account.reports.refused:
        parts.append(_refused(account.reports.refused, "report row"))
    parts.append(f"{count(sum(account.scrubbed.values()), 'identifier')} scrubbed")
    known = account.files.seen - account.files.reports - done.num_read
    if known > 0:
        parts.append(f"{count(done.num_read, 'file')} read anew")
    return ", ".join(parts)


def _refused(reasons: Mapping[str, int], noun: str) -> str:
    why = f" ({listed(reasons)})" if reasons else ""
    return f"{count(sum(reasons.values()), noun)} refused{why}"

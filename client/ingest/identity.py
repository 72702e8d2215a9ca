"""Whose image a file is, where it does not say so itself: by a table, by its folders, or by its study."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path, PurePath

from client.ingest.images.header import VIEWS, Header
from client.ingest.links import NOT_LINKED, Links
from client.ingest.pairing import identify, of_study
from client.ingest.rejected import Reason
from client.ingest.reports import ImageRecord, read_rows
from client.ingest.reports.report import Found

FILE, PATIENT, STUDY, VIEW = "file_name", "patient_id", "accession_number", "view"
"""Columns of a table of images; the last two may be absent."""


class Nameless(StrEnum):
    """What to do with an image or a report whose patient nothing tells."""

    REFUSE = "refuse"
    STUDY = "study"
    """Take each study for a patient of its own."""


@dataclass(frozen=True)
class Identity:
    """How to find out whose the images are; what a file says of itself always counts first."""

    records: Callable[[], Iterable[ImageRecord]] = tuple
    """What tables say; those that come first count."""
    folders: bool = False
    """Files lie as PATIENT/STUDY/FILE."""
    nameless: Nameless = Nameless.REFUSE
    links: Links = NOT_LINKED


def read_image_table(path: Path) -> Found:
    """Read a CSV file with columns `file_name` and `patient_id`, perhaps `accession_number` and `view`.

    Raises:
        ConfigurationError: no such file, or a column is missing.
        InputRefusedError: it is not UTF-8, or its quotes do not close.
    """
    table = Found()
    for line, row in read_rows(path, (FILE, PATIENT)):
        place = f"{path.name}:{line}"
        if row is None or not row[FILE].strip() or not row[PATIENT].strip():
            table.refuse(place, Reason.MALFORMED_ROW)
            continue
        view = row.get(VIEW, "").strip().upper()
        table.name_image(
            ImageRecord(
                place,
                row[FILE].strip(),
                row[PATIENT].strip(),
                row.get(STUDY, "").strip(),
                view if view in VIEWS else "",
            )
        )
    return table


def identified(
    images: Sequence[Header], identity: Identity, *, files: Sequence[str]
) -> list[Header | Reason]:
    """Each header with its patient, study and instance, or why it cannot be told whose it is.

    Args:
        images: the headers of all images.
        identity: how to find out.
        files: path of each image's file in its folder.
    """
    by_path = [_known_by_path(header, file) for header, file in zip(images, files, strict=True)]
    known = identify(by_path, identity.records(), files=files)
    found = [_one(header, identity, file) for header, file in zip(known, files, strict=True)]
    named = [header for header in found if isinstance(header, Header)]
    identity.links.require_clear(named)
    return [_linked(header, identity.links) for header in found]


def instance_of_file(path: str) -> str:
    """The instance UID of a file that has none that counts, by its path in the folder of images."""
    return f"file {path}"


def _linked(header: Header | Reason, links: Links) -> Header | Reason:
    if isinstance(header, Reason) or header.patient_id not in links.lead:
        return header
    return replace(header, person=links.person(header.patient))


def _known_by_path(header: Header, file: str) -> Header:
    """Give a file that names no study, a PNG or a JPEG, its path as its instance."""
    return (
        header
        if header.study_uid or header.accession
        else replace(header, instance_uid=instance_of_file(file))
    )


def _one(header: Header, identity: Identity, file: str) -> Header | Reason:
    if identity.folders and not header.patient_id:
        patient, study, *inside = (*PurePath(file).parts, "", "")
        if any(inside[:-2]):
            header = replace(header, patient_id=patient, accession=header.accession or study)
    study = header.accession or header.study_uid
    if not header.patient_id and identity.nameless is Nameless.STUDY and study:
        return replace(header, issuer=of_study(study)[1])
    return header if header.patient_id else Reason.NO_PATIENT

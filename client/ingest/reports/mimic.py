"""MIMIC-CXR: a text file for each study, tables that say which images are of it.

Layout: `files/p10/p10000032/s50414267.txt` (reports), `.../s50414267/<dicom_id>.dcm` or `.jpg` (images),
`mimic-cxr-2.0.0-metadata.csv` (JPG release) or `cxr-record-list.csv` (DICOM release) at the top.
Source: Johnson et al. 2019, physionet.org/content/mimic-cxr and mimic-cxr-jpg.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from client.ingest.rejected import Reason
from client.ingest.reports.plain import read_text
from client.ingest.reports.report import Found, ImageRecord, Report, ReportFile, iso_date
from client.ingest.reports.tables import usable_rows

LEVELS = 4
"""Folders from a report up to the one in which the tables lie."""
VIEWS = {"PA": "PA", "AP": "AP", "LATERAL": "LATERAL", "LL": "LL"}

_REPORT = re.compile(r"s(\d+)\.txt")
_PATIENT = re.compile(r"p(\d{8})")
_TABLE = re.compile(r"(?:mimic-cxr-.*-metadata|cxr-record-list)\.csv")
_FURTHER = re.compile(r"(?:mimic-cxr-.*|cxr-(?:record|study|provider)-list)\.csv(?:\.gz)?")


@dataclass(frozen=True)
class _Study:
    """What the tables say of one study."""

    images: tuple[str, ...]
    date: str


def is_mimic(path: Path, start: bytes) -> bool:
    """Tell whether `path` is a report or a table of MIMIC-CXR, by its name and its folder's."""
    del start
    report = _REPORT.fullmatch(path.name) and _PATIENT.fullmatch(path.parent.name)
    return bool(report or _FURTHER.fullmatch(path.name))


def read_mimic(files: Sequence[ReportFile], found: Found) -> None:
    """Read the reports, and of the tables which images are of which study and patient."""
    tables = [file for file in files if _TABLE.fullmatch(file.path.name)]
    reports = [file for file in files if _REPORT.fullmatch(file.path.name)]
    for file in files:
        if file not in reports and file not in tables:
            found.refuse(file.place, Reason.NOT_A_REPORT)
    studies = _studies(tables or list(_tables_above(reports)), found)
    if not tables:
        found.mistake = _compressed(files)
    for file in reports:
        _take(file, studies, found)


def _tables_above(reports: Sequence[ReportFile]) -> Iterable[ReportFile]:
    """The tables of the release to which the first report belongs."""
    for folder in list(reports[0].path.absolute().parents)[:LEVELS] if reports else []:
        tables = sorted(path for path in folder.iterdir() if _TABLE.fullmatch(path.name))
        if tables:
            return [ReportFile(path, path.name) for path in tables]
    return []


def _compressed(files: Iterable[ReportFile]) -> str:
    """What to do about tables that lie there compressed only, without which no image has a patient."""
    for file in files:
        if _TABLE.fullmatch(file.path.name.removesuffix(".gz")) and file.path.suffix == ".gz":
            return f"{file.place} is compressed; unpack it (gunzip -k) and ingest again"
    return ""


def _studies(tables: Iterable[ReportFile], found: Found) -> dict[str, _Study]:
    """Study -> its images and date; what a table says of each image goes into `found`."""
    images: defaultdict[str, dict[str, None]] = defaultdict(dict)
    dates: dict[str, str] = {}
    for table in tables:
        for place, row in usable_rows(table, ("dicom_id", "subject_id", "study_id"), found):
            image, study = row["dicom_id"].strip(), row["study_id"].strip()
            view = VIEWS.get(row.get("ViewPosition", "").strip().upper(), "")
            if image not in images[study]:
                found.name_image(ImageRecord(place, image, row["subject_id"].strip(), study, view))
            images[study][image] = None
            dates[study] = iso_date(row.get("StudyDate", "").split(".")[0]) or dates.get(study, "")
    return {study: _Study(tuple(named), dates[study]) for study, named in images.items()}


def _take(file: ReportFile, studies: dict[str, _Study], found: Found) -> None:
    text = read_text(file.path)
    if isinstance(text, Reason):
        found.refuse(file.place, text)
        return
    number = file.path.stem[1:]
    study = studies.get(number, _Study((), ""))
    patient = file.path.parent.name[1:]
    found.add(
        Report(file.place, number, patient, (), text, file_names=study.images, date=study.date, language="en")
    )

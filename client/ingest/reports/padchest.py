"""PadChest: one table with a row per image; the Spanish report stands in the row of each of its images.

Source: Bustos et al. 2020, doi:10.1016/j.media.2020.101797.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from client.ingest.rejected import Reason
from client.ingest.reports.report import Found, ImageRecord, Report, ReportFile, iso_date, repetitions
from client.ingest.reports.tables import table_columns, usable_rows

COLUMNS = ("ImageID", "StudyID", "PatientID", "Report")
VIEWS = {"PA": "PA", "AP": "AP", "AP_HORIZONTAL": "AP", "L": "LATERAL"}


def is_padchest(path: Path, start: bytes) -> bool:
    """Tell whether `path`, which begins with `start`, is PadChest's table."""
    return path.suffix.lower() == ".csv" and set(COLUMNS) <= set(table_columns(start))


def read_padchest(files: Sequence[ReportFile], found: Found) -> None:
    """Read the images, and one report for each study and text."""
    for file in files:
        for place, row in usable_rows(file, COLUMNS, found):
            if row["ImageID"].strip():
                _take(file, place, row, found)
            else:
                found.refuse(place, Reason.MALFORMED_ROW)


def _take(file: ReportFile, place: str, row: Mapping[str, str], found: Found) -> None:
    image, study, patient, text = (row[column].strip() for column in COLUMNS)
    view = VIEWS.get(row.get("Projection", "").strip().upper(), "")
    found.name_image(ImageRecord(place, image, patient, study, view))
    if text and text != "nan":
        date = iso_date(row.get("StudyDate_DICOM", "").split(".")[0])
        report = Report(place, study, patient, (), text, file_names=(image,), date=date, language="es")
        found.add(report, repetitions(file.place, study, text))

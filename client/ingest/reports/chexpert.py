"""CheXpert (`train.csv`: paths and labels, no reports) and CheXpert Plus (the reports too, a row per image).

A path reads `train/patient00001/study1/view1_frontal.jpg`, in CheXpert after the name of the data set.
Source: Irvin et al. 2019, arXiv:1901.07031; Chambon et al. 2024, arXiv:2405.19538.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from client.ingest.rejected import Reason
from client.ingest.reports.report import (
    Found,
    ImageRecord,
    Report,
    ReportFile,
    in_sections,
    repetitions,
    written,
)
from client.ingest.reports.tables import table_columns, usable_rows
from common.text.sections import PREAMBLE

PATH, PLUS_PATH = "Path", "path_to_image"
LABELS = frozenset({PATH, "Frontal/Lateral", "AP/PA"})
PLUS = frozenset({PLUS_PATH, "deid_patient_id", "report"})
SECTIONS = {
    "section_narrative": PREAMBLE,
    "section_clinical_history": "indication",
    "section_history": "indication",
    "section_comparison": "comparison",
    "section_technique": "technique",
    "section_procedure_comments": "technique",
    "section_findings": "findings",
    "section_impression": "impression",
    "section_end_of_impression": "impression",
    "section_summary": "impression",
}
"""Column of CheXpert Plus -> our section, in the order in which a report has them."""

_STUDY = re.compile(r"(?:^|/)((?:train|valid|test)/(patient\d+)/(study\d+)/[^/]+)$")
_EMPTY = frozenset({"", "nan"})
"""pandas writes a missing text as "nan" where it is told to."""


def is_chexpert(path: Path, start: bytes) -> bool:
    """Tell whether `path`, which begins with `start`, is a table of CheXpert or CheXpert Plus."""
    return path.suffix.lower() == ".csv" and _is_either(set(table_columns(start)))


def _is_either(columns: set[str]) -> bool:
    return columns >= PLUS or columns >= LABELS


def read_chexpert(files: Sequence[ReportFile], found: Found) -> None:
    """Read the images of each table, and one report for each study that has one."""
    for file in files:
        try:
            with file.path.open("rb") as opened:
                plus = PLUS_PATH in table_columns(opened.read(4096))
        except OSError:
            found.refuse(file.place, Reason.UNREADABLE)
            continue
        _read_table(file, PLUS_PATH if plus else PATH, found)


def _read_table(file: ReportFile, path_column: str, found: Found) -> None:
    for place, row in usable_rows(file, [path_column], found):
        match = _STUDY.search(row[path_column].strip().replace("\\", "/"))
        if match is None:
            found.refuse(place, Reason.MALFORMED_ROW)
            continue
        name, patient, study = match.groups()
        accession = f"{patient}/{study}"
        found.name_image(ImageRecord(place, name, patient, accession, _view(row)))
        sections = in_sections((ours, _filled(row, theirs)) for theirs, ours in SECTIONS.items())
        text = _filled(row, "report") or written(sections)
        if text:
            report = Report(
                place, accession, patient, (), text, file_names=(name,), language="en", sections=sections
            )
            found.add(report, repetitions(file.place, accession, text))


def _filled(row: Mapping[str, str], column: str) -> str:
    text = row.get(column, "").strip()
    return "" if text in _EMPTY else text


def _view(row: Mapping[str, str]) -> str:
    side = (row.get("Frontal/Lateral") or row.get("frontal_lateral") or "").strip().lower()
    projection = (row.get("AP/PA") or row.get("ap_pa") or "").strip().upper()
    return "LATERAL" if side == "lateral" else projection if projection in ("AP", "PA") else ""

"""ROCO and ROCOv2: captions of figures from open articles, with the names of their images.

Layouts: `captions.txt` (`ROCO_00001<tab>caption`, the caption may go on below) with `licences.txt` beside it,
`radiologytraindata.csv` (id, name, caption), and ROCOv2's `train_captions.csv` (ID, Caption).
Source: Pelka et al. 2018, doi:10.1007/978-3-030-01364-6_20; Rückert et al. 2024,
doi:10.1038/s41597-024-03496-6.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from client.ingest.rejected import Reason
from client.ingest.reports.plain import read_text
from client.ingest.reports.report import Found, ImageRecord, Report, ReportFile, unique
from client.ingest.reports.tables import table_columns, usable_rows

CAPTIONS, LICENCES = "captions.txt", "licences.txt"
KEYWORDS = frozenset({"keywords.txt", "cuis.txt", "semtypes.txt", "dlinks.txt"})
MAX_CAPTIONS_BYTES = 1 << 28

_LINE = re.compile(r"^(ROCO_\d+)\t", re.MULTILINE)
_ARTICLE = re.compile(r"PMC\d+")


@dataclass(frozen=True)
class _Caption:
    """One caption; the image's name in its article is "" where the file does not say it."""

    place: str
    number: str
    image: str
    text: str


def is_roco(path: Path, start: bytes) -> bool:
    """Tell whether `path`, which begins with `start`, is one of ROCO's files."""
    if path.name in (CAPTIONS, *KEYWORDS):
        return start.startswith(b"ROCO_")
    if path.name == LICENCES:
        return start.startswith(b"ROCO_ID")
    columns = table_columns(start) if path.suffix.lower() == ".csv" else ()
    return columns == ("id", "name", "caption") or (columns == ("ID", "Caption") and b"ROCOv2_" in start)


def read_roco(files: Sequence[ReportFile], found: Found) -> None:
    """Read the captions, each once: one that two files give counts as that of both names.

    The images of one article count as one patient: they often are. Where a file does not name the article
    (ROCOv2), each image is its own patient.
    """
    licences = dict(_licences(files, found))
    captions: dict[tuple[str, str], list[_Caption]] = {}
    for file in files:
        for caption in _captions(file, found):
            captions.setdefault((caption.number, caption.text.strip()), []).append(caption)
    for (number, text), same in captions.items():
        name = next((one.image for one in same if one.image), licences.get(number, ""))
        article = _ARTICLE.match(name)
        patient = article[0] if article else number
        names = unique([number, name])
        place = same[0].place
        for one in names:
            found.name_image(ImageRecord(place, one, patient, ""))
        found.add(Report(place, "", patient, (), text, file_names=names, language="en"))


def _captions(file: ReportFile, found: Found) -> Iterator[_Caption]:
    if file.path.name == CAPTIONS:
        yield from _of_lines(file, found)
    elif file.path.suffix.lower() == ".csv":
        yield from _of_table(file, found)
    elif file.path.name != LICENCES:
        found.refuse(file.place, Reason.NOT_A_REPORT)


def _of_lines(file: ReportFile, found: Found) -> Iterator[_Caption]:
    text = read_text(file.path, at_most=MAX_CAPTIONS_BYTES)
    if isinstance(text, Reason):
        found.refuse(file.place, text)
        return
    starts = list(_LINE.finditer(text))
    ends = [match.start() for match in starts[1:]] + [len(text)]
    line, counted = 1, 0
    for match, end in zip(starts, ends, strict=True):
        line, counted = line + text.count("\n", counted, match.start()), match.start()
        yield _Caption(f"{file.place}:{line}", match[1], "", text[match.end() : end])


def _of_table(file: ReportFile, found: Found) -> Iterator[_Caption]:
    for place, row in usable_rows(file, (), found):
        number, text = _first(row, "id", "ID"), _first(row, "caption", "Caption")
        yield _Caption(place, number.strip(), row.get("name", "").strip(), text)


def _first(row: Mapping[str, str], *columns: str) -> str:
    return next((row[column] for column in columns if column in row), "")


def _licences(files: Sequence[ReportFile], found: Found) -> Iterator[tuple[str, str]]:
    """ROCO's number -> name of the image in its article."""
    for file in files:
        if file.path.name == LICENCES:
            for _, row in usable_rows(file, ("ROCO_ID", "PMC_ID"), found):
                yield row["ROCO_ID"].strip(), row["PMC_ID"].strip()

"""Open-i (Indiana University chest radiographs): one XML file for each report, in `ecgen-radiology`.

Source: openi.nlm.nih.gov/faq, Demner-Fushman et al. 2016, doi:10.1093/jamia/ocv080.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from xml.parsers import expat

from client.ingest.rejected import Reason
from client.ingest.reports.report import (
    MAX_TEXT_BYTES,
    Found,
    ImageRecord,
    Report,
    ReportFile,
    in_sections,
    unique,
    written,
)
from common.text.sections import section_named

ROOT = b"<eCitation"
MAX_DEPTH = 64
TEXT, IMAGE, CITATION = "AbstractText", "parentImage", "uId"


class _RefusedError(Exception):
    """Carries the reason out of the parser."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass
class _Citation:
    """What has been read of one file."""

    name: str = ""
    parts: list[tuple[str, str]] = field(default_factory=list)
    """Label and text of each part of the abstract."""
    images: list[str] = field(default_factory=list)
    open_elements: list[str] = field(default_factory=list)
    label: str = ""
    words: list[str] = field(default_factory=list)

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self.open_elements.append(name)
        if len(self.open_elements) > MAX_DEPTH:
            raise _RefusedError(Reason.TOO_DEEP)
        if name == CITATION and not self.name:
            self.name = attributes.get("id", "").strip()
        elif name == IMAGE:
            self.images.append(attributes.get("id", "").strip())
        elif name == TEXT:
            self.label, self.words = attributes.get("Label", ""), []

    def text(self, words: str) -> None:
        if TEXT in self.open_elements:
            self.words.append(words)

    def end(self, name: str) -> None:
        self.open_elements.pop()
        if name == TEXT:
            self.parts.append((self.label, "".join(self.words)))


def is_openi(path: Path, start: bytes) -> bool:
    """Tell whether an XML file that begins with `start` is one of Open-i's."""
    return ROOT in start and path.suffix.lower() == ".xml"


def read_openi(files: Sequence[ReportFile], found: Found) -> None:
    """Read each file as one report; its images are those whose ids it names.

    The PNG release names a file `CXR1_1_IM-0001-3001.png`, the DICOM release `1/1_IM-0001-3001.dcm`.
    """
    for file in files:
        citation = _parse(file.path)
        if isinstance(citation, Reason):
            found.refuse(file.place, citation)
        else:
            _take(file.place, citation, found)


def _take(place: str, citation: _Citation, found: Found) -> None:
    sections = in_sections(
        (section_named(label) or label.strip().lower() or "report", text) for label, text in citation.parts
    )
    images = unique(citation.images)
    names = tuple(name for image in images for name in _file_names(image))
    for name in names if citation.name else ():
        found.name_image(ImageRecord(place, name, citation.name, citation.name))
    found.add(
        Report(
            place=place,
            accession=citation.name,
            patient_id=citation.name,
            instance_uids=(),
            text=written(sections),
            file_names=names,
            language="en",
            sections=sections,
        )
    )


def _file_names(image: str) -> list[str]:
    """The file's name in the PNG release, and its folder and name in the DICOM release."""
    case, underscore, rest = image.partition("_")
    return [image, f"{case[3:]}/{rest}"] if underscore and image.startswith("CXR") else [image]


def _parse(path: Path) -> _Citation | Reason:
    citation = _Citation()
    parser = expat.ParserCreate()
    parser.StartElementHandler = citation.start
    parser.EndElementHandler = citation.end
    parser.CharacterDataHandler = citation.text
    parser.EntityDeclHandler = _refuse_entity
    try:
        if path.stat().st_size > MAX_TEXT_BYTES:
            return Reason.TOO_LONG
        parser.Parse(path.read_bytes(), True)
    except _RefusedError as refused:
        return refused.reason
    except (expat.ExpatError, UnicodeDecodeError, LookupError):
        return Reason.MALFORMED_REPORT
    except OSError:
        return Reason.UNREADABLE
    return citation


def _refuse_entity(*_: object) -> None:
    raise _RefusedError(Reason.FORBIDDEN_ENTITY)

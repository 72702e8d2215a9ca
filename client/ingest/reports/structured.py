"""DICOM structured reports: Basic Text, Enhanced, Comprehensive and Extensible, at any depth.

Source: DICOM PS3.3 A.35 and C.17.3 (document content), PS3.16 TID 2000 and CID 7001 (headings).
"""

import struct
import warnings
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.multival import MultiValue
from pydicom.uid import UID

from client.ingest.deidentify.headers import identifiers_of
from client.ingest.documents import KEY_OBJECTS, NARRATIVES, SR_CLASSES
from client.ingest.rejected import Reason
from client.ingest.reports.report import (
    MAX_CHARACTERS,
    MAX_TEXT_BYTES,
    Found,
    Report,
    ReportFile,
    in_sections,
    iso_date,
    language_tag,
    uid_in,
    unique,
    written,
)
from common.text.sections import REPORT, section_named

MAX_DEPTH = 64
MAX_ITEMS = 100_000
MAX_FILE_BYTES = 16 * MAX_TEXT_BYTES

SPOKEN = frozenset({"", "CONTAINS", "HAS PROPERTIES", "HAS CONCEPT MOD", "INFERRED FROM", "SELECTED FROM"})
"""Relationships whose target is part of the report; who observed and with what is not."""
HEADINGS = {
    **dict.fromkeys(("121070", "121071", "59776-5", "18782-3"), "findings"),
    **dict.fromkeys(("121072", "121073", "121076", "121077", "121111", "19005-8", "55110-1"), "impression"),
    **dict.fromkeys(("121060", "121062", "121109", "18785-6", "11329-0", "55115-0"), "indication"),
    **dict.fromkeys(("121064", "121065"), "examination"),
    **dict.fromkeys(("55111-9",), "technique"),
    **dict.fromkeys(("121066", "121067", "121068", "121069", "18834-2", "55114-3"), "comparison"),
    **dict.fromkeys(("121074", "121075", "18783-1"), "recommendation"),
    **dict.fromkeys(("121078", "55107-7"), "addendum"),
}
"""Code of a heading or of the element under it -> our section, whatever the language of its meaning.

Source: PS3.16 CID 7001 and 7002 (DCM), CID 7001 of later editions (LOINC).
"""
LANGUAGE = "121049"
"""Code of the concept modifier that says in which language a document is. Source: PS3.16 CID 7001."""

_BROKEN = (
    *(InvalidDicomError, AttributeError, EOFError, IndexError, KeyError, NotImplementedError, OverflowError),
    *(TypeError, ValueError, BytesLengthException, struct.error, zlib.error),
)
"""What pydicom raises of elements that are not what their tag says."""


@dataclass(frozen=True)
class Item:
    """A content item that says something: its words, and the heading under which they stand."""

    section: str
    words: str


@dataclass
class Content:
    """What the content tree of a document says."""

    items: list[Item]
    images: list[str]
    language: str = ""
    too_deep: bool = False


def is_structured(path: Path, start: bytes) -> bool:
    """Tell whether a file that begins with `start` (4 KiB) is a DICOM structured report, of any class."""
    del path
    return SR_CLASSES.encode() in start and (start[128:132] == b"DICM" or start[:1] in (b"\x02", b"\x08"))


def read_structured(files: Sequence[ReportFile], found: Found) -> None:
    """Read structured reports; one whose successor is among the files is superseded.

    A report that comes twice counts once; two texts under one SOP instance UID, which there should not be,
    are two reports.
    """
    read = []
    for file in files:
        document = _read(file)
        if isinstance(document, Reason):
            found.refuse(file.place, document)
        else:
            read.append(document)
    replaced = {uid for document in read for uid in document.predecessors}
    seen: set[tuple[str, str, str]] = set()
    for document in read:
        if document.instance_uid in replaced:
            found.refuse(document.report.place, Reason.SUPERSEDED)
        elif (key := (document.instance_uid, document.report.accession, document.report.text)) in seen:
            found.refuse(document.report.place, Reason.DUPLICATE_INSTANCE)
        else:
            seen.add(key)
            found.add(document.report)


@dataclass(frozen=True)
class Document:
    """One structured report, and the earlier ones that it replaces."""

    instance_uid: str
    predecessors: tuple[str, ...]
    report: Report


def _read(file: ReportFile) -> Document | Reason:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's warnings quote header values
        try:
            if file.path.stat().st_size > MAX_FILE_BYTES:
                return Reason.TOO_LONG
            dataset = dcmread(file.path, force=True, stop_before_pixels=True)
            kind = _text(dataset, "SOPClassUID")
            if kind not in NARRATIVES:
                return Reason.KEY_OBJECTS if kind == KEY_OBJECTS else Reason.NOT_A_REPORT
            return _document(file.place, dataset)
        except RecursionError:
            return Reason.TOO_DEEP
        except OSError:
            return Reason.UNREADABLE
        except _BROKEN:
            return Reason.MALFORMED_REPORT


def _document(place: str, dataset: Dataset) -> Document | Reason:
    content = _content(dataset)
    if content.too_deep:
        return Reason.TOO_DEEP
    sections = in_sections((item.section, item.words) for item in content.items)
    requests = list(dataset.get("ReferencedRequestSequence") or [])
    accessions = unique(_text(one, "AccessionNumber") for one in [dataset, *requests])
    report = Report(
        place=place,
        accession=next(iter(accessions), ""),
        patient_id=_text(dataset, "PatientID"),
        instance_uids=unique(content.images or _evidence(dataset)),
        text=written(sections),
        further_accessions=accessions[1:],
        study_uids=unique(uid_in(_text(one, "StudyInstanceUID")) for one in [dataset, *requests]),
        date=iso_date(_text(dataset, "StudyDate") or _text(dataset, "ContentDate")),
        language=content.language,
        sections=sections,
        identifiers=identifiers_of(dataset),
    )
    return Document(_text(dataset, "SOPInstanceUID"), tuple(_predecessors(dataset)), report)


def _content(dataset: Dataset) -> Content:
    """Walk the tree in the order of the document, without recursion."""
    content = Content([], [])
    waiting: list[tuple[Dataset, str, int]] = [(dataset, REPORT, 0)]
    seen = length = 0
    while waiting and not content.too_deep and length <= MAX_CHARACTERS:
        item, heading, depth = waiting.pop()
        seen += 1
        content.too_deep = depth > MAX_DEPTH or seen > MAX_ITEMS
        own = HEADINGS.get(_concept(item)) or section_named(_meaning(item))
        section = own or heading
        if words := _words(item, named=own is not None):
            content.items.append(Item(section, words))
            length += len(words)
        content.images += _referenced(item) if _text(item, "ValueType") == "IMAGE" else []
        content.language = content.language or _language(item)
        waiting += [(child, section, depth + 1) for child in _children(item)][::-1]
    return content


def _children(item: Dataset) -> Iterator[Dataset]:
    return (
        child
        for child in item.get("ContentSequence") or []
        if _text(child, "RelationshipType") in SPOKEN and _concept(child) != LANGUAGE
    )


def _language(item: Dataset) -> str:
    """The language of a document, where one of its modifiers says it."""
    for child in item.get("ContentSequence") or []:
        if _concept(child) == LANGUAGE:
            return language_tag(_code(child, "ConceptCodeSequence", "CodeValue"))
    return ""


def _words(item: Dataset, *, named: bool) -> str:
    """What an item says: `meaning: value`, or the value alone where the meaning is the section's header."""
    value, meaning = _value(item), _meaning(item)
    return value if named or not value or not meaning else f"{meaning}: {value}"


def _value(item: Dataset) -> str:
    kind = _text(item, "ValueType")
    if kind == "TEXT":
        return _text(item, "TextValue")
    if kind == "CODE":
        return _code(item, "ConceptCodeSequence", "CodeMeaning")
    if kind == "NUM":
        return " ".join(filter(None, map(_measured, item.get("MeasuredValueSequence") or [])))
    return _text(item, {"DATE": "Date", "TIME": "Time", "DATETIME": "DateTime"}.get(kind, ""))


def _measured(item: Dataset) -> str:
    unit = _code(item, "MeasurementUnitsCodeSequence", "CodeValue")
    return f"{_text(item, 'NumericValue')} {'' if unit == '1' else unit}".strip()


def _concept(item: Dataset) -> str:
    return _code(item, "ConceptNameCodeSequence", "CodeValue")


def _meaning(item: Dataset) -> str:
    return _code(item, "ConceptNameCodeSequence", "CodeMeaning")


def _code(item: Dataset, sequence: str, keyword: str) -> str:
    codes = item.get(sequence) or []
    return _text(codes[0], keyword) if len(codes) else ""


def _referenced(item: Dataset) -> list[str]:
    references = item.get("ReferencedSOPSequence") or []
    return [uid_in(_text(one, "ReferencedSOPInstanceUID")) for one in references]


def _evidence(dataset: Dataset) -> Iterator[str]:
    """The images that were read for the report, where its content points to none."""
    for study in dataset.get("CurrentRequestedProcedureEvidenceSequence") or []:
        for series in study.get("ReferencedSeriesSequence") or []:
            for instance in series.get("ReferencedSOPSequence") or []:
                if "Image Storage" in UID(_text(instance, "ReferencedSOPClassUID")).name:
                    yield uid_in(_text(instance, "ReferencedSOPInstanceUID"))


def _predecessors(dataset: Dataset) -> Iterator[str]:
    for study in dataset.get("PredecessorDocumentsSequence") or []:
        for series in study.get("ReferencedSeriesSequence") or []:
            for instance in series.get("ReferencedSOPSequence") or []:
                yield uid_in(_text(instance, "ReferencedSOPInstanceUID"))


def _text(dataset: Dataset, keyword: str) -> str:
    value = dataset.get(keyword) if keyword else None
    if isinstance(value, MultiValue):
        value = "\\".join(str(part) for part in value)
    return str(value if value is not None else "").strip(" \t\r\n\0")

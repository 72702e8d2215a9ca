"""A report, whatever format it came in, and what a data set says of its image files."""

import hashlib
import json
import re
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path

from client.ingest.deidentify import NOBODY_NAMED, Identifiers
from client.ingest.rejected import Reason, Refusal
from common.text.sections import PREAMBLE, REPORT, Sections, merge_sections, parse_sections

MAX_CHARACTERS = 1 << 20
"""Of one report; long ones have some 30,000."""
MAX_TEXT_BYTES = 4 * MAX_CHARACTERS
"""Of one report in any encoding."""
MAX_UID_CHARACTERS = 64
"""Source: DICOM PS3.5, 9.1."""

_UID = re.compile(r"\d+(?:\.\d+)+")
_DATE = re.compile(r"(\d{4})(?:([-/.]?)(\d{2})(?:\2(\d{2}))?)?(?!\d)")
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(?:-[A-Za-z0-9]{1,8}){0,3}")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_SURROGATE = re.compile(r"[\ud800-\udfff]")


@dataclass(frozen=True)
class Report:
    """One report; any field but the text may be empty. Identifiers as they stand in the source."""

    place: str
    """`reports.csv:12`, the row that ends on line 12; for a file of its own its path in the folder."""
    accession: str
    patient_id: str
    instance_uids: tuple[str, ...]
    """The images it names; it belongs to no others."""
    text: str
    further_accessions: tuple[str, ...] = ()
    """A report may answer several orders."""
    study_uids: tuple[str, ...] = ()
    file_names: tuple[str, ...] = ()
    """Image files it names, as the source writes them, with or without folders and suffix."""
    date: str = ""
    """ISO 8601: a day, a month or a year."""
    language: str = ""
    """BCP 47, such as `es`."""
    sections: Sections = field(default_factory=dict)
    """As the source divides it, in the source's order; {} where it has one text only."""
    identifiers: Identifiers = NOBODY_NAMED
    """Whom its source names beside the fields above."""

    def known(self) -> Identifiers:
        """Everything of its record that its text may repeat."""
        numbers = (self.patient_id, self.accession, *self.further_accessions, *self.study_uids)
        return self.identifiers | Identifiers(ids=numbers, dates=(self.date,))

    def parts(self) -> Sections:
        """Its sections, those of the source or else those that its headers make."""
        return dict(self.sections) or parse_sections(self.text)


@dataclass(frozen=True)
class ImageRecord:
    """What a data set's table says of an image file that says nothing of itself."""

    place: str
    file_name: str
    patient_id: str
    accession: str
    """The data set's name of the study; "" where it has none."""
    view: str = ""
    """PA, AP, LATERAL or LL; "" where unknown."""


@dataclass(frozen=True)
class ReportFile:
    """A file to read, and the name by which a person finds it."""

    path: Path
    place: str


@dataclass(frozen=True)
class Copies:
    """What tells that several reports of one path are one: either versions of it, or rows that repeat it."""

    key: str
    """Of all of them."""
    version: str = ""
    """Sorts as text; the last one counts and supersedes the others, of equal ones the one that comes last."""
    repeated: bool = False
    """The first counts instead, for the image files that any of them names."""


@dataclass(frozen=True)
class Entry:
    """A report, or why there is none, as it comes from a file."""

    outcome: Report | Refusal
    copies: Copies | None = None


PIECE_ENTRIES, PIECE_CHARACTERS = 500, 1 << 20
"""What is passed on together, at least one of the two."""


@dataclass
class Found:
    """What a reader has found; every input is in `entries`, or was only context."""

    entries: list[Entry] = field(default_factory=list)
    images: list[ImageRecord] = field(default_factory=list)
    mistake: str = ""
    """What is to be mended before an ingest is worth its time, in one line."""
    pass_on: Callable[["Found"], None] | None = field(default=None, compare=False)
    """Takes a piece whenever one is full, so that memory holds no more; without it everything stays here."""
    _characters: int = 0

    def add(self, report: Report, copies: Copies | None = None) -> None:
        """Take a report, or refuse it where it is empty or too long."""
        if len(report.text) > MAX_CHARACTERS:
            self.refuse(report.place, Reason.TOO_LONG, copies=copies)
        elif not report.text.strip():
            self.refuse(report.place, Reason.EMPTY_REPORT, copies=copies)
        else:
            sections = {name: legible(text) for name, text in report.sections.items()}
            self._characters += 2 * len(report.text)
            self._enter(replace(report, text=legible(report.text), sections=sections), copies)

    def refuse(self, place: str, reason: Reason, detail: str = "", *, copies: Copies | None = None) -> None:
        """Leave an input out, and say why."""
        self._enter(Refusal(place, reason, detail), copies)

    def name_image(self, record: ImageRecord) -> None:
        """Take what a table says of an image file."""
        self.images.append(record)
        self._pass_on_what_is_full()

    def _enter(self, outcome: Report | Refusal, copies: Copies | None) -> None:
        self.entries.append(Entry(outcome, copies))
        self._pass_on_what_is_full()

    def _pass_on_what_is_full(self) -> None:
        if len(self.entries) + len(self.images) >= PIECE_ENTRIES or self._characters >= PIECE_CHARACTERS:
            self.pass_on_rest()

    def pass_on_rest(self) -> None:
        """Pass on what is left; to be called after the last entry."""
        if self.pass_on is not None:
            self.pass_on(Found(self.entries, self.images, self.mistake))
            self.entries, self.images, self._characters = [], [], 0


def repetitions(place: str, *what: str) -> Copies:
    """Mark a report as one that further rows of the file at `place` repeat if they say the same `what`."""
    digest = hashlib.blake2b(json.dumps([place, *what]).encode(), digest_size=16)
    return Copies(digest.hexdigest(), repeated=True)


def legible(text: str) -> str:
    """Compose accents (NFC), turn control characters into blanks and lone surrogates into U+FFFD."""
    return unicodedata.normalize("NFC", _SURROGATE.sub("\ufffd", _CONTROL.sub(" ", text)))


def in_sections(parts: Iterable[tuple[str, str]]) -> Sections:
    """Join (section, text) pairs in order; where a text has headers of its own, they count."""
    return merge_sections(
        {name if part in (REPORT, PREAMBLE) else part: words}
        for name, text in parts
        for part, words in parse_sections(text).items()
    )


def written(sections: Sections) -> str:
    """The sections as one text with headers in capitals; `parse_sections` reads them back."""
    return "\n".join(
        text if name == REPORT else f"{name.upper()}: {text}" for name, text in sections.items()
    ).strip()


def unique(values: Iterable[str]) -> tuple[str, ...]:
    """The values that are not empty, each once, in their order."""
    return tuple(dict.fromkeys(value for value in values if value))


def uid_in(text: str) -> str:
    """The DICOM UID that `text` is, with or without `urn:oid:`; "" if it is none."""
    uid = text.strip().removeprefix("urn:oid:")
    return uid if _UID.fullmatch(uid) and len(uid) <= MAX_UID_CHARACTERS else ""


def iso_date(text: str) -> str:
    """`20170211`, `2017-02-11T10:00` or `2017/02` as ISO 8601; "" for anything else."""
    match = _DATE.match(text.strip())
    if match is None:
        return ""
    year, _, month, day = match.groups()
    try:
        date(int(year), int(month or 1), int(day or 1))
    except ValueError:
        return ""
    return "-".join(part for part in (year, month, day) if part)


def language_tag(text: str) -> str:
    """A language tag as it stands, "" if it is none."""
    return text.strip() if _LANGUAGE.fullmatch(text.strip()) else ""

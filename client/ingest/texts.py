"""Reports as the store keeps them: without the people in them, in sections."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, groupby, islice
from operator import itemgetter

from client.ingest.deidentify import Identifiers, scrub
from client.ingest.images.header import Header, Patient
from client.ingest.pairing import Pairing
from client.ingest.reports import Report, Shelf
from client.ingest.scratch import Scratch
from client.ingest.scrubbers import in_order
from common.text.sections import (
    HEADERS,
    PREAMBLE,
    REPORT,
    Sections,
    merge_sections,
    speaks_of_change,
    split_sentences,
)

SECTION_NAMES = frozenset({*HEADERS, PREAMBLE, REPORT})
"""Sections a store may name; any other title could be an identifier, so it becomes part of the text."""


MOST_RECORDS = 500
"""Different headers and records of one person."""


class Texts:
    """Every report that has a place in the store, without identifiers."""

    def __init__(self, scratch: Scratch) -> None:
        """Keep the texts in a table of `scratch`."""
        self._scratch = scratch
        self.scrubbed: Counter[str] = Counter()
        """Kind of identifier -> how many were taken out."""
        scratch.run("CREATE TABLE text (number INTEGER PRIMARY KEY, sections TEXT)")

    def keep(self, number: int, sections: Sections) -> None:
        """Keep the sections of a report."""
        self._scratch.run("INSERT INTO text VALUES (?, ?)", (number, json.dumps(sections)))

    def of(self, reports: Iterable[int]) -> Sections:
        """The sections of several reports together; {} for one that was refused."""
        return merge_sections(map(self._sections, reports))

    def _sections(self, number: int) -> Sections:
        row = self._scratch.run("SELECT sections FROM text WHERE number = ?", (number,)).fetchone()
        sections: Sections = json.loads(row[0]) if row else {}
        return sections


def read_texts(images: Sequence[Header], reports: Shelf, pairing: Pairing, *, workers: int) -> Texts:
    """Scrub all reports that enter the store, before their sections are taken; `workers` processes do it.

    A report loses whatever the headers of its patient's images and the records of its patient's reports say:
    the report of one study often tells of another. Where a patient has more of these than a person can have,
    the number stands for nobody in particular, and the report loses what its own images and record say.
    """
    texts = Texts(reports.scratch)
    for clean in in_order(_scrubbed, _with_people(images, reports, pairing), workers=workers):
        texts.keep(clean.number, clean.sections)
        texts.scrubbed.update(clean.counts)
    return texts


@dataclass(frozen=True)
class _Named:
    """A report, and whose names it must lose."""

    number: int
    report: Report
    people: Identifiers


@dataclass(frozen=True)
class _Clean:
    """A report without identifiers."""

    number: int
    sections: Sections
    counts: Counter[str]


def _with_people(images: Sequence[Header], reports: Shelf, pairing: Pairing) -> Iterator[_Named]:
    images_of_patient: defaultdict[Patient, list[Header]] = defaultdict(list)
    images_of_report: defaultdict[int, list[Header]] = defaultdict(list)
    for image, numbers in zip(images, pairing.reports_of, strict=True):
        images_of_patient[image.patient].append(image)
        for number in numbers:
            images_of_report[number].append(image)
    for patient, rows in groupby(reports.by_patient(), key=itemgetter(0)):
        waiting = iter(rows)
        several = list(islice(waiting, MOST_RECORDS + 1))
        told = _told(chain(several, waiting), images_of_patient.get(patient, ()))
        united = Identifiers.united(told) if len(told) <= MOST_RECORDS else None
        # Whoever has more reports than we hold has them read again.
        for _, number, report in several if len(several) <= MOST_RECORDS else reports.by_patient(patient):
            people = united or _united(report, images_of_report.get(number, ()))
            yield _Named(number, report, people)


def _told(
    reports: Iterable[tuple[Patient, int, Report]], images: Iterable[Header]
) -> dict[Identifiers, None]:
    """What all reports and images of a patient tell, up to one more than a person can have."""
    told: dict[Identifiers, None] = {}
    records = chain(
        (report.known() for _, _, report in reports), (one for image in images for one in _told_by(image))
    )
    for record in records:
        told[record] = None
        if len(told) > MOST_RECORDS:
            break
    return told


def _united(report: Report, images: Iterable[Header]) -> Identifiers:
    return Identifiers.united([*(one for image in images for one in _told_by(image)), report.known()])


def _told_by(image: Header) -> dict[Identifiers, None]:
    # By a table or by folders, a file may be somebody's whom its own header does not name.
    numbers = Identifiers(ids=(image.patient_id, image.accession, image.study_uid))
    return {image.identifiers: None, numbers: None}


def _scrubbed(named: _Named) -> _Clean:
    report, counts = named.report, Counter[str]()

    def clean(text: str) -> str:
        scrubbed = scrub(text, named.people)
        counts.update({kind.value: count for kind, count in scrubbed.counts.items()})
        return scrubbed.text

    divided = {name: clean(text) for name, text in _named(report.sections).items()}
    sections = replace(report, text=clean(report.text) if not divided else "", sections=divided).parts()
    return _Clean(named.number, sections, counts)


def _named(sections: Sections) -> Sections:
    """The same words under names that a store may hold."""
    return merge_sections(
        {name: text} if name in SECTION_NAMES else {REPORT: f"{name}: {text}"}
        for name, text in sections.items()
    )


def change_marks(sections: Sections) -> dict[str, list[int]]:
    """Section -> numbers of its sentences, from 0, that compare with an earlier study.

    A single image cannot show what they say. Sentences as `split_sentences` makes them; sections without such
    a sentence are left out.
    """
    marks = {
        name: [number for number, sentence in enumerate(split_sentences(text)) if speaks_of_change(sentence)]
        for name, text in sections.items()
    }
    return {name: numbers for name, numbers in marks.items() if numbers}

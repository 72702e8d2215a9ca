"""Reports as the store keeps them: without the people in them, in sections."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from client.ingest.deidentify import Identifiers, scrub
from client.ingest.images.header import Header, Patient
from client.ingest.pairing import Pairing
from client.ingest.reports import Report
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


@dataclass(frozen=True)
class Texts:
    """Every report without identifiers."""

    sections: tuple[Sections, ...]
    """By number of the report; {} for one that the pairing refused."""
    scrubbed: Mapping[str, int]
    """Kind of identifier -> how many were taken out."""

    def of(self, reports: Iterable[int]) -> Sections:
        """The sections of several reports together."""
        return merge_sections(self.sections[report] for report in reports)


def read_texts(images: Sequence[Header], reports: Sequence[Report], pairing: Pairing) -> Texts:
    """Scrub all reports that enter the store, before their sections are taken.

    A report loses whatever the headers of its patient's images and the records of its patient's reports say:
    the report of one study often tells of another. Where a patient has more of these than a person can have,
    the number stands for nobody in particular, and the report loses what its own images and record say.
    """
    known = _known(images, reports, pairing)
    counts: Counter[str] = Counter()
    sections = [
        _scrubbed(report, known[number], counts) if number in known else {}
        for number, report in enumerate(reports)
    ]
    return Texts(tuple(sections), dict(sorted(counts.items())))


def _known(images: Sequence[Header], reports: Sequence[Report], pairing: Pairing) -> dict[int, Identifiers]:
    """What may stand in each report that has a place in the store."""
    patients = {alone.report: alone.patient for alone in pairing.unpaired}
    own: defaultdict[int, dict[Identifiers, None]] = defaultdict(dict)
    for image, numbers in zip(images, pairing.reports_of, strict=True):
        patients |= dict.fromkeys(numbers, image.patient)
        for number in numbers:
            own[number] |= _told_by(image)
    of_patient: defaultdict[Patient, dict[Identifiers, None]] = defaultdict(dict)
    for number, patient in patients.items():
        own[number][reports[number].known()] = None
        of_patient[patient][reports[number].known()] = None
    for image in images:
        if image.patient in of_patient:
            of_patient[image.patient] |= _told_by(image)
    united = {
        patient: Identifiers.united(told) for patient, told in of_patient.items() if len(told) <= MOST_RECORDS
    }
    return {
        number: united[patient] if patient in united else Identifiers.united(own[number])
        for number, patient in patients.items()
    }


def _told_by(image: Header) -> dict[Identifiers, None]:
    # By a table or by folders, a file may be somebody's whom its own header does not name.
    numbers = Identifiers(ids=(image.patient_id, image.accession, image.study_uid))
    return {image.identifiers: None, numbers: None}


def _scrubbed(report: Report, people: Identifiers, counts: Counter[str]) -> Sections:
    def clean(text: str) -> str:
        scrubbed = scrub(text, people)
        counts.update({kind.value: count for kind, count in scrubbed.counts.items()})
        return scrubbed.text

    divided = {name: clean(text) for name, text in _named(report.sections).items()}
    return replace(report, text=clean(report.text) if not divided else "", sections=divided).parts()


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

"""Reports as the store keeps them: without the people in them, in sections."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from operator import or_

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
    the report of one study often tells of another.
    """
    patients = _patients(images, pairing)
    known = _known(images, reports, patients)
    counts: Counter[str] = Counter()
    sections: list[Sections] = []
    for number, report in enumerate(reports):
        people = known[patients[number]] if number in patients else None
        sections.append({} if people is None else _scrubbed(report, people, counts))
    return Texts(tuple(sections), dict(sorted(counts.items())))


def _patients(images: Sequence[Header], pairing: Pairing) -> dict[int, Patient]:
    """Whose each report is; those that were refused are nobody's."""
    patients = {alone.report: alone.patient for alone in pairing.unpaired}
    for image, numbers in zip(images, pairing.reports_of, strict=True):
        patients |= dict.fromkeys(numbers, image.patient)
    return patients


def _known(
    images: Sequence[Header], reports: Sequence[Report], patients: Mapping[int, Patient]
) -> dict[Patient, Identifiers]:
    """What is known of each patient who has a report."""
    found: defaultdict[Patient, dict[Identifiers, None]] = defaultdict(dict)
    for number, patient in patients.items():
        found[patient][reports[number].known()] = None
    for image in images:
        if image.patient in found:
            # By a table or by folders, a file may be somebody's whom its own header does not name.
            own = Identifiers(ids=(image.patient_id, image.accession, image.study_uid))
            found[image.patient] |= {image.identifiers: None, own: None}
    return {patient: reduce(or_, several) for patient, several in found.items()}


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

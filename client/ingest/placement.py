"""Where each image and each unpaired report stands in the store, under its pseudonyms."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from itertools import chain

from client.ingest.images.header import Header, Patient
from client.ingest.pairing import Pairing
from client.ingest.pseudonyms import Pseudonyms
from client.ingest.reports import Report, Shelf
from client.ingest.scratch import Scratch

TABLES = (
    "CREATE TABLE study (name TEXT, patient TEXT, PRIMARY KEY (name, patient)) WITHOUT ROWID",
    "CREATE TABLE first_day (patient TEXT PRIMARY KEY, day INTEGER) WITHOUT ROWID",
    # report: the one report of a row without an image, else -1; image: -1 without one
    "CREATE TABLE place (study TEXT, instance TEXT, report INTEGER, image INTEGER, patient TEXT,"
    " days INTEGER, PRIMARY KEY (study, instance, report, image)) WITHOUT ROWID",
)


@dataclass(frozen=True)
class Place:
    """One row of the store, still without its pixels and its text."""

    study: str
    instance: str
    reports: tuple[int, ...]
    patient: str
    image: int | None
    """Number of the image in the order of files, None for a report alone."""
    days: int | None = field(default=None, compare=False)
    """From the first known day of the patient to that of this study; None where a day is unknown."""


StudyName = tuple[str, str]
"""What kind of number a study is known by, and the number."""


def place(
    images: Sequence[Header], reports: Shelf, pairing: Pairing, pseudonyms: Pseudonyms
) -> Iterator[Place]:
    """List the rows: by study, in each the reports without an image first, then its images by instance.

    A study is an accession number, without one a study UID, without either an image or a report by itself;
    where several patients share the number, the number together with the patient.

    Memory: that of the images, whatever the number of reports.
    """
    for table in TABLES:
        reports.scratch.run(table)
    known = _Known(reports.scratch)
    for one in _candidates(images, reports, pairing):
        known.learn(one)
    reports.scratch.run_each(
        "INSERT INTO place VALUES (?, ?, ?, ?, ?, ?)",
        (
            (
                known.pseudonym(one, pseudonyms),
                pseudonyms.instance(images[one.image].instance_uid) if one.image >= 0 else "",
                one.report,
                one.image,
                pseudonyms.patient(*one.patient),
                known.days(one),
            )
            for one in _candidates(images, reports, pairing)
        ),
    )
    return _sorted_places(reports.scratch, pairing)


def _sorted_places(scratch: Scratch, pairing: Pairing) -> Iterator[Place]:
    rows = scratch.run("SELECT * FROM place ORDER BY study, instance, report, image")
    for study, instance, report, image, patient, days in rows:
        own = pairing.reports_of[image] if image >= 0 else (report,)
        yield Place(study, instance, own, patient, image if image >= 0 else None, days)


@dataclass(frozen=True)
class _Candidate:
    """An image, or a report without one."""

    name: StudyName
    patient: Patient
    day: date | None
    image: int = -1
    report: int = -1


def _candidates(images: Sequence[Header], reports: Shelf, pairing: Pairing) -> Iterator[_Candidate]:
    for number, image in enumerate(images):
        dates = (reports.report(one).date for one in pairing.reports_of[number])
        yield _Candidate(_study_of_image(image), image.patient, _day_of_image(image, dates), image=number)
    for patient, number, report in reports.alone():
        yield _Candidate(_study_of_report(report), patient, _day(report.date), report=number)


class _Known:
    """Which studies are whose, and since when each patient is known."""

    def __init__(self, scratch: Scratch) -> None:
        self._scratch = scratch

    def learn(self, one: _Candidate) -> None:
        """Take in an image or a report."""
        patient = json.dumps(one.patient)
        self._scratch.run("INSERT OR IGNORE INTO study VALUES (?, ?)", (json.dumps(one.name), patient))
        if one.day is not None:
            self._scratch.run(
                "INSERT INTO first_day VALUES (?, ?)"
                " ON CONFLICT (patient) DO UPDATE SET day = MIN(day, excluded.day)",
                (patient, one.day.toordinal()),
            )

    def pseudonym(self, one: _Candidate, pseudonyms: Pseudonyms) -> str:
        """Of the study, which is one patient's: a number that several have names no single study."""
        kind, number = one.name
        patients = self._scratch.number(
            "SELECT COUNT(*) FROM (SELECT 1 FROM study WHERE name = ? LIMIT 2)", (json.dumps(one.name),)
        )
        if patients > 1:
            return pseudonyms.study(f"{kind} of patient", number, *one.patient)
        return pseudonyms.study(kind, number)

    def days(self, one: _Candidate) -> int | None:
        """From the patient's first day."""
        if one.day is None:
            return None
        first = self._scratch.number(
            "SELECT day FROM first_day WHERE patient = ?", (json.dumps(one.patient),)
        )
        return one.day.toordinal() - first


def _study_of_image(image: Header) -> StudyName:
    if image.accession:
        return "accession", image.accession
    return ("uid", image.study_uid) if image.study_uid else ("instance", image.instance_uid)


def _study_of_report(report: Report) -> StudyName:
    if report.accession:
        return "accession", report.accession
    return ("uid", report.study_uids[0]) if report.study_uids else ("report", report.place)


def _day_of_image(image: Header, dates: Iterable[str]) -> date | None:
    """The day of the study by the image's header, or else by the first of its reports that tells one."""
    told = (_day(text) for text in chain([image.study_date], dates))
    return next((day for day in told if day is not None), None)


def _day(text: str) -> date | None:
    """A day as DICOM or ISO 8601 write it; None for a month, a year or nothing."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None

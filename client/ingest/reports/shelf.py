"""All reports of an ingest, on disc and in the order in which they came, and what became of each."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import astuple, replace
from itertools import groupby
from operator import attrgetter

from client.ingest.deidentify import NOBODY_NAMED, Identifiers
from client.ingest.images.header import Patient
from client.ingest.rejected import Reason, Refusal, printable
from client.ingest.reports.report import Found, ImageRecord, Report
from client.ingest.scratch import Scratch

TABLES = (
    # reason: "" while it is a report; body: of a report, see `_packed`
    "CREATE TABLE entry (number INTEGER PRIMARY KEY, place TEXT, reason TEXT, detail TEXT, body TEXT)",
    "CREATE TABLE copies (repeated INTEGER, key TEXT, version TEXT, number INTEGER,"
    " PRIMARY KEY (repeated, key, version, number)) WITHOUT ROWID",
    "CREATE TABLE record (number INTEGER PRIMARY KEY, body TEXT)",
    "CREATE TABLE owner (patient TEXT, number INTEGER, alone INTEGER,"
    " PRIMARY KEY (patient, number)) WITHOUT ROWID",
)
BATCH = 500
"""Reports in memory at a time."""


Mark = tuple[int, int]
"""A point between two entries and between two image records."""
START: Mark = (0, 0)


class Shelf:
    """Takes reports piece by piece and gives them back one by one; memory holds a few hundred."""

    def __init__(self, scratch: Scratch) -> None:
        """Keep everything in tables of `scratch`, which holds no others yet."""
        self.scratch = scratch
        for table in TABLES:
            scratch.run(table)
        self._next = 0
        self.mistake = ""
        """What a reader said is to be mended before an ingest is worth its time."""

    def take(self, piece: Found, prefix: str = "") -> None:
        """Put a piece behind what is there; `prefix` tells the places of one path from those of another."""
        entries, copies = [], []
        for number, entry in enumerate(piece.entries, start=self._next):
            outcome = entry.outcome
            place = prefix + outcome.place
            if isinstance(outcome, Refusal):
                detail = printable(outcome.detail)
                entries.append((number, printable(place), outcome.reason.value, detail, ""))
            else:
                entries.append((number, printable(place), "", "", _packed(replace(outcome, place=place))))
            if entry.copies is not None:
                copies.append((entry.copies.repeated, entry.copies.key, entry.copies.version, number))
        self.scratch.run_each("INSERT INTO entry VALUES (?, ?, ?, ?, ?)", entries)
        self.scratch.run_each("INSERT INTO copies VALUES (?, ?, ?, ?)", copies)
        records = ((json.dumps(astuple(record)),) for record in piece.images)
        self.scratch.run_each("INSERT INTO record (body) VALUES (?)", records)
        self._next += len(entries)
        self.mistake = self.mistake or piece.mistake

    @property
    def mark(self) -> Mark:
        """Where the next entry and the next image record will stand."""
        return self._next, self.scratch.number("SELECT COALESCE(MAX(number), -1) + 1 FROM record")

    def take_off(self, mark: Mark) -> None:
        """Forget everything from `mark` on."""
        self.scratch.run("DELETE FROM entry WHERE number >= ?", mark[:1])
        self.scratch.run("DELETE FROM copies WHERE number >= ?", mark[:1])
        self.scratch.run("DELETE FROM record WHERE number >= ?", mark[1:])
        self._next = mark[0]

    def settle(self) -> None:
        """Decide between the copies of one report; those of another path are no copies any more."""
        rows = self.scratch.run(
            "SELECT repeated, key, number FROM copies ORDER BY repeated, key, version, number"
        )
        for (repeated, _), group in groupby(rows, key=lambda row: (row[0], row[1])):
            first, *others = (int(number) for *_, number in group)
            if others and repeated:
                self._unite(first, others)
            elif others:
                for number in (first, *others[:-1]):
                    self.refuse(number, Reason.SUPERSEDED)
        self.scratch.run("DELETE FROM copies")

    def _unite(self, first: int, others: Sequence[int]) -> None:
        report = self.report(first)
        names = [name for number in others for name in self.report(number).file_names]
        whole = replace(report, file_names=(*report.file_names, *names))
        self.scratch.run("UPDATE entry SET body = ? WHERE number = ?", (_packed(whole), first))
        self.scratch.run_each("DELETE FROM entry WHERE number = ?", ((number,) for number in others))

    def refuse(self, number: int, reason: Reason) -> None:
        """Turn a report into a refusal."""
        self.scratch.run("UPDATE entry SET reason = ?, body = '' WHERE number = ?", (reason.value, number))

    def report(self, number: int) -> Report:
        """One report."""
        (body,) = self.scratch.run("SELECT body FROM entry WHERE number = ?", (number,)).fetchone()
        return _unpacked(body)

    def reports(self) -> Iterator[tuple[int, Report]]:
        """Every report that is not refused, with its number; what becomes of them meanwhile does no harm."""
        start = 0
        while True:
            rows = self.scratch.run(
                "SELECT number, body FROM entry WHERE number >= ? AND reason = ''"
                f" ORDER BY number LIMIT {BATCH}",
                (start,),
            ).fetchall()
            yield from ((number, _unpacked(body)) for number, body in rows)
            if len(rows) < BATCH:
                return
            start = rows[-1][0] + 1

    def image_records(self) -> Iterator[ImageRecord]:
        """What tables say of image files."""
        for (body,) in self.scratch.run("SELECT body FROM record ORDER BY number"):
            yield ImageRecord(*json.loads(body))

    def refusals(self, since: Mark = START) -> Iterator[Refusal]:
        """What was refused, in the order in which it came."""
        rows = self.scratch.run(
            "SELECT place, reason, detail FROM entry WHERE number >= ? AND reason != '' ORDER BY number",
            since[:1],
        )
        return (Refusal(place, Reason(reason), detail) for place, reason, detail in rows)

    def num_reports(self, since: Mark = START) -> int:
        """How many reports there are that are not refused."""
        return self.scratch.number("SELECT COUNT(*) FROM entry WHERE number >= ? AND reason = ''", since[:1])

    def holds_any(self, since: Mark) -> bool:
        """Whether there is a report, or something said of an image file."""
        return self.num_reports(since) > 0 or self.mark[1] > since[1]

    def belongs(self, number: int, patient: Patient, *, alone: bool) -> None:
        """Say whose a report is, and whether it has no image."""
        self.scratch.run("INSERT INTO owner VALUES (?, ?, ?)", (json.dumps(patient), number, alone))

    def by_patient(self, patient: Patient | None = None) -> Iterator[tuple[Patient, int, Report]]:
        """The reports that belong to somebody, or to one `patient`; each patient's one after the other."""
        which = "" if patient is None else "WHERE patient = ?"
        rows = self.scratch.run(
            f"SELECT patient, number, body FROM owner JOIN entry USING (number) {which}"
            " ORDER BY patient, number",
            () if patient is None else (json.dumps(patient),),
        )
        return ((_patient(who), number, _unpacked(body)) for who, number, body in rows)

    def alone(self) -> Iterator[tuple[Patient, int, Report]]:
        """The reports without an image, by their patients."""
        rows = self.scratch.run(
            "SELECT patient, number, body FROM owner JOIN entry USING (number) WHERE alone"
            " ORDER BY patient, number"
        )
        return ((_patient(who), number, _unpacked(body)) for who, number, body in rows)

    def num_alone(self) -> int:
        """How many reports have no image."""
        return self.scratch.number("SELECT COUNT(*) FROM owner WHERE alone")

    def close(self) -> None:
        """Give the disk back."""
        self.scratch.close()


def _patient(written: str) -> Patient:
    patient_id, issuer = json.loads(written)
    return patient_id, issuer


_STRINGS = attrgetter("place", "accession", "patient_id", "text", "date", "language")
_TUPLES = attrgetter("instance_uids", "further_accessions", "study_uids", "file_names")
_PEOPLE = attrgetter("names", "ids", "dates", "birth_dates", "institutions")


def _packed(report: Report) -> str:
    people = None if report.identifiers == NOBODY_NAMED else _PEOPLE(report.identifiers)
    return json.dumps([_STRINGS(report), _TUPLES(report), report.sections, people])


def _unpacked(body: str) -> Report:
    strings, tuples, sections, people = json.loads(body)
    place, accession, patient_id, text, date, language = strings
    instance_uids, further_accessions, study_uids, file_names = map(tuple, tuples)
    return Report(
        place=place,
        accession=accession,
        patient_id=patient_id,
        instance_uids=instance_uids,
        text=text,
        further_accessions=further_accessions,
        study_uids=study_uids,
        file_names=file_names,
        date=date,
        language=language,
        sections=sections,
        identifiers=NOBODY_NAMED if people is None else Identifiers(*map(tuple, people)),
    )

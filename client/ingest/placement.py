"""Where each image and each unpaired report stands in the store, under its pseudonyms."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date

from client.ingest.images.header import Header, Patient
from client.ingest.pairing import Pairing
from client.ingest.pseudonyms import Pseudonyms
from client.ingest.reports import Report


@dataclass(frozen=True, order=True)
class Place:
    """One row of the store, still without its pixels and its text; places sort as the store's rows do."""

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
    images: Sequence[Header], reports: Sequence[Report], pairing: Pairing, pseudonyms: Pseudonyms
) -> list[Place]:
    """List the rows: by study, in each the reports without an image first, then its images by instance.

    A study is an accession number, without one a study UID, without either an image or a report by itself;
    where several patients share the number, the number together with the patient.
    """
    alone = [(reports[one.report], one) for one in pairing.unpaired]
    studies = [(_study_of_image(image), image.patient) for image in images]
    studies += [(_study_of_report(report), one.patient) for report, one in alone]
    days = [
        _day_of_image(image, [reports[one] for one in pairing.reports_of[number]])
        for number, image in enumerate(images)
    ]
    days += [_day(report.date) for report, _ in alone]
    shared = _shared(studies)
    first = _first_days(days, [patient for _, patient in studies])
    places = []
    for number, ((name, patient), day) in enumerate(zip(studies, days, strict=True)):
        image = number if number < len(images) else None
        places.append(
            Place(
                study=_pseudonym(name, patient, shared, pseudonyms),
                instance="" if image is None else pseudonyms.instance(images[image].instance_uid),
                reports=(alone[number - len(images)][1].report,)
                if image is None
                else pairing.reports_of[image],
                patient=pseudonyms.patient(*patient),
                image=image,
                days=None if day is None else (day - first[patient]).days,
            )
        )
    return sorted(places)


def _study_of_image(image: Header) -> StudyName:
    if image.accession:
        return "accession", image.accession
    return ("uid", image.study_uid) if image.study_uid else ("instance", image.instance_uid)


def _study_of_report(report: Report) -> StudyName:
    if report.accession:
        return "accession", report.accession
    return ("uid", report.study_uids[0]) if report.study_uids else ("report", report.place)


def _pseudonym(name: StudyName, patient: Patient, shared: set[StudyName], pseudonyms: Pseudonyms) -> str:
    kind, number = name
    return (
        pseudonyms.study(f"{kind} of patient", number, *patient)
        if name in shared
        else pseudonyms.study(*name)
    )


def _shared(studies: Iterable[tuple[StudyName, Patient]]) -> set[StudyName]:
    """Numbers that more than one patient has, so that they name no single study."""
    patients: defaultdict[StudyName, set[Patient]] = defaultdict(set)
    for name, patient in studies:
        patients[name].add(patient)
    return {name for name, several in patients.items() if len(several) > 1}


def _day_of_image(image: Header, reports: Iterable[Report]) -> date | None:
    """The day of the study by the image's header, or else by the first of its reports that tells one."""
    told = (_day(text) for text in (image.study_date, *(report.date for report in reports)))
    return next((day for day in told if day is not None), None)


def _day(text: str) -> date | None:
    """A day as DICOM or ISO 8601 write it; None for a month, a year or nothing."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def _first_days(days: Iterable[date | None], patients: Iterable[Patient]) -> dict[Patient, date]:
    first: dict[Patient, date] = {}
    for day, patient in zip(days, patients, strict=True):
        if day is not None:
            first[patient] = min(day, first.get(patient, day))
    return first

"""Where each image and each unpaired report stands in the store, under its pseudonyms."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

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


def place(
    images: Sequence[Header], reports: Sequence[Report], pairing: Pairing, pseudonyms: Pseudonyms
) -> list[Place]:
    """List the rows: by study, in each the reports without an image first, then its images by instance.

    A study is an accession number; where images of several patients share one, the accession number together
    with the patient; without an accession number the study UID.
    """
    texts = [(reports[alone.report], alone) for alone in pairing.unpaired]
    shared = _shared(
        [(image.accession, image.patient) for image in images]
        + [(report.accession, alone.patient) for report, alone in texts]
    )

    def study(accession: str, patient: Patient, otherwise: tuple[str, str]) -> str:
        if accession in shared:
            return pseudonyms.study("accession of patient", accession, *patient)
        return pseudonyms.study("accession", accession) if accession else pseudonyms.study(*otherwise)

    places = [
        Place(
            study=study(image.accession, image.patient, ("uid", image.study_uid)),
            instance=pseudonyms.instance(image.instance_uid),
            reports=pairing.reports_of[number],
            patient=pseudonyms.patient(*image.patient),
            image=number,
        )
        for number, image in enumerate(images)
    ]
    places += [
        Place(
            study=study(report.accession, alone.patient, ("report", report.place)),
            instance="",
            reports=(alone.report,),
            patient=pseudonyms.patient(*alone.patient),
            image=None,
        )
        for report, alone in texts
    ]
    return sorted(places)


def _shared(studies: Iterable[tuple[str, Patient]]) -> set[str]:
    """Accession numbers that more than one patient has, so that they name no single study."""
    patients: defaultdict[str, set[Patient]] = defaultdict(set)
    for accession, patient in studies:
        if accession:
            patients[accession].add(patient)
    return {accession for accession, several in patients.items() if len(several) > 1}

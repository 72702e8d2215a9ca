"""Which report belongs to which image.

A report belongs to the instances it names; if it names none, to all images of its accession. It never
crosses patients.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from client.ingest.dicom import Header, Patient
from client.ingest.rejected import Reason, Refusal
from client.ingest.reports import Report


@dataclass(frozen=True)
class Unpaired:
    """A report none of whose images is here."""

    report: int
    patient: Patient


@dataclass(frozen=True)
class Pairing:
    """Every report is in exactly one of the three: with images, without, refused."""

    reports_of: tuple[tuple[int, ...], ...]
    """For each image its reports, in the order they came."""
    unpaired: tuple[Unpaired, ...]
    refused: tuple[Refusal, ...]


def pair(images: Sequence[Header], reports: Sequence[Report]) -> Pairing:
    """Bring images and reports together.

    A report that names instances of which none is here stays without an image: its accession's other images
    have reports of their own. A report with a `patient_id` is refused where its images say otherwise.
    """
    by_instance = {image.instance_uid: number for number, image in enumerate(images)}
    by_accession: defaultdict[str, list[int]] = defaultdict(list)
    issuers: defaultdict[str, set[str]] = defaultdict(set)
    for number, image in enumerate(images):
        by_accession[image.accession].append(number)
        issuers[image.patient_id].add(image.issuer)
    by_accession.pop("", None)

    reports_of: list[list[int]] = [[] for _ in images]
    unpaired: list[Unpaired] = []
    refused: list[Refusal] = []
    for number, report in enumerate(reports):
        if report.instance_uids:
            found = [by_instance[uid] for uid in report.instance_uids if uid in by_instance]
        else:
            found = _of_patient(report.patient_id, by_accession.get(report.accession, []), images)
        reason = _conflict(report, [images[match] for match in found], issuers)
        if reason is not None:
            refused.append(Refusal(report.place, reason))
        elif not found:
            issuer = next(iter(issuers.get(report.patient_id, ())), "")
            unpaired.append(Unpaired(number, (report.patient_id, issuer)))
        for match in found if reason is None else ():
            reports_of[match].append(number)
    return Pairing(tuple(map(tuple, reports_of)), tuple(unpaired), tuple(refused))


def _of_patient(patient_id: str, candidates: Sequence[int], images: Sequence[Header]) -> list[int]:
    """Keep the images of the report's patient, or all of them where there are none of that patient."""
    own = [image for image in candidates if images[image].patient_id == patient_id]
    return own or list(candidates)


def _conflict(report: Report, images: Sequence[Header], issuers: dict[str, set[str]]) -> Reason | None:
    patients = {image.patient for image in images}
    if report.patient_id and any(patient_id != report.patient_id for patient_id, _ in patients):
        return Reason.OTHER_PATIENT
    if len(patients) > 1:
        return Reason.SEVERAL_PATIENTS
    if not patients and not report.patient_id:
        return Reason.NO_PATIENT
    if not patients and len(issuers.get(report.patient_id, ())) > 1:
        return Reason.SEVERAL_PATIENTS
    return None

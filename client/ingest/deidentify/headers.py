"""Which elements of a DICOM header could name somebody. What is read here stays in memory."""

from collections.abc import Iterable, Iterator, MutableSequence

from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataset import Dataset

from client.ingest.deidentify.identifiers import Identifiers

IDS = (
    *("PatientID", "OtherPatientIDs", "AccessionNumber", "StudyID", "StudyInstanceUID", "SeriesInstanceUID"),
    *("AdmissionID", "ServiceEpisodeID", "MedicalRecordLocator", "RequestedProcedureID"),
    *("ScheduledProcedureStepID", "PerformedProcedureStepID", "PatientTelephoneNumbers"),
    *("ReferringPhysicianTelephoneNumbers", "PersonTelephoneNumbers", "DeviceSerialNumber"),
    *("PlacerOrderNumberImagingServiceRequest", "FillerOrderNumberImagingServiceRequest"),
)
DATES = (
    *("StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate", "AcquisitionDateTime", "AdmittingDate"),
    *("ScheduledProcedureStepStartDate", "PerformedProcedureStepStartDate", "VerificationDateTime"),
)
BIRTH_DATES = ("PatientBirthDate",)
INSTITUTIONS = (
    *("InstitutionName", "InstitutionAddress", "InstitutionalDepartmentName", "StationName"),
    *("PatientAddress", "CurrentPatientLocation", "PatientInstitutionResidence", "RequestingService"),
    *("IssuerOfPatientID", "ReferringPhysicianAddress", "VerifyingOrganization"),
)
"""Source: DICOM PS3.15, table E.1-1; person names go by their value representation PN instead."""

NESTED = (
    *("OtherPatientIDsSequence", "RequestAttributesSequence", "ReferencedRequestSequence"),
    *("VerifyingObserverSequence", "AuthorObserverSequence", "ParticipantSequence", "ContentSequence"),
)
"""Sequences that hold people and numbers; the rest of a header is not searched to its depth."""

MAX_DEPTH = 16
MAX_DATASETS = 10_000
"""Data sets of one file that are looked at; the longest structured reports have some hundreds."""

_NESTED = frozenset(filter(None, map(tag_for_keyword, NESTED)))


def identifiers_of(dataset: Dataset) -> Identifiers:
    """Every name, number, date and place of a header; elements that cannot be read say nothing."""
    datasets = list(_datasets(dataset))
    return Identifiers(
        names=_unique(name for one in datasets for name in _person_names(one)),
        ids=_values(datasets, IDS),
        dates=_unique(date[:8] for date in _values(datasets, DATES)),
        birth_dates=_values(datasets, BIRTH_DATES),
        institutions=_values(datasets, INSTITUTIONS),
    )


def _datasets(dataset: Dataset) -> Iterator[Dataset]:
    """The header itself and the items of `NESTED` in it, at any depth within reason."""
    waiting, seen = [(dataset, 0)], 0
    while waiting and seen < MAX_DATASETS:
        one, depth = waiting.pop()
        seen += 1
        yield one
        if depth < MAX_DEPTH:
            items = (item for tag in _NESTED if tag in one for item in _read(one, tag))
            waiting += [(item, depth + 1) for item in items if isinstance(item, Dataset)]


def _person_names(dataset: Dataset) -> Iterator[str]:
    for element in dataset.elements():
        if (element.VR or _dictionary_vr(int(element.tag))) == "PN":
            yield from map(str, _read(dataset, int(element.tag)))


def _dictionary_vr(tag: int) -> str:
    try:
        return dictionary_VR(tag)
    except KeyError:
        return ""


def _values(datasets: Iterable[Dataset], keywords: Iterable[str]) -> tuple[str, ...]:
    tags = [tag for keyword in keywords if (tag := tag_for_keyword(keyword)) is not None]
    return _unique(str(value) for one in datasets for tag in tags if tag in one for value in _read(one, tag))


def _read(dataset: Dataset, tag: int) -> list[object]:
    """The values of an element; none where pydicom cannot make sense of them."""
    try:
        value = dataset[tag].value
    except Exception:  # broken elements make pydicom raise almost anything
        return []
    return list(value) if isinstance(value, MutableSequence) else [value]


def _unique(values: Iterable[str]) -> tuple[str, ...]:
    stripped = (value.strip(" \t\r\n\0") for value in values)
    return tuple(dict.fromkeys(value for value in stripped if value and value != "None"))

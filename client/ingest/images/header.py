"""Who an image shows and what kind of image it is, as far as pairing and the store need to know."""

from dataclasses import dataclass

from pydicom.dataset import Dataset

from client.ingest.deidentify import NOBODY_NAMED, Identifiers
from client.ingest.deidentify.headers import identifiers_of
from client.ingest.documents import KEY_OBJECTS, NARRATIVES
from client.ingest.images.elements import text_of
from client.ingest.rejected import Reason

RADIOGRAPHS = frozenset({"CR", "DX", "MG", "RF", "RG", "XA", "PX", "IO"})
MODALITIES = RADIOGRAPHS | {
    *("CT", "MR", "US", "NM", "PT", "ES", "XC", "GM", "SM", "OP", "OPT", "OCT", "IVUS", "IVOCT", "BI", "DG"),
    *("LS", "TG", "ECG", "BMD", "RTIMAGE", "OT"),
}
"""Modalities a store may name. Source: DICOM PS3.3 C.7.3.1.1.1; any other text could be an identifier."""
VIEWS = frozenset(
    {
        *("AP", "PA", "LL", "RL", "RLD", "LLD", "RLO", "LLO", "LATERAL", "OBLIQUE", "AXIAL", "SUNRISE"),
        *("CC", "MLO", "ML", "LM", "LMO", "XCC", "XCCL", "XCCM", "FB", "SIO", "CV", "AT", "RM"),
    }
)
"""View positions a store may name; any other text could be an identifier."""

DATES = ("StudyDate", "SeriesDate", "AcquisitionDate", "AcquisitionDateTime", "ContentDate")
"""What tells the day of a study, the first that is there."""

Patient = tuple[str, str]
"""PatientID and IssuerOfPatientID, "" where absent."""


@dataclass(frozen=True)
class Header:
    """What pairing needs to know; identifiers as they stand in the file, so never stored."""

    instance_uid: str
    study_uid: str
    accession: str
    patient_id: str
    issuer: str
    modality: str
    view: str
    study_date: str = ""
    """YYYYMMDD as the file has it."""
    identifiers: Identifiers = NOBODY_NAMED
    """Everything that reports of this study may repeat."""
    person: Patient | None = None
    """Who it is where the site links identifiers; no file says so."""

    @property
    def patient(self) -> Patient:
        """Who this is an image of."""
        return self.person or (self.patient_id, self.issuer)


def header_of(dataset: Dataset) -> Header | Reason:
    """Read the header, or say what it lacks; whose image it is may be told elsewhere."""
    if not any(name in dataset for name in ("PixelData", "FloatPixelData", "DoubleFloatPixelData")):
        if (document := _document(text_of(dataset, "SOPClassUID"))) is not None:
            return document
        # pydicom drops an encapsulated element that the end of the file cuts.
        promised = "Rows" in dataset or "Image Storage" in getattr(dataset.get("SOPClassUID"), "name", "")
        return Reason.TRUNCATED if promised else Reason.NO_PIXELS
    modality, view = text_of(dataset, "Modality").upper(), text_of(dataset, "ViewPosition").upper()
    header = Header(
        instance_uid=text_of(dataset, "SOPInstanceUID"),
        study_uid=text_of(dataset, "StudyInstanceUID"),
        accession=text_of(dataset, "AccessionNumber"),
        patient_id=text_of(dataset, "PatientID"),
        issuer=text_of(dataset, "IssuerOfPatientID"),
        modality=modality if modality in MODALITIES else "",
        view=view if view in VIEWS else "",
        study_date=next(filter(None, (text_of(dataset, date) for date in DATES)), "")[:8],
        identifiers=identifiers_of(dataset),
    )
    if not header.instance_uid:
        return Reason.NO_INSTANCE
    return header if header.study_uid or header.accession else Reason.NO_STUDY


def _document(sop_class: str) -> Reason | None:
    """Why an object of this class is in no store, if it is a document that somebody may miss."""
    if sop_class == KEY_OBJECTS:
        return Reason.KEY_OBJECTS
    return Reason.UNREAD_REPORT if sop_class in NARRATIVES else None

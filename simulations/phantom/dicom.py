"""A phantom radiograph as a DICOM file: CR or DX, as the hospital's machine would send it.

Source: DICOM PS3.3, A.2 (CR) and A.26 (DX); transfer syntaxes PS3.5, annex A.
"""

from io import BytesIO

import numpy as np
from pydicom import dcmwrite
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    UID,
    ComputedRadiographyImageStorage,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from simulations.phantom.caseload import Study
from simulations.phantom.hospital import BANK
from simulations.phantom.scanner import BRIGHTEST, Pixels, Scanner
from simulations.phantom.wording import MM_PER_UNIT

_STORED: dict[str, UID] = {
    "implicit": ImplicitVRLittleEndian,
    "explicit": ExplicitVRLittleEndian,
    "rle": ExplicitVRLittleEndian,
}
_CLASSES: dict[str, UID] = {
    "CR": ComputedRadiographyImageStorage,
    "DX": DigitalXRayImageStorageForPresentation,
}


def dicom_file(study: Study, number: int, pixels: Pixels) -> bytes:
    """Image `number` (from 0) of `study` as the bytes of a DICOM file.

    Args:
        study: whose patient, accession and UIDs go into the header.
        number: the index of the view in `study.views`.
        pixels: (256, 256) as displayed; stored inverted where the machine writes MONOCHROME1.
    """
    scanner = study.hospital.scanner
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = _CLASSES[scanner.modality]
    meta.MediaStorageSOPInstanceUID = UID(study.instance_uids[number])
    meta.TransferSyntaxUID = _STORED[scanner.syntax]
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID = meta.MediaStorageSOPClassUID
    dataset.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    _patient(dataset, study)
    _study(dataset, study)
    _series(dataset, study, number)
    _image(dataset, scanner, number)
    _pixels(dataset, scanner, pixels)
    if scanner.syntax == "rle":
        dataset.compress(RLELossless, generate_instance_uid=False)
    buffer = BytesIO()
    dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()


def _patient(dataset: Dataset, study: Study) -> None:
    patient = study.patient
    dataset.PatientName = patient.name
    dataset.PatientID = patient.identifier
    dataset.PatientBirthDate = f"{patient.birth_date:%Y%m%d}" if patient.birth_date else ""
    dataset.PatientSex = patient.sex
    dataset.PatientAge = f"{study.age:03d}Y"


def _study(dataset: Dataset, study: Study) -> None:
    dataset.StudyInstanceUID = study.uid
    dataset.StudyID = study.accession[-6:]
    dataset.StudyDate = f"{study.day:%Y%m%d}"
    dataset.StudyTime = "101500"
    dataset.AccessionNumber = study.accession
    dataset.ReferringPhysicianName = ""
    dataset.StudyDescription = "Chest radiograph"


def _series(dataset: Dataset, study: Study, number: int) -> None:
    scanner = study.hospital.scanner
    bank = study.folder == BANK
    dataset.Modality = scanner.modality
    dataset.SeriesInstanceUID = study.series_uid
    dataset.SeriesNumber = 1
    dataset.Manufacturer = scanner.maker
    dataset.ManufacturerModelName = scanner.model
    dataset.InstitutionName = "Public bank" if bank else study.hospital.name.replace("-", " ").title()
    dataset.BodyPartExamined = "CHEST"
    dataset.ViewPosition = study.views[number]
    if scanner.modality == "DX":
        _digital_series(dataset)


def _digital_series(dataset: Dataset) -> None:
    """What DX demands beyond CR. Source: PS3.3, C.8.11.1 to C.8.11.4."""
    dataset.PresentationIntentType = "FOR PRESENTATION"
    dataset.ImageLaterality = "U"
    dataset.DetectorType = "SCINTILLATOR"
    dataset.AcquisitionContextSequence = Sequence()
    region = Dataset()
    region.CodeValue, region.CodingSchemeDesignator, region.CodeMeaning = "51185008", "SCT", "Chest"
    dataset.AnatomicRegionSequence = Sequence([region])


def _image(dataset: Dataset, scanner: Scanner, number: int) -> None:
    dataset.ImageType = ["ORIGINAL", "PRIMARY"]
    dataset.InstanceNumber = number + 1
    dataset.PatientOrientation = ["L", "F"]
    dataset.AcquisitionNumber = number + 1
    dataset.BurnedInAnnotation = "NO"
    dataset.LossyImageCompression = "00"
    dataset.PixelIntensityRelationship = "LOG"
    dataset.PixelIntensityRelationshipSign = -1 if scanner.photometric == "MONOCHROME1" else 1
    dataset.PresentationLUTShape = "INVERSE" if scanner.photometric == "MONOCHROME1" else "IDENTITY"
    dataset.ImagerPixelSpacing = [f"{MM_PER_UNIT / 128:.4f}"] * 2


def _pixels(dataset: Dataset, scanner: Scanner, pixels: Pixels) -> None:
    stored = np.uint16(BRIGHTEST) - pixels if scanner.photometric == "MONOCHROME1" else pixels
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = scanner.photometric
    dataset.Rows, dataset.Columns = stored.shape
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.PixelRepresentation = 0
    slope, intercept = scanner.rescale or (1.0, 0.0)
    if scanner.rescale or scanner.modality == "DX":
        dataset.RescaleSlope, dataset.RescaleIntercept, dataset.RescaleType = slope, intercept, "US"
    _windows(dataset, scanner, slope, intercept)
    dataset.PixelData = stored.astype("<u2").tobytes()
    dataset["PixelData"].VR = "OW"


def _windows(dataset: Dataset, scanner: Scanner, slope: float, intercept: float) -> None:
    """Windows in rescaled values that show the machine's whole range, then a harder one if it offers two."""
    low, high = scanner.range
    if scanner.photometric == "MONOCHROME1":
        low, high = BRIGHTEST - high, BRIGHTEST - low
    centre, width = (low + high) / 2 * slope + intercept, (high - low) * slope
    if scanner.windows == 1:
        dataset.WindowCenter, dataset.WindowWidth = round(centre, 1), round(width, 1)
        return
    dataset.WindowCenter = [round(centre, 1), round(centre, 1)]
    dataset.WindowWidth = [round(width, 1), round(width * 0.6, 1)]
    dataset.WindowCenterWidthExplanation = ["NORMAL", "HARDER"]

"""DICOM files and report tables of invented patients, for the tests of ingest."""

import csv
import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    RLELossless,
)

CT_STORAGE = "1.2.840.10008.5.1.4.1.1.2"
NATIVE = (
    ImplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
)
SYNTAXES = (*NATIVE, RLELossless, JPEG2000Lossless, JPEGLSLossless, JPEGBaseline8Bit)
REPORT_HEADER = ("accession_number", "patient_id", "study_date", "sop_instance_uids", "report")


def ramp(rows: int = 48, columns: int = 48, *, white: int = 255) -> np.ndarray:
    """(rows, columns) brightness that rises smoothly from top left to bottom right, up to `white`."""
    down, across = np.mgrid[0:rows, 0:columns]
    return ((down + across) / (rows + columns - 2) * white).astype(np.uint8 if white < 256 else np.uint16)


def dataset(
    pixels: np.ndarray, *, instance: str = "1.2.3.4", syntax: str = ExplicitVRLittleEndian, **attributes: Any
) -> Dataset:
    """A CT slice of patient MRN1, study A1; an attribute of None is left out.

    `pixels`: (H, W), (H, W, 3) colour or, with NumberOfFrames given, (F, H, W).
    """
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = syntax
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID = CT_STORAGE
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID = instance
    made.StudyInstanceUID = "1.2.3"
    made.AccessionNumber, made.PatientID, made.PatientName = "A1", "MRN1", "Doe^Jane"
    made.Modality = "CT"
    colour = pixels.ndim == 3 and "NumberOfFrames" not in attributes
    made.SamplesPerPixel = 3 if colour else 1
    made.PhotometricInterpretation = "RGB" if colour else "MONOCHROME2"
    if colour:
        made.PlanarConfiguration = 0
    made.Rows, made.Columns = pixels.shape[:2] if colour else pixels.shape[-2:]
    made.BitsAllocated = made.BitsStored = pixels.dtype.itemsize * 8
    made.HighBit = made.BitsStored - 1
    made.PixelRepresentation = int(pixels.dtype.kind == "i")
    for keyword, value in attributes.items():
        if value is None:
            delattr(made, keyword)
        else:
            setattr(made, keyword, value)
    _put_pixels(made, pixels, syntax)
    return made


def _put_pixels(made: Dataset, pixels: np.ndarray, syntax: str) -> None:
    order = ">" if syntax == ExplicitVRBigEndian else "<"
    made.PixelData = pixels.astype(pixels.dtype.newbyteorder(order)).tobytes()
    made["PixelData"].VR = "OB" if pixels.dtype.itemsize == 1 else "OW"
    if syntax == JPEGBaseline8Bit:
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, "JPEG", quality=98)
        made.PixelData = encapsulate([stream.getvalue()])
        made["PixelData"].VR = "OB"
    elif syntax in (RLELossless, JPEG2000Lossless, JPEGLSLossless):
        made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        made.compress(syntax, generate_instance_uid=False)


def write_dicom(path: Path, pixels: np.ndarray | None = None, **attributes: Any) -> Path:
    """Write `dataset(pixels, **attributes)`, a ramp unless given, to `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    made = dataset(ramp() if pixels is None else pixels, **attributes)
    made.save_as(path, enforce_file_format=True)
    return path


def write_reports(path: Path, rows: Iterable[Mapping[str, str]]) -> Path:
    """Write a report table; missing fields are empty."""
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, REPORT_HEADER, restval="")
        table.writeheader()
        table.writerows(rows)
    return path


def hospital(folder: Path, *, patients: int = 6) -> tuple[Path, Path]:
    """A small hospital: each patient has one study of two images and a report that names the first.

    Besides, one report of a patient without images, one text file and one truncated image.
    """
    rows = []
    for number in range(patients):
        accession, patient = f"ACC{number}", f"MRN{number}"
        for image in range(2):
            write_dicom(
                folder / "dicom" / accession / f"IM{image}.dcm",
                np.roll(ramp(40, 30 + number), 5 * image, axis=0),
                instance=f"1.2.{number}.{image}",
                StudyInstanceUID=f"1.2.{number}",
                AccessionNumber=accession,
                PatientID=patient,
                PatientName=f"Surname{number}^Given",
            )
        rows.append(
            {
                "accession_number": accession,
                "patient_id": patient,
                "sop_instance_uids": f"1.2.{number}.0",
                "report": f"FINDINGS: Nodule of {number}.5 cm.\nIMPRESSION: Nodule.",
            }
        )
    rows.append({"accession_number": "ACC-NONE", "patient_id": "MRN-NONE", "report": "No image of this."})
    (folder / "dicom" / "notes.txt").write_text("not an image")
    whole = (folder / "dicom" / "ACC0" / "IM0.dcm").read_bytes()
    (folder / "dicom" / "cut.dcm").write_bytes(whole[:-100])
    return folder / "dicom", write_reports(folder / "reports.csv", rows)

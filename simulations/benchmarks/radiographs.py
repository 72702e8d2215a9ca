"""Files to time ingest on: radiographs of nobody, in the transfer syntaxes that can be written here."""

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels.encoders.base import get_encoder
from pydicom.uid import (
    UID,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    RLELossless,
)

SYNTAXES: dict[str, UID] = {
    "uncompressed": ExplicitVRLittleEndian,
    "rle": RLELossless,
    "jpeg-baseline": JPEGBaseline8Bit,
    "jpeg-ls": JPEGLSLossless,
    "jpeg-2000": JPEG2000Lossless,
}
BITS, JPEG_BITS = 12, 8
COARSE = 24
"""Side of the field from which the smooth part of a picture is drawn."""
NOISE = 8.0
"""Standard deviation in stored values of 12 bits; about what a detector adds."""
JPEG_QUALITY = 90

Pixels = npt.NDArray[np.uint16]


def writable() -> tuple[str, ...]:
    """The names of the syntaxes for which there is an encoder."""
    made_here = ("uncompressed", "jpeg-baseline")
    return tuple(name for name, uid in SYNTAXES.items() if name in made_here or get_encoder(uid).is_available)


def write_radiographs(folder: Path, syntax: str, *, images: int, side: int) -> list[Path]:
    """Write files of `side` x `side` pixels and return their paths; the same bytes on every call."""
    folder.mkdir(parents=True)
    paths = []
    for number, pixels in enumerate(_pictures(images, side)):
        paths.append(folder / f"{number:06d}.dcm")
        _file(pixels, syntax, number).save_as(paths[-1], enforce_file_format=True)
    return paths


def _pictures(images: int, side: int) -> Iterator[Pixels]:
    """Smooth fields under noise, of 12 bits."""
    for number in range(images):
        chance = np.random.default_rng(number)
        field = Image.fromarray(chance.random((COARSE, COARSE), np.float32))
        smooth = np.asarray(field.resize((side, side), Image.Resampling.BICUBIC))
        noisy = smooth * 3000 + 500 + chance.normal(0, NOISE, (side, side))
        yield np.clip(noisy, 0, 2**BITS - 1).astype(np.uint16)


def _file(pixels: Pixels, syntax: str, number: int) -> Dataset:
    bits = JPEG_BITS if syntax == "jpeg-baseline" else BITS
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.SOPClassUID = made.file_meta.MediaStorageSOPClassUID = DigitalXRayImageStorageForPresentation
    instance = UID(f"1.2.826.0.1.{list(SYNTAXES).index(syntax)}.{number}")
    made.SOPInstanceUID = made.file_meta.MediaStorageSOPInstanceUID = instance
    made.StudyInstanceUID, made.AccessionNumber = f"1.2.826.0.2.{number}", f"A{number:06d}"
    made.PatientID, made.PatientName = f"P{number:06d}", f"Phantom^{number}"
    made.Modality, made.ViewPosition = "DX", "PA"
    made.SamplesPerPixel, made.PhotometricInterpretation, made.PixelRepresentation = 1, "MONOCHROME2", 0
    made.Rows, made.Columns = pixels.shape
    made.BitsAllocated, made.BitsStored, made.HighBit = 8 if bits == JPEG_BITS else 16, bits, bits - 1
    made.WindowCenter, made.WindowWidth = 2 ** (bits - 1), 2**bits * 3 // 4
    _put(made, pixels, syntax)
    return made


def _put(made: Dataset, pixels: Pixels, syntax: str) -> None:
    if syntax == "jpeg-baseline":
        stream = io.BytesIO()
        Image.fromarray((pixels >> (BITS - JPEG_BITS)).astype(np.uint8)).save(
            stream, "JPEG", quality=JPEG_QUALITY
        )
        made.PixelData = encapsulate([stream.getvalue()])
        made["PixelData"].VR = "OB"
        made.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
        return
    made.PixelData = pixels.astype("<u2").tobytes()
    made["PixelData"].VR = "OW"
    if syntax != "uncompressed":
        made.compress(SYNTAXES[syntax], generate_instance_uid=False)

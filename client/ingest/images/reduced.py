"""The stored values of one frame at a half of its size, a quarter, ..., where the codec gives them for less.

JPEG 2000 keeps a picture as one of half the size and what that lacks, again and again; the cosine transform
of JPEG can be taken back to fewer pixels. Only grey pictures without padding, of which header and stream say
the same: for everything else, and for every stream that is broken, full decoding is the judge.
"""

from io import BytesIO
from math import ceil, log2

import numpy as np
from PIL import Image
from PIL.Jpeg2KImagePlugin import Jpeg2KImageFile
from pydicom.dataset import Dataset
from pydicom.encaps import get_frame
from pydicom.uid import JPEG2000, JPEG2000Lossless, JPEGBaseline8Bit

from client.ingest.images.elements import num_frames
from client.ingest.images.stored import SIZE_OF_J2K, Stored
from common.imaging.geometry import Extent

COD, COC, START_OF_TILE = 0xFF52, 0xFF53, 0xFF90
"""Markers of coding style, that of a component, and the first tile. Source: ISO/IEC 15444-1, A.4, A.6."""

BITS_BEFORE_HALVING = 7
"""Each halving of a JPEG 2000 picture takes one bit more: its rounding raises values by up to half a step."""


def decode_reduced(dataset: Dataset, frame: int, *, most: float) -> Stored | None:
    """Decode one frame with its rows and columns divided by a power of two, at most by `most`.

    Returns:
        The frame, with its extent; None where it cannot be had smaller.
    """
    if most < 2 or not has_less(dataset):
        return None
    read = _cosines if dataset.file_meta.TransferSyntaxUID == JPEGBaseline8Bit else _wavelets
    stream = get_frame(dataset.PixelData, frame, number_of_frames=num_frames(dataset))
    try:
        return read(dataset, stream, most)
    except (OSError, SyntaxError):  # Pillow's words for a broken stream
        return None


def has_less(dataset: Dataset) -> bool:
    """Tell from the header whether frames can be decoded smaller at all."""
    return (
        dataset.file_meta.TransferSyntaxUID in (JPEG2000, JPEG2000Lossless, JPEGBaseline8Bit)
        and dataset.SamplesPerPixel == 1
        and dataset.PhotometricInterpretation in ("MONOCHROME1", "MONOCHROME2")
        and dataset.get("HighBit") == dataset.BitsStored - 1
        and "PixelPaddingValue" not in dataset
    )


def _wavelets(dataset: Dataset, stream: bytes, most: float) -> Stored | None:
    """A resolution level of a JPEG 2000 codestream.

    The samples that are left are those at multiples of 2**halvings, each in the middle of what it stands for.
    Source: ISO/IEC 15444-1, F.3.
    """
    bits, signed = int(dataset.BitsStored), dataset.PixelRepresentation == 1
    if bits > 16 or not _is_described_by(dataset, stream):
        return None
    halvings = min(int(log2(most)), _levels(stream), bits - BITS_BEFORE_HALVING)
    rows, columns = int(dataset.Rows), int(dataset.Columns)
    while not (_pillow_agrees(rows, halvings) and _pillow_agrees(columns, halvings)):
        halvings -= 1
    if halvings < 1:
        return None
    with Image.open(BytesIO(stream), formats=["JPEG2000"]) as image:
        if not isinstance(image, Jpeg2KImageFile) or image.mode != ("L" if bits <= 8 else "I;16"):
            return None
        image.reduce = halvings
        values = np.asarray(image)
    # Pillow fills the bits of its mode from above, and makes signed values unsigned.
    values = values >> (8 * values.dtype.itemsize - bits)
    if signed:
        values = (values.astype(np.int32) - (1 << (bits - 1))).astype(f"i{values.dtype.itemsize}")
    step = 1 << halvings
    start = 0.5 - 0.5 / step
    extent = Extent(start, start + rows / step, start, start + columns / step)
    # The last samples lie up to half a pixel before the end.
    values = np.pad(values, ((0, 1), (0, 1)), "edge")
    return Stored(values, dataset.PhotometricInterpretation, bits, extent)


def _is_described_by(dataset: Dataset, stream: bytes) -> bool:
    """Tell whether it is a bare codestream with the header's values, whose grid begins at its first pixel."""
    if len(stream) < 45 or not stream.startswith(SIZE_OF_J2K):
        return False
    signed = dataset.PixelRepresentation == 1
    described = ((0x80 if signed else 0) | (int(dataset.BitsStored) - 1), 1, 1)
    one_component = stream[40:42] == b"\0\1"
    return one_component and stream[16:24] == bytes(8) and tuple(stream[42:45]) == described


def _levels(stream: bytes) -> int:
    """The fewest halvings that the main header declares, 0 where it cannot be followed."""
    found, at = list[int](), 2
    while at + 10 <= len(stream):
        marker, length = (int.from_bytes(stream[at + place : at + place + 2]) for place in (0, 2))
        if marker == START_OF_TILE:
            return min(found, default=0)
        if marker in (COD, COC):
            found.append(stream[at + (9 if marker == COD else 6)])
        at += 2 + length
    return 0


def _pillow_agrees(side: int, halvings: int) -> bool:
    """Pillow rounds the sides of what it is to get where the codec rounds up, and then refuses it."""
    return (side + (1 << halvings >> 1)) >> halvings == -(-side >> halvings)


def _cosines(dataset: Dataset, stream: bytes, most: float) -> Stored | None:
    """A baseline JPEG whose blocks of 8 x 8 are taken back to 4 x 4, 2 x 2 or 1 x 1 pixels."""
    if not dataset.BitsAllocated == dataset.BitsStored == 8 or dataset.PixelRepresentation != 0:
        return None
    with Image.open(BytesIO(stream), formats=["JPEG"]) as image:
        if image.mode != "L":
            return None
        full = image.size
        drafted = image.draft("L", (ceil(full[0] / most), ceil(full[1] / most)))
        if drafted is None or image.size == full:
            return None
        left, top, right, bottom = drafted[1]
        extent = Extent(top, bottom, left, right)
        return Stored(np.asarray(image), dataset.PhotometricInterpretation, 8, extent)

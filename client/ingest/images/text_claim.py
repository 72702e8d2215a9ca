"""What a DICOM file gives us to know about text in its pixels."""

from pydicom.dataset import Dataset
from pydicom.uid import (
    MultiFrameGrayscaleByteSecondaryCaptureImageStorage,
    MultiFrameGrayscaleWordSecondaryCaptureImageStorage,
    MultiFrameSingleBitSecondaryCaptureImageStorage,
    MultiFrameTrueColorSecondaryCaptureImageStorage,
    SecondaryCaptureImageStorage,
)

from client.ingest.images.elements import number_of, text_of
from client.ingest.images.header import Header
from client.ingest.images.lettering import Box
from client.ingest.images.picture import TextClaim

SECONDARY_CAPTURES = frozenset(
    {
        SecondaryCaptureImageStorage,
        MultiFrameSingleBitSecondaryCaptureImageStorage,
        MultiFrameGrayscaleByteSecondaryCaptureImageStorage,
        MultiFrameGrayscaleWordSecondaryCaptureImageStorage,
        MultiFrameTrueColorSecondaryCaptureImageStorage,
    }
)
MODALITIES_WITH_TEXT = frozenset({"US", "IVUS", "ES", "XC", "OT"})
"""Machines that write on their pictures, and pictures of screens."""


def text_claim(dataset: Dataset, header: Header) -> TextClaim:
    """Read what the header tells; BurnedInAnnotation = NO is not believed, it is often a mere default."""
    says = text_of(dataset, "BurnedInAnnotation").upper() == "YES"
    looks = header.modality in MODALITIES_WITH_TEXT or dataset.get("SOPClassUID") in SECONDARY_CAPTURES
    return TextClaim(looks=looks, says=says, picture=_regions(dataset))


def _regions(dataset: Dataset) -> tuple[Box, ...]:
    """Where an ultrasound file says that its pictures are; the ends count. Source: PS3.3 C.8.5.5.1.1."""
    ends = ("RegionLocationMinY0", "RegionLocationMaxY1", "RegionLocationMinX0", "RegionLocationMaxX1")
    found = []
    for item in dataset.get("SequenceOfUltrasoundRegions") or []:
        numbers = [number_of(item, end) for end in ends]
        if None in numbers:
            return ()
        top, bottom, left, right = (int(number or 0) for number in numbers)
        if not (0 <= top < bottom < dataset.Rows and 0 <= left < right < dataset.Columns):
            return ()
        found.append(Box(top, bottom + 1, left, right + 1))
    return tuple(found)

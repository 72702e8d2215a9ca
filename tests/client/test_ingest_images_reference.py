"""Every file that ships inside pydicom: decoded as pydicom does, or refused for a reason written here."""

import warnings
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pydicom
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_color_lut, apply_modality_lut, apply_voi_lut

from client.ingest.documents import NARRATIVES
from client.ingest.images import Picture, read_images
from client.ingest.images.elements import num_frames
from client.ingest.images.grey import render
from client.ingest.images.stored import decode, why_not
from client.ingest.rejected import Reason
from common.imaging.preparation import Preparation

FOLDER = Path(pydicom.__file__).parent / "data"
FILES = sorted(path for path in FOLDER.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc"))
SMALL = Preparation(image_size=16, burned_in="keep")

ANONYMOUS = "nothing in it tells of a study"
NO_PREAMBLE = "without the preamble that makes a file DICOM"
NO_PIXELS = "no image, or an image whose pixels somebody took out"
REFUSED = {
    "charset_files/FileInfo.txt": (Reason.NOT_DICOM, "text"),
    "charset_files/chrJapMulti.dcm": (Reason.TRUNCATED, NO_PIXELS),
    "charset_files/chrJapMultiExplicitIR6.dcm": (Reason.TRUNCATED, NO_PIXELS),
    "charset_files/chrKoreanMulti.dcm": (Reason.TRUNCATED, NO_PIXELS),
    "test_files/ExplVR_BigEndNoMeta.dcm": (Reason.NOT_DICOM, NO_PREAMBLE),
    "test_files/ExplVR_LitEndNoMeta.dcm": (Reason.NOT_DICOM, NO_PREAMBLE),
    "test_files/JPEG-lossy.dcm": (Reason.UNDECODABLE, "no codec decodes its stream, pydicom's neither"),
    "test_files/JPEG2000-embedded-sequence-delimiter.dcm": (
        Reason.TOO_LARGE,
        "its stream holds a delimiter that ends it early; what is left declares a huge image",
    ),
    "test_files/JPEGLSNearLossless_08.dcm": (Reason.NO_STUDY, ANONYMOUS),
    "test_files/JPEGLSNearLossless_16.dcm": (Reason.NO_STUDY, ANONYMOUS),
    "test_files/MR_truncated.dcm": (Reason.TRUNCATED, "cut"),
    "test_files/SC_rgb_jls_lossy_line.dcm": (Reason.NO_STUDY, ANONYMOUS),
    "test_files/SC_rgb_jls_lossy_sample.dcm": (Reason.NO_STUDY, ANONYMOUS),
    "test_files/badVR.dcm": (Reason.UNDECODABLE, "its number of frames is no number"),
    "test_files/meta_missing_tsyntax.dcm": (Reason.NO_INSTANCE, "a fragment of a file"),
    "test_files/nested_priv_SQ.dcm": (Reason.NO_INSTANCE, "a fragment of a file"),
    "test_files/no_meta.dcm": (Reason.NOT_DICOM, NO_PREAMBLE),
    "test_files/rtstruct.dcm": (Reason.NOT_DICOM, NO_PREAMBLE),
}
"""Path -> reason and why; what is refused by its folder or its kind stands in `expected_reason`."""


def name_of(path: Path) -> str:
    return path.relative_to(FOLDER).as_posix()


@cache
def opened(path: Path) -> Dataset | None:
    """The file as pydicom reads it, None where it has no pixels."""
    if path.read_bytes()[128:132] != b"DICM":
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = dcmread(path)
        return made if "PixelData" in made else None


def expected_reason(path: Path) -> Reason | None:
    """The reason written down, one by kind for what is no image, None for an image."""
    name = name_of(path)
    if name in REFUSED:
        return REFUSED[name][0]
    if "TINY_ALPHA/PT" in name:
        return Reason.TRUNCATED  # promise pixels that somebody took out
    if path.read_bytes()[128:132] != b"DICM":
        return Reason.NOT_DICOM
    if opened(path) is not None:
        return None
    kind = dcmread(path).get("SOPClassUID")
    return Reason.UNREAD_REPORT if kind in NARRATIVES else Reason.NO_PIXELS


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_a_file_of_pydicom_enters_or_is_refused_for_the_reason_written_down(path: Path) -> None:
    found = read_images(path, SMALL)
    expected = expected_reason(path)
    if expected is None:
        assert isinstance(found, Picture), found
        assert found.frames.shape == (1, 1, 16, 16)
    else:
        assert found is expected


DECODABLE = [path for path in FILES if expected_reason(path) in (None, Reason.NO_STUDY)]
IMAGES = {path: made for path in DECODABLE if (made := opened(path)) is not None}
WITH_GREYS = [
    path
    for path, made in IMAGES.items()
    if made.SamplesPerPixel == 1 and "PALETTE" not in str(made.PhotometricInterpretation)
]
WITH_WINDOW = [path for path in WITH_GREYS if {"WindowCenter", "VOILUTSequence"} & set(IMAGES[path].dir())]


def test_the_table_leaves_most_of_pydicom_s_images_in() -> None:
    assert len(DECODABLE) == 101
    assert len([path for path in FILES if expected_reason(path) is None]) == 97


@pytest.mark.parametrize("path", DECODABLE, ids=name_of)
def test_every_frame_is_pydicom_s(path: Path) -> None:
    made = dcmread(path)
    frames = num_frames(made)
    reference = made.pixel_array
    for number in range(frames):
        assert why_not(made, number) is None
        stored = decode(made, number)
        expected = reference[number] if frames > 1 else reference
        if made.PhotometricInterpretation == "PALETTE COLOR":
            expected = apply_color_lut(expected, made)
        assert_array_equal(stored.values, expected)
        assert stored.photometric in ("MONOCHROME1", "MONOCHROME2") or stored.values.ndim == 3


@pytest.mark.parametrize(
    ("path", "window"),
    [*((path, None) for path in WITH_WINDOW), *((path, (400, 900)) for path in WITH_GREYS)],
    ids=lambda value: name_of(value) if isinstance(value, Path) else "given" if value else "own",
)
def test_greys_are_those_of_pydicom_s_tables_and_windows(path: Path, window: tuple[int, int] | None) -> None:
    made = dcmread(path)
    if window is not None:
        made.WindowCenter, made.WindowWidth = window
        made.pop("VOILUTSequence", None)
    frame = num_frames(made) // 2
    values = made.pixel_array[frame] if num_frames(made) > 1 else made.pixel_array
    expected = apply_voi_lut(apply_modality_lut(values, made), made).astype(np.float64)
    low, high = output_range(made)
    expected = (expected - low) / (high - low) * 255
    if made.PhotometricInterpretation == "MONOCHROME1":
        expected = 255 - expected
    seen = render(made, decode(made, frame), modality=made.get("Modality", "OT"), frame=frame)
    assert_allclose(seen.channels[0], expected, atol=0.51)


def output_range(made: Dataset) -> tuple[float, float]:
    """Black and white of pydicom: the stored bits after the modality LUT, or the bits of the VOI LUT."""
    if made.get("VOILUTSequence"):
        return 0, 2 ** made.VOILUTSequence[0].LUTDescriptor[2] - 1
    signed = made.PixelRepresentation == 1
    low = -(2 ** (made.BitsStored - 1)) if signed else 0
    high = low + 2**made.BitsStored - 1
    slope, intercept = float(made.get("RescaleSlope", 1)), float(made.get("RescaleIntercept", 0))
    return low * slope + intercept, high * slope + intercept

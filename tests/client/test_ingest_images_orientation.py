from itertools import product
from pathlib import Path

import numpy as np
import pytest
from ingest_samples import write_dicom
from numpy.testing import assert_array_equal
from pydicom.dataset import Dataset

from client.ingest.images import Picture, read_images
from client.ingest.images.orientation import pixel_aspect
from common.imaging.geometry import Turn
from common.imaging.preparation import Preparation

NATURAL = Preparation(image_size=40, burned_in="keep")
PHANTOM = np.random.default_rng(0).integers(0, 256, (40, 30), dtype=np.uint8)
"""As usually shown; no two of its eight turns are alike."""
TURNS = [Turn(*parts) for parts in product((False, True), repeat=3)]
OPPOSITE = {"R": "L", "L": "R", "A": "P", "P": "A", "H": "F", "F": "H"}
COSINES = {"L": (1, 0, 0), "R": (-1, 0, 0), "P": (0, 1, 0), "A": (0, -1, 0), "H": (0, 0, 1), "F": (0, 0, -1)}


def acquired(usual: tuple[str, str], turn: Turn) -> tuple[np.ndarray, tuple[str, str]]:
    """The phantom as a machine would store it that turned it, and where its rows and columns then lead."""
    row, column = usual
    if turn.transpose:
        row, column = column, row
    row = OPPOSITE[row] if turn.flip_columns else row
    column = OPPOSITE[column] if turn.flip_rows else column
    return turn(PHANTOM), (row, column)


def seen(path: Path) -> Picture:
    picture = read_images(path, NATURAL)
    assert isinstance(picture, Picture), picture
    return picture


@pytest.fixture(scope="module")
def upright(tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    return seen(write_dicom(tmp_path_factory.mktemp("phantom") / "a.dcm", PHANTOM, Modality="US")).frames


@pytest.mark.parametrize("turn", TURNS, ids=str)
@pytest.mark.parametrize("usual", [("L", "F"), ("P", "F"), ("L", "P")], ids="".join)
def test_a_slice_stands_as_usual_however_it_was_acquired(
    tmp_path: Path, usual: tuple[str, str], turn: Turn, upright: np.ndarray
) -> None:
    stored, (row, column) = acquired(usual, turn)
    oblique = np.array([*COSINES[row], *COSINES[column]]) @ np.kron(np.eye(2), TILT)
    path = write_dicom(tmp_path / "a.dcm", stored, ImageOrientationPatient=[f"{c:.6f}" for c in oblique])
    picture = seen(path)
    assert_array_equal(picture.frames, upright)
    assert (picture.marks.orientation, picture.marks.turned) == ("plane", turn != Turn())


ANGLE = np.radians(20)
TILT = np.array([[1, 0, 0], [0, np.cos(ANGLE), np.sin(ANGLE)], [0, -np.sin(ANGLE), np.cos(ANGLE)]])
"""Slices are seldom straight: everything is tilted by 20 degrees."""


@pytest.mark.parametrize("turn", TURNS, ids=str)
@pytest.mark.parametrize(
    ("usual", "attributes"),
    [
        (("L", "F"), {"Modality": "CR"}),
        (("P", "F"), {"Modality": "DX"}),
        (("P", "L"), {"Modality": "MG", "ImageLaterality": "R"}),
        (("A", "R"), {"Modality": "MG", "ImageLaterality": "L"}),
        (("P", "F"), {"Modality": "MG", "ImageLaterality": "R"}),
        (("A", "F"), {"Modality": "MG", "Laterality": "L"}),
    ],
    ids=str,
)
def test_a_projection_stands_as_usual_however_it_was_acquired(
    tmp_path: Path, usual: tuple[str, str], attributes: dict[str, str], turn: Turn
) -> None:
    stored, (row, column) = acquired(usual, turn)
    window = {"WindowCenter": 128, "WindowWidth": 256, "VOILUTFunction": "LINEAR"}
    path = write_dicom(
        tmp_path / "a.dcm", stored, PatientOrientation=[f"{row}F"[:2], column], **window, **attributes
    )
    picture = seen(path)
    assert_array_equal(picture.frames[0, 0, :, 5:35], PHANTOM)
    assert (picture.marks.orientation, picture.marks.turned) == ("patient", turn != Turn())


@pytest.mark.parametrize(
    "attributes",
    [
        {},
        {"PatientOrientation": ["L", "R"]},
        {"PatientOrientation": ["X", "F"]},
        {"PatientOrientation": "R"},
        {"PatientOrientation": ["", ""]},
        {"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]},
        {"ImageOrientationPatient": [0, 0, 0, 0, 0, 0]},
        {"ImageOrientationPatient": [-1, 0, 0, 0]},
        {"FieldOfViewHorizontalFlip": "YES", "FieldOfViewRotation": 90},
    ],
    ids=str,
)
def test_nothing_is_turned_where_nothing_usable_is_recorded(
    tmp_path: Path, attributes: dict[str, object], upright: np.ndarray
) -> None:
    picture = seen(write_dicom(tmp_path / "a.dcm", PHANTOM, Modality="US", **attributes))
    assert_array_equal(picture.frames, upright)
    assert (picture.marks.orientation, picture.marks.turned) == ("unknown", False)


def test_a_breast_of_unknown_side_is_not_turned(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "a.dcm", PHANTOM, Modality="MG", PatientOrientation=["A", "H"])
    assert not seen(path).marks.turned


def test_each_frame_is_turned_by_its_own_orientation(tmp_path: Path) -> None:
    groups = []
    for column in ("P", "A"):
        plane, group = Dataset(), Dataset()
        plane.ImageOrientationPatient = [*COSINES["L"], *COSINES[column]]
        group.PlaneOrientationSequence = [plane]
        groups.append(group)
    path = write_dicom(
        tmp_path / "a.dcm",
        np.stack([PHANTOM, PHANTOM[::-1]]),
        NumberOfFrames=2,
        PerFrameFunctionalGroupsSequence=groups,
    )
    picture = read_images(path, NATURAL.model_copy(update={"frames": 2}))
    assert isinstance(picture, Picture)
    assert_array_equal(picture.frames[0], picture.frames[1])


@pytest.mark.parametrize(
    ("keyword", "value", "aspect"),
    [
        ("PixelSpacing", [2, 1], 2),
        ("ImagerPixelSpacing", [0.5, 1], 0.5),
        ("NominalScannedPixelSpacing", [3, 2], 1.5),
        ("PixelAspectRatio", [1, 4], 0.25),
        ("PixelSpacing", [0, 1], 1),
        ("PixelSpacing", [1000, 1], 1),
        ("PixelSpacing", [1], 1),
    ],
)
def test_pixels_are_as_high_as_the_file_says(keyword: str, value: list[float], aspect: float) -> None:
    made = Dataset()
    setattr(made, keyword, value)
    assert pixel_aspect(made, 0) == aspect


def test_a_circle_of_flat_pixels_is_shown_round(tmp_path: Path) -> None:
    down, across = np.mgrid[-1:1:40j, -1:1:80j]
    disc = np.where(down**2 + across**2 < 0.8, 255, 0).astype(np.uint8)
    path = write_dicom(tmp_path / "a.dcm", disc, PixelSpacing=[2, 1], Modality="US")
    square = seen(path).frames[0, 0]
    rows, columns = (square > 127).any(1).sum(), (square > 127).any(0).sum()
    assert rows == pytest.approx(columns, abs=2)


def test_a_turned_image_of_flat_pixels_keeps_its_proportions(tmp_path: Path) -> None:
    lying = np.full((10, 40), 200, np.uint8)
    path = write_dicom(
        tmp_path / "a.dcm",
        lying,
        PixelSpacing=[2, 1],
        ImageOrientationPatient=[*COSINES["P"], *COSINES["L"]],
    )
    square = seen(path).frames[0, 0]
    assert (square > 127).any(1).sum() == 40
    assert (square > 127).any(0).sum() == 20

"""How a picture must be turned to stand as it is usually shown, as far as the file records how it lies.

Slices say so by ImageOrientationPatient, projections by PatientOrientation; where neither is there nothing is
turned. FieldOfViewRotation and FieldOfViewHorizontalFlip tell what the machine did to the pixels before it
wrote them, and PatientOrientation describes the result, so they must not be applied again.
Source: DICOM PS3.3 C.7.6.1.1.1, C.7.6.2.1.1, C.8.11.1.1.6.
"""

from dataclasses import dataclass

import numpy as np
from pydicom.dataset import Dataset

from client.ingest.images.elements import frame_item, numbers_of, text_of
from common.imaging.geometry import UNTURNED, Turn
from common.imaging.marks import OrientationSource

OPPOSITE = {"R": "L", "L": "R", "A": "P", "P": "A", "H": "F", "F": "H"}
USUAL = {
    frozenset("LF"): ("L", "F"),  # from the front: the patient's left at the right hand, feet below
    frozenset("PF"): ("P", "F"),  # from the left: facing the left hand, feet below
    frozenset("LP"): ("L", "P"),  # from the feet: the patient's left at the right hand, back below
}
"""Axes that rows and columns lie along -> where rows and columns should lead.

An axis is named by where it leads in the patient's own coordinates: left, back; of the third, the feet.
"""
AXIS = {"R": "L", "L": "L", "A": "P", "P": "P", "H": "F", "F": "F"}
TOLERANCE = 0.05
"""By which direction cosines may miss length one and the right angle."""
WIDEST_PIXEL = 10.0
"""Pixels more than so many times as high as wide (or wide as high) are a slip of the pen."""


@dataclass(frozen=True)
class Stance:
    """How a frame lies and is to be turned."""

    turn: Turn
    source: OrientationSource


def stance(dataset: Dataset, frame: int, *, modality: str) -> Stance:
    """Find how to turn a frame so that it stands as it is usually shown."""
    cosines = numbers_of(frame_item(dataset, frame, "PlaneOrientationSequence"), "ImageOrientationPatient")
    if (directions := _of_plane(cosines)) is not None:
        return Stance(_turn(directions, USUAL[_axes(directions)]), "plane")
    if (directions := _of_patient(dataset)) is not None:
        usual = _usual_projection(dataset, directions, modality)
        return Stance(UNTURNED if usual is None else _turn(directions, usual), "patient")
    return Stance(UNTURNED, "unknown")


def pixel_aspect(dataset: Dataset, frame: int) -> float:
    """Height of a pixel over its width; 1 where nothing usable is recorded."""
    measures = frame_item(dataset, frame, "PixelMeasuresSequence")
    for item, keyword in (
        (measures, "PixelSpacing"),
        (dataset, "ImagerPixelSpacing"),
        (dataset, "NominalScannedPixelSpacing"),
        (dataset, "PixelAspectRatio"),
    ):
        found = numbers_of(item, keyword)
        if len(found) == 2 and min(found) > 0 and 1 / WIDEST_PIXEL <= found[0] / found[1] <= WIDEST_PIXEL:
            return found[0] / found[1]
    return 1.0


def _of_plane(cosines: tuple[float, ...]) -> tuple[str, str] | None:
    """Where rows and columns lead, by their largest components; None for what is no plane."""
    if len(cosines) != 6:
        return None
    plane = np.array(cosines).reshape(2, 3)
    if np.abs(plane @ plane.T - np.eye(2)).max() > TOLERANCE:
        return None
    row = int(np.abs(plane[0]).argmax())
    others = np.abs(plane[1])
    others[row] = -1
    column = int(others.argmax())
    return _letter(row, plane[0, row]), _letter(column, plane[1, column])


def _letter(axis: int, cosine: float) -> str:
    """Patient coordinates grow to the left, to the back and to the head."""
    return ("LPH" if cosine >= 0 else "RAF")[axis]


def _of_patient(dataset: Dataset) -> tuple[str, str] | None:
    """Where rows and columns lead by PatientOrientation: the first letter of each says most."""
    parts = text_of(dataset, "PatientOrientation").upper().split("\\")
    letters = [part.strip()[:1] for part in parts]
    if len(letters) != 2 or not all(letter in AXIS for letter in letters):
        return None
    directions = letters[0], letters[1]
    return directions if len(_axes(directions)) == 2 else None


def _usual_projection(dataset: Dataset, directions: tuple[str, str], modality: str) -> tuple[str, str] | None:
    """Where rows and columns of a projection should lead; None where no custom says so.

    Breasts hang back to back: the right one with its chest wall at the right hand. Seen from above, the side
    of the arm is on top.
    """
    axes = _axes(directions)
    if modality != "MG":
        return None if axes == frozenset("LP") else USUAL[axes]
    side = text_of(dataset, "ImageLaterality") or text_of(dataset, "Laterality")
    if side not in ("R", "L") or "P" not in axes:
        return None
    row = "P" if side == "R" else "A"
    return row, "F" if "F" in axes else OPPOSITE[side]


def _axes(directions: tuple[str, str]) -> frozenset[str]:
    return frozenset(AXIS[direction] for direction in directions)


def _turn(directions: tuple[str, str], usual: tuple[str, str]) -> Turn:
    swap = AXIS[directions[0]] != AXIS[usual[0]]
    row, column = (directions[1], directions[0]) if swap else directions
    return Turn(transpose=swap, flip_columns=row != usual[0], flip_rows=column != usual[1])

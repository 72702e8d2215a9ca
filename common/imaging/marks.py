"""What reading an image file noticed beside its pixels; nothing here can name a patient."""

from dataclasses import dataclass
from typing import Literal

WindowSource = Literal["table", "file", "preset", "full-range", "percentiles", "colour"]
"""Where the grey scale came from: a lookup table or a window of the file, a window that we chose, all values
that the bits can hold, percentiles of the pixels, or the luminance of colours."""

OrientationSource = Literal["patient", "plane", "unknown"]
"""What told how the picture stands: PatientOrientation, ImageOrientationPatient, or nothing did."""

BurnedInVerdict = Literal["none", "flagged", "found", "masked"]
"""Text in the pixels: not looked for or not found; said by the header but not found; found and left in; found
and painted over."""


@dataclass(frozen=True)
class Marks:
    """Small facts for the quality gate."""

    source_rows: int
    source_columns: int
    """Size of the file's frames in pixels, before anything was turned or fitted."""
    source_frames: int
    window: WindowSource
    orientation: OrientationSource
    turned: bool
    """The picture was flipped or rotated to stand as it is usually shown."""
    burned_in: BurnedInVerdict
    padding_share: float
    """Share of the square that was never an image: fitted margins and the file's padding; 0 to 1."""

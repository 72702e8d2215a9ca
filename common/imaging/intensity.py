"""From stored pixel values to grey: windows, percentiles, lookup tables, luminance.

Every function returns float32 in [0, 1], 0 black and 1 white, unless its docstring says otherwise. Nothing
here knows a file format.
"""

from collections.abc import Callable
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from common.imaging.preparation import WindowName

Grey = npt.NDArray[np.float32]
"""Values in [0, 1]."""
Values = npt.NDArray[np.number]
"""Pixel values in any integer or float type."""
WindowFunction = Literal["LINEAR", "LINEAR_EXACT", "SIGMOID"]

CT_WINDOWS: dict[WindowName, tuple[float, float]] = {
    "lung": (-600, 1500),
    "soft-tissue": (40, 400),
    "bone": (400, 1800),
    "brain": (40, 80),
}
"""Centre and width in Hounsfield units, as read every day."""

MAX_SAMPLES = 1 << 18
"""Percentiles are estimated from at most about so many evenly spaced pixels."""


def is_window(*, width: float, function: WindowFunction) -> bool:
    """Tell whether `width` is one the standard allows: LINEAR from 1 on, the others above 0."""
    return bool(np.isfinite(width)) and (width >= 1 if function == "LINEAR" else width > 0)


def window(values: Values, *, center: float, width: float, function: WindowFunction = "LINEAR") -> Grey:
    """Map the values around `center` to grey; the window's lower end is black, its upper end white.

    Source: DICOM PS3.3 C.11.2.1.2 (LINEAR spans `width - 1` steps around `center - 0.5`).

    Args:
        values: (H, W) in the unit of `center` (Hounsfield for CT).
        center: middle of the window.
        width: see `is_window`.
        function: LINEAR and LINEAR_EXACT clip at the ends; SIGMOID only approaches them.
    """
    shifted = values.astype(np.float32)
    if function == "SIGMOID":
        steepness = np.clip((shifted - center) * (-4.0 / width), -80, 80)
        return np.asarray(1 / (1 + np.exp(steepness)), np.float32)
    shifted -= center - width / 2
    span = width if function == "LINEAR_EXACT" else width - 1
    if span == 0:
        return (shifted > 0).astype(np.float32)
    shifted /= span
    return np.clip(shifted, 0, 1, out=shifted)


def percentile_ends(
    values: Values, meaning: Callable[[Values], Values] | None = None, *, low: float = 0.5, high: float = 99.5
) -> tuple[float, float]:
    """Find the `low` and the `high` percentile of an array's finite values, after `meaning` if given.

    Exact up to MAX_SAMPLES values, of that many evenly spaced ones beyond.
    """
    if values.ndim == 2:
        step = max(1, int(np.ceil((values.size / MAX_SAMPLES) ** 0.5)))
        sample = values[::step, ::step]
    else:
        sample = values[:: max(1, -(-values.size // MAX_SAMPLES))]
    known = sample if meaning is None else meaning(sample)
    finite = known[np.isfinite(known)] if known.dtype.kind == "f" else known
    black, white = np.percentile(finite, (low, high))
    return float(black), float(white)


def stretch(values: Values, *, black: float, white: float) -> Grey:
    """Map `black` to 0 and `white` to 1, straight between and clipped outside; all 0 where they are equal."""
    if not white > black:
        return np.zeros(values.shape, np.float32)
    grey = values.astype(np.float32)
    grey -= black
    grey /= white - black
    return np.clip(grey, 0, 1, out=grey)


def look_up(values: Values, *, table: Values, first: int) -> Values:
    """Replace each value by its entry in `table`, whose entry 0 belongs to the value `first`.

    Values outside the table take its first or last entry. Source: DICOM PS3.3 C.11.1.1.1.
    """
    entry = np.clip(np.rint(values.astype(np.float64) - first), 0, len(table) - 1)
    replaced: Values = table[entry.astype(np.intp)]
    return replaced


def luminance(colour: Values, *, bits: int) -> npt.NDArray[np.uint8]:
    """(H, W, 3) red, green, blue of `bits` bits to (H, W) grey in 0..255. Source: ITU-R BT.601."""
    eight = (
        colour
        if bits == 8
        else np.right_shift(colour, bits - 8)
        if bits > 8
        else colour * (255 // (2**bits - 1))
    )
    return np.asarray(Image.fromarray(np.ascontiguousarray(eight, np.uint8)).convert("L"))


def invert(grey: Grey) -> Grey:
    """Swap black and white; twice is the identity."""
    return np.float32(1) - grey


def quantise(grey: Grey) -> npt.NDArray[np.uint8]:
    """Round [0, 1] to 0..255; the error is at most half a step."""
    return np.rint(np.clip(grey, 0, 1) * 255).astype(np.uint8)

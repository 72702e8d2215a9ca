"""Shape of an image: turned, and fitted into a square without losing its proportions."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

Bytes = npt.NDArray[np.uint8]

REDUCING_GAP = 3.0
"""A picture is first averaged over blocks of whole pixels, down to so many times the size asked for."""


@dataclass(frozen=True)
class Turn:
    """One of the eight ways to turn or mirror a picture: rows and columns swap, then they are flipped."""

    transpose: bool = False
    flip_columns: bool = False
    """Left becomes right."""
    flip_rows: bool = False
    """Top becomes bottom."""

    def __call__(self, picture: Bytes) -> Bytes:
        """(H, W) -> (H, W), or (W, H) where rows and columns swap."""
        turned = picture.T if self.transpose else picture
        return turned[:: -1 if self.flip_rows else 1, :: -1 if self.flip_columns else 1]


UNTURNED = Turn()


def square_resize(grey: Bytes, size: int, *, pixel_aspect: float = 1.0) -> Bytes:
    """Fit an image into a square: the longer side becomes `size`, the rest is black, the proportions stay.

    Antialiased (bicubic over the source pixels that each target pixel covers), so a fine pattern becomes its
    mean rather than a moire.

    Args:
        grey: (H, W), any H and W from 1 on.
        size: side S of the square in pixels.
        pixel_aspect: height of a source pixel over its width.

    Returns:
        (S, S), the image in the middle.
    """
    rows, columns = fitted_shape(grey.shape, size, pixel_aspect=pixel_aspect)
    square = np.zeros((size, size), np.uint8)
    top, left = (size - rows) // 2, (size - columns) // 2
    square[top : top + rows, left : left + columns] = _resample(grey, rows, columns)
    return square


def fitted_shape(shape: tuple[int, ...], size: int, *, pixel_aspect: float = 1.0) -> tuple[int, int]:
    """Rows and columns that an image of `shape` (H, W) takes of a square of side `size`."""
    height, width = shape[0] * pixel_aspect, shape[1]
    scale = size / max(height, width)
    return max(1, round(height * scale)), max(1, round(width * scale))


def _resample(grey: Bytes, rows: int, columns: int) -> Bytes:
    if grey.shape == (rows, columns):
        return grey
    picture = Image.fromarray(np.ascontiguousarray(grey))
    resized = picture.resize((columns, rows), Image.Resampling.BICUBIC, reducing_gap=REDUCING_GAP)
    return np.asarray(resized)

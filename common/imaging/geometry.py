"""Shape of an image: turned, and fitted into a square without losing its proportions."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

Bytes = npt.NDArray[np.uint8]

REDUCING_GAP = 3.0
"""A picture is first averaged over blocks of whole pixels, down to so many times the size asked for."""


@dataclass(frozen=True)
class Extent:
    """Where a picture lies in an array, in pixels of the array: it may begin and end inside of one."""

    top: float
    bottom: float
    left: float
    right: float

    @property
    def shape(self) -> tuple[float, float]:
        """Height and width."""
        return self.bottom - self.top, self.right - self.left


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

    def extent(self, extent: Extent, shape: tuple[int, ...]) -> Extent:
        """Where in the turned array lies what is at `extent` in an array of `shape` (H, W)."""
        height, width = shape
        top, bottom, left, right = extent.top, extent.bottom, extent.left, extent.right
        if self.transpose:
            height, width, top, bottom, left, right = width, height, left, right, top, bottom
        if self.flip_rows:
            top, bottom = height - bottom, height - top
        if self.flip_columns:
            left, right = width - right, width - left
        return Extent(top, bottom, left, right)


UNTURNED = Turn()


def square_resize(
    grey: Bytes, size: int, *, pixel_aspect: float = 1.0, extent: Extent | None = None
) -> Bytes:
    """Fit an image into a square: the longer side becomes `size`, the rest is black, the proportions stay.

    Antialiased (bicubic over the source pixels that each target pixel covers), so a fine pattern becomes its
    mean rather than a moire.

    Args:
        grey: (H, W), any H and W from 1 on.
        size: side S of the square in pixels.
        pixel_aspect: height of a source pixel over its width.
        extent: where in `grey` the image lies; all of it unless given.

    Returns:
        (S, S), the image in the middle.
    """
    shape = grey.shape if extent is None else extent.shape
    rows, columns = fitted_shape(shape, size, pixel_aspect=pixel_aspect)
    square = np.zeros((size, size), np.uint8)
    top, left = (size - rows) // 2, (size - columns) // 2
    square[top : top + rows, left : left + columns] = _resample(grey, rows, columns, extent)
    return square


def fitted_shape(shape: tuple[float, ...], size: int, *, pixel_aspect: float = 1.0) -> tuple[int, int]:
    """Rows and columns that an image of `shape` (H, W) takes of a square of side `size`."""
    height, width = shape[0] * pixel_aspect, shape[1]
    scale = size / max(height, width)
    return max(1, round(height * scale)), max(1, round(width * scale))


def spare_resolution(shape: tuple[int, ...], size: int, *, pixel_aspect: float = 1.0) -> float:
    """By what an image of `shape` (H, W) may be shrunk before `square_resize`, to be averaged less there."""
    rows, columns = fitted_shape(shape, size, pixel_aspect=pixel_aspect)
    return min(shape[0] / rows, shape[1] / columns) / REDUCING_GAP


def _resample(grey: Bytes, rows: int, columns: int, extent: Extent | None) -> Bytes:
    if extent is None and grey.shape == (rows, columns):
        return grey
    picture = Image.fromarray(np.ascontiguousarray(grey))
    box = None if extent is None else (extent.left, extent.top, extent.right, extent.bottom)
    resized = picture.resize((columns, rows), Image.Resampling.BICUBIC, box, REDUCING_GAP)
    return np.asarray(resized)

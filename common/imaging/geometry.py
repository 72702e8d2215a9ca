"""Shape of an image: fitted into a square without losing its proportions."""

import numpy as np
from PIL import Image

from common.imaging.intensity import Grey


def square_resize(grey: Grey, size: int) -> Grey:
    """Fit an image into a square: the longer side becomes `size`, the rest is black, the proportions stay.

    Antialiased (bicubic over the source pixels that each target pixel covers), so a fine pattern becomes its
    mean rather than a moire.

    Args:
        grey: (H, W) in [0, 1], any H and W from 1 on.
        size: side S of the square in pixels.

    Returns:
        (S, S) in [0, 1], the image in the middle.
    """
    rows, columns = fitted_shape(grey.shape, size)
    fitted = _resample(grey, rows, columns)
    square = np.zeros((size, size), np.float32)
    top, left = (size - rows) // 2, (size - columns) // 2
    square[top : top + rows, left : left + columns] = np.clip(fitted, 0, 1)
    return square


def fitted_shape(shape: tuple[int, ...], size: int) -> tuple[int, int]:
    """Rows and columns that an image of `shape` (H, W) takes of a square of side `size`."""
    height, width = shape
    scale = size / max(height, width)
    return max(1, round(height * scale)), max(1, round(width * scale))


def _resample(grey: Grey, rows: int, columns: int) -> Grey:
    if grey.shape == (rows, columns):
        return grey
    picture = Image.fromarray(np.ascontiguousarray(grey, np.float32))
    return np.asarray(picture.resize((columns, rows), Image.Resampling.BICUBIC), np.float32)

"""Images with nothing, or little, on them.

Shapes: N images of S by S pixels.
"""

import numpy as np
import numpy.typing as npt

from client.ingest.quality.fingerprints import CHUNK
from common.store import Images

FLAT = 2.0
"""Standard deviation, of 255, below which an image is one grey."""
DARK = 8
"""Grey values up to this one may be the black that fills an image up to the square."""
SMALL = 0.2
"""Share of the square below which what is shown is too small to be read."""

Mask = npt.NDArray[np.bool_]


def blank(images: Images) -> Mask:
    """(N,) whether an image is of one grey."""
    return np.concatenate([_deviation(piece) < FLAT for piece in _pieces(images)])


def small(images: Images) -> Mask:
    """(N,) whether the box around all that is not black covers less than SMALL of the square."""
    return np.concatenate([_box_share(piece) < SMALL for piece in _pieces(images)])


def _pieces(images: Images) -> list[Images]:
    return [images[start : start + CHUNK] for start in range(0, len(images), CHUNK)] or [images]


def _deviation(images: Images) -> npt.NDArray[np.float32]:
    return np.asarray(np.std(images, axis=(1, 2), dtype=np.float32))


def _box_share(images: Images) -> npt.NDArray[np.float64]:
    bright = np.asarray(images > DARK)
    down, across = (_extent(np.asarray(bright.any(axis=axis))) for axis in (2, 1))
    return np.asarray(down * across / images.shape[-1] ** 2)


def _extent(lit: Mask) -> npt.NDArray[np.int64]:
    """(N,) length from the first to the last true value of each row; 0 where there is none."""
    first, last = lit.argmax(axis=1), lit.shape[1] - lit[:, ::-1].argmax(axis=1)
    return np.where(lit.any(axis=1), last - first, 0)

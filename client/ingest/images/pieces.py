"""Connected pieces of a black and white picture, and what their pixels have in common.

Pieces are made of runs, the stretches of white in each row; a picture of text has some thousands.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Pieces:
    """n pieces; every array is (n,), the ends are not included."""

    top: Ints
    bottom: Ints
    left: Ints
    right: Ints
    runs: Ints
    """How many runs each has."""
    pixels: Ints
    """(P,) places of the white pixels in the flattened picture, and below of which piece each is."""
    owner: Ints
    """(P,)."""

    def __len__(self) -> int:
        return len(self.top)

    @property
    def height(self) -> Ints:
        """Rows."""
        return self.bottom - self.top

    @property
    def width(self) -> Ints:
        """Columns."""
        return self.right - self.left

    @property
    def strokes_across(self) -> Floats:
        """Runs in a row, on average: 1 for "l", about 2 for "o", more for letters that touch."""
        return self.runs / self.height

    def take(self, which: Ints) -> "Pieces":
        """Some of the pieces, without their pixels."""
        nothing = np.zeros(0, np.int64)
        boxes = {name: getattr(self, name)[which] for name in ("top", "bottom", "left", "right", "runs")}
        return replace(self, **boxes, pixels=nothing, owner=nothing)

    def mean(self, picture: npt.NDArray[np.integer]) -> Floats:
        """Mean value of each piece's pixels."""
        return np.bincount(self.owner, picture.ravel()[self.pixels], len(self)) / self._sizes

    def deviation(self, picture: npt.NDArray[np.integer]) -> Floats:
        """Standard deviation of each piece's pixels."""
        values = picture.ravel()[self.pixels].astype(np.float64)
        squares = np.bincount(self.owner, values**2, len(self)) / self._sizes
        return np.sqrt(np.maximum(0, squares - self.mean(picture) ** 2))

    @cached_property
    def _sizes(self) -> Ints:
        return np.bincount(self.owner, minlength=len(self))


def find_pieces(white: npt.NDArray[np.bool_]) -> Pieces:
    """Find the pieces of a (H, W) picture; pixels that touch at a corner are connected."""
    height, width = white.shape
    framed = np.zeros((height, width + 2), np.int8)
    framed[:, 1:-1] = white
    change = np.diff(framed, axis=1)
    row, start = (at.astype(np.int64) for at in np.nonzero(change == 1))
    end = np.nonzero(change == -1)[1].astype(np.int64)
    owner = connected_runs(row, start, end, width)
    count = int(owner.max()) + 1 if len(owner) else 0
    box = {"top": row, "bottom": row + 1, "left": start, "right": end}
    found: dict[str, Ints] = {}
    for name, values in box.items():
        extreme = np.minimum if name in ("top", "left") else np.maximum
        found[name] = np.full(count, height + width if extreme is np.minimum else 0, np.int64)
        extreme.at(found[name], owner, values)
    length = end - start
    pixels = np.repeat(row * width + start - np.cumsum(length) + length, length) + np.arange(length.sum())
    return Pieces(
        **found, runs=np.bincount(owner, minlength=count), pixels=pixels, owner=np.repeat(owner, length)
    )


def connected_runs(row: Ints, start: Ints, end: Ints, width: int) -> Ints:
    """Number the pieces that runs, sorted by row and column, belong to."""
    stride = width + 2
    first_key, last_key = row * stride + start, row * stride + end
    # A run touches those of the next row that end at its start or later and start at its end or before.
    low = np.searchsorted(last_key, first_key + stride, "left")
    high = np.searchsorted(first_key, last_key + stride, "right")
    touching = np.maximum(0, high - low)
    above = np.repeat(np.arange(len(row)), touching)
    below = np.repeat(low - np.cumsum(touching) + touching, touching) + np.arange(touching.sum())
    return _number(len(row), above, below)


def connected(neighbours: npt.NDArray[np.bool_]) -> Ints:
    """Number the connected parts of a graph given as an (n, n) table."""
    one, other = np.nonzero(neighbours)
    return _number(len(neighbours), one, other)


def _number(nodes: int, one: Ints, other: Ints) -> Ints:
    """Give connected nodes the same number, from 0.

    Source: Shiloach and Vishkin 1982, doi:10.1016/0196-6774(82)90008-6.
    """
    root = np.arange(nodes)
    while True:
        low = np.minimum(root[one], root[other])
        hooked = root.copy()
        np.minimum.at(hooked, root[one], low)
        np.minimum.at(hooked, root[other], low)
        while not np.array_equal(hooked, jumped := hooked[hooked]):
            hooked = jumped
        if np.array_equal(hooked, root):
            return np.asarray(np.unique(root, return_inverse=True)[1], np.int64)
        root = hooked

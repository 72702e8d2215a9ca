"""Text burned into a picture: lines of letters, found by their strokes.

A letter is a thin stroke of even brightness that stands out sharply from what surrounds it; a line is a row
of shapes of similar height on one base at small distances. Speckle and bone edges are thin too, but seldom
even, sharp and in line. Nothing is read, and no model is loaded.
Shapes: H x W pixels of a picture, n letters.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from client.ingest.images.pieces import Pieces, connected, find_pieces
from common.imaging.geometry import Bytes

WIDEST_STROKE = 7
"""Pixels; strokes of letters up to about 40 pixels high."""
CONTRAST = 40
"""Grey values by which a stroke stands out at least."""
EVENNESS = 0.35
"""A stroke's brightness may vary by so much of what it stands out by (standard deviation)."""
SHARPNESS = 0.35
"""Mean step to the neighbouring pixel along a stroke, as a share of what it stands out by."""
LOWEST, HIGHEST = 5, 64
"""Pixels of height that a letter has."""
LETTERS = 3
"""Shapes in a row that make a line."""
COMPARED, STEP = 1200, 800
"""Letters that are compared with each other, and how far to go on; a line has fewer than they overlap by."""


@dataclass(frozen=True)
class Box:
    """Rows `top` to `bottom` and columns `left` to `right`, the ends not included."""

    top: int
    bottom: int
    left: int
    right: int


def find_lettering(picture: Bytes) -> list[Box]:
    """Find the lines of text in a grey (H, W) picture, bright on dark and dark on bright."""
    return [box for bright in (picture, 255 - picture) for box in _lines(bright)]


def _lines(picture: Bytes) -> Iterator[Box]:
    stands_out = picture - _opened(picture)
    strokes = (stands_out > CONTRAST) & (stands_out > _spread(stands_out, np.maximum) // 2)
    pieces = find_pieces(strokes)
    if not len(pieces):
        return
    downwards = np.flatnonzero(_could_be_letters(pieces, picture, stands_out))
    downwards = downwards[np.argsort(pieces.bottom[downwards], kind="stable")]
    for start in range(0, len(downwards), STEP):
        letters = downwards[start : start + COMPARED]
        line = connected(_side_by_side(pieces.take(letters)))
        for number in np.unique(line):
            row = pieces.take(letters[line == number])
            if _is_line(row):
                yield _with_neighbours(row, pieces, picture.shape)


def _could_be_letters(pieces: Pieces, picture: Bytes, stands_out: Bytes) -> npt.NDArray[np.bool_]:
    height = pieces.height
    by = pieces.mean(stands_out)
    return np.asarray(
        (height >= LOWEST)
        & (height <= HIGHEST)
        & (pieces.deviation(picture) < EVENNESS * by)
        & (pieces.mean(_steps(picture)) > SHARPNESS * by)
        & (pieces.width <= 1.6 * height * np.maximum(1, pieces.strokes_across))
    )


def _side_by_side(letters: Pieces) -> npt.NDArray[np.bool_]:
    """(n, n) True where two letters may be neighbours in a line."""
    height = letters.height
    lower, higher = np.minimum.outer(height, height), np.maximum.outer(height, height)
    gap = np.maximum.outer(letters.left, letters.left) - np.minimum.outer(letters.right, letters.right)
    overlap = np.minimum.outer(letters.bottom, letters.bottom) - np.maximum.outer(letters.top, letters.top)
    return np.asarray((gap <= higher) & (overlap >= 0.6 * lower) & (higher <= 2.2 * lower))


def _is_line(row: Pieces) -> bool:
    """Tell whether shapes side by side are enough, stand on one base and are wider than high together."""
    height = float(np.median(row.height))
    written_together = np.clip(row.strokes_across / 1.3, 0.3, 1.3) * row.width / (0.9 * row.height)
    if np.maximum(1, np.round(written_together)).sum() < LETTERS:
        return False
    if row.bottom.max() - row.top.min() > 3 * height:  # layers of tissue drift up and down, a line does not
        return False
    base = np.abs(row.bottom - np.median(row.bottom)) <= max(1.0, 0.15 * height)
    return bool(base.mean() >= 0.6 and row.right.max() - row.left.min() >= 1.8 * height)


def _with_neighbours(row: Pieces, pieces: Pieces, shape: tuple[int, ...]) -> Box:
    """The line's box, stretched over strokes that continue it however uneven they are, and a margin."""
    height = float(np.median(row.height))
    top, bottom = int(row.top.min()), int(row.bottom.max())
    left, right = int(row.left.min()), int(row.right.max())
    middle = (pieces.top + pieces.bottom) / 2
    beside = (middle > top) & (middle < bottom) & (pieces.height <= 2 * height) & (pieces.width <= 4 * height)
    for _ in range(len(pieces)):
        near = beside & (pieces.left <= right + 1.5 * height) & (pieces.right >= left - 1.5 * height)
        wider = int(pieces.left[near].min(initial=left)), int(pieces.right[near].max(initial=right))
        if wider == (left, right):
            break
        left, right = wider
    margin = int(np.ceil(0.35 * height))
    return Box(
        max(0, top - margin),
        min(shape[0], bottom + margin),
        max(0, left - margin),
        min(shape[1], right + margin),
    )


def _opened(picture: Bytes) -> Bytes:
    """The picture without what is bright and thinner than WIDEST_STROKE: a morphological opening."""
    return _spread(_spread(picture, np.minimum), np.maximum)


def _spread(picture: Bytes, extreme: np.ufunc) -> Bytes:
    """Replace each pixel by the extreme of the WIDEST_STROKE x WIDEST_STROKE pixels around it."""
    height, width = picture.shape
    padded = np.pad(picture, WIDEST_STROKE // 2, mode="edge")
    rows = padded[:height].copy()
    for at in range(1, WIDEST_STROKE):
        extreme(rows, padded[at : at + height], out=rows)
    spread = rows[:, :width].copy()
    for at in range(1, WIDEST_STROKE):
        extreme(spread, rows[:, at : at + width], out=spread)
    return spread


def _steps(picture: Bytes) -> npt.NDArray[np.int16]:
    """The largest step from each pixel to its four neighbours."""
    steps = np.zeros(picture.shape, np.int16)
    for axis in (0, 1):
        step = np.abs(np.diff(picture.astype(np.int16), axis=axis))
        before, after = (
            tuple(cut if one == axis else slice(None) for one in (0, 1))
            for cut in (slice(None, -1), slice(1, None))
        )
        np.maximum(steps[before], step, out=steps[before])
        np.maximum(steps[after], step, out=steps[after])
    return steps

"""What reading an image file gives: who it shows, its prepared frames, and what was noticed on the way."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from client.ingest.images.header import Header
from common.imaging.marks import Marks


@dataclass(frozen=True)
class Picture:
    """A readable image file."""

    header: Header
    frames: npt.NDArray[np.uint8]
    """(F, C, S, S) grey values, bone white, air black."""
    numbers: tuple[int, ...]
    """(F,) which frames of the file these are, from 0, ascending."""
    marks: Marks


def frame_numbers(total: int, wanted: int, *, key: int | None = None) -> tuple[int, ...]:
    """Choose frames of a file: one gives `key` or the middle, more the middles of so many equal parts.

    Args:
        total: frames in the file.
        wanted: frames to choose; all where the file has fewer.
        key: the frame that the file calls representative, from 0.
    """
    if wanted == 1 and key is not None and 0 <= key < total:
        return (key,)
    parts = min(wanted, total)
    return tuple((2 * part + 1) * total // (2 * parts) for part in range(parts))

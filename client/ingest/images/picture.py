"""What reading an image file gives: who it shows, its prepared frames, and what was noticed on the way."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from client.ingest.images.header import Header
from client.ingest.images.lettering import CONTRAST, Box, find_lettering
from client.ingest.rejected import Reason
from common.imaging.geometry import UNTURNED, Bytes, Extent, Turn, fitted_shape, square_resize
from common.imaging.marks import BurnedInVerdict, Marks, OrientationSource, WindowSource
from common.imaging.preparation import BurnedIn, Preparation

REFUSED: Mapping[BurnedIn, tuple[BurnedInVerdict, ...]] = {
    "keep": (),
    "mask": ("flagged",),
    "mask-all": ("flagged",),
    "reject": ("flagged", "found"),
}
"""Of each policy, the verdicts with which a file does not come into the store."""
MARGIN = 0.125
"""Of the rows or columns, where text stands in pictures of kinds that seldom hold any."""
MASKING: tuple[BurnedIn, ...] = ("mask", "mask-all")


@dataclass(frozen=True)
class Picture:
    """A readable image file."""

    header: Header
    frames: npt.NDArray[np.uint8]
    """(F, C, S, S) grey values, bone white, air black."""
    numbers: tuple[int, ...]
    """(F,) which frames of the file these are, from 0, ascending."""
    marks: Marks


@dataclass(frozen=True)
class Drawing:
    """A frame in full size, or read at a part of it, as it is stored."""

    channels: tuple[Bytes, ...]
    """One (H, W) picture in grey, or one for each CT window of the preparation."""
    source_shape: tuple[int, int]
    """Rows and columns in the file."""
    window: WindowSource
    turn: Turn = UNTURNED
    """What makes it stand as it is usually shown."""
    pixel_aspect: float = 1.0
    """Height of a pixel over its width."""
    orientation: OrientationSource = "unknown"
    padding_share: float = 0.0
    """Share of the frame that the file calls padding."""
    extent: Extent | None = None
    """Where in the channels the frame lies; all of them unless given."""

    @property
    def upright_aspect(self) -> float:
        """Height of a pixel over its width once it is turned."""
        return 1 / self.pixel_aspect if self.turn.transpose else self.pixel_aspect

    @property
    def upright_extent(self) -> Extent | None:
        """Where the frame lies once it is turned."""
        return None if self.extent is None else self.turn.extent(self.extent, self.channels[0].shape)

    def upright_shape(self, size: int) -> tuple[int, int]:
        """Rows and columns that it takes of a square."""
        extent = self.upright_extent
        shape = self.turn(self.channels[0]).shape if extent is None else extent.shape
        return fitted_shape(shape, size, pixel_aspect=self.upright_aspect)


@dataclass(frozen=True)
class TextClaim:
    """What a file gives us to know about text in its pixels."""

    looks: bool
    """It is of a kind that often holds text, so we look for some."""
    says: bool = False
    """Its header says that the text names the patient."""
    picture: tuple[Box, ...] = ()
    """Where the picture is, as far as the header tells; () where it does not."""

    def is_looked_for(self, preparation: Preparation) -> bool:
        """Whether we look for text, which takes every pixel."""
        return preparation.burned_in == "mask-all" or (preparation.burned_in != "keep" and self.is_likely)

    @property
    def is_likely(self) -> bool:
        """Whether text may stand anywhere in the picture."""
        return self.looks or self.says


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


def prepare(
    header: Header,
    drawings: Sequence[Drawing],
    numbers: tuple[int, ...],
    preparation: Preparation,
    *,
    source_frames: int,
    text: TextClaim,
) -> Picture | Reason:
    """Bring the drawn frames of a file into the form of the store, or refuse them for the text they hold."""
    hidden, verdict = _burned_in(drawings, preparation, text)
    if verdict in REFUSED[preparation.burned_in]:
        return Reason.BURNED_IN_TEXT
    frames = np.stack([_squares(drawing, hidden, preparation) for drawing in drawings])
    first, size = drawings[0], preparation.image_size
    rows, columns = first.upright_shape(size)
    marks = Marks(
        source_rows=first.source_shape[0],
        source_columns=first.source_shape[1],
        source_frames=source_frames,
        window=first.window,
        orientation=first.orientation,
        turned=first.turn != UNTURNED,
        burned_in=verdict,
        padding_share=1 - (1 - first.padding_share) * rows * columns / size**2,
    )
    return Picture(header, frames, numbers, marks)


def _burned_in(
    drawings: Sequence[Drawing], preparation: Preparation, text: TextClaim
) -> tuple[npt.NDArray[np.bool_] | None, BurnedInVerdict]:
    """Where to paint, (H, W), and what is known: text stands in the same place in all frames."""
    if not text.is_looked_for(preparation):
        return None, "flagged" if text.says else "none"
    hidden = np.zeros(drawings[0].channels[0].shape, np.bool_)
    for drawing in drawings:
        for box in find_lettering(drawing.channels[0]):
            if text.is_likely or _is_at_margin(box, hidden.shape):
                hidden[box.top : box.bottom, box.left : box.right] = True
    masks = preparation.burned_in in MASKING
    if masks:
        hidden |= _beside(text.picture, drawings)
    if not hidden.any():
        return None, "flagged" if text.says else "none"
    return hidden, "masked" if masks else "found"


def _is_at_margin(box: Box, shape: tuple[int, ...]) -> bool:
    """Tell whether a line lies wholly within `MARGIN` of an edge; elsewhere, bones look like letters."""
    rows, columns = shape
    down, across = MARGIN * rows, MARGIN * columns
    return box.bottom <= down or box.top >= rows - down or box.right <= across or box.left >= columns - across


def _beside(picture: Sequence[Box], drawings: Sequence[Drawing]) -> npt.NDArray[np.bool_]:
    """What lies outside of the picture, (H, W), if there is anything to be seen."""
    beside = np.full(drawings[0].channels[0].shape, bool(picture))
    for box in picture:
        beside[box.top : box.bottom, box.left : box.right] = False
    brightest = max((int(drawing.channels[0][beside].max(initial=0)) for drawing in drawings), default=0)
    return beside if brightest > CONTRAST else np.zeros_like(beside)


def _squares(drawing: Drawing, hidden: npt.NDArray[np.bool_] | None, preparation: Preparation) -> Bytes:
    """(C, S, S)."""
    squares = [
        square_resize(
            drawing.turn(channel if hidden is None else np.where(hidden, np.uint8(0), channel)),
            preparation.image_size,
            pixel_aspect=drawing.upright_aspect,
            extent=drawing.upright_extent,
        )
        for channel in drawing.channels
    ]
    return np.stack(squares if len(squares) == preparation.channels else squares * preparation.channels)

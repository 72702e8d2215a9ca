"""How the image files of a hospital become the pixels that a model sees.

The same at every site: it stands in the spec (`[data.images]`, and the size in `[model]`), every store says
how its images were prepared, and a store prepared otherwise than the spec asks is refused.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from common.spec.section import Section

SMALLEST_IMAGE, LARGEST_IMAGE = 16, 1024

ImageSize = Annotated[int, Field(ge=SMALLEST_IMAGE, le=LARGEST_IMAGE)]
"""Side of the square in pixels."""

WindowName = Literal["lung", "soft-tissue", "bone", "brain"]

BurnedIn = Literal["mask", "mask-all", "reject", "keep"]


class ImagesSpec(Section):
    """What ingest makes of an image file, whatever the size of the squares."""

    ct_windows: tuple[WindowName, ...] = ()
    """How CT is shown. None: by the file's own window, or soft tissue; one: by that; several: by each, as so
    many channels. Images without Hounsfield units have their one picture in every channel."""
    frames: Annotated[int, Field(ge=1, le=64)] = 1
    """Rows made of a file of several frames: 1 takes the one that the file calls representative, or the
    middle; N takes N evenly spaced ones, or all where there are fewer."""
    burned_in: BurnedIn
    """Text found in the pixels, which may name the patient: `mask` paints it over, `reject` refuses the file,
    `keep` leaves it in. It is looked for where it is common (ultrasound, endoscopy, photographs, secondary
    captures) or announced. `mask-all` does as `mask`, and looks at the margins of all others too, an eighth
    from each edge: of 1,425 CT and MR of teaching files that name who uploaded them, 1,287 are painted at, a
    fiftieth of the picture; of 1,066 radiographs 262, a hundredth. Edges that look like letters are painted
    too: in 64 of 209 other CT, a seventieth of the picture. Faint text and single letters are missed."""
    reduced_reading: bool = True
    """Read JPEG 2000 and JPEG at a half, a quarter or an eighth where at least three times the size of the
    square is left; never where text is looked for, or where percentiles of the pixels decide the greys.
    Differs from full reading by 0.5 of 255 greys on average, by 1.2 in the picture most unlike, by 22 in one
    pixel (real radiographs, CT and MR), which is as near to exact resampling as full reading; a radiograph of
    2048 x 2048 in JPEG 2000 takes a quarter of the time."""

    @model_validator(mode="after")
    def _each_window_once(self) -> Self:
        if len(set(self.ct_windows)) != len(self.ct_windows):
            raise ValueError("data.images.ct_windows names a window twice")
        return self

    @property
    def channels(self) -> int:
        """Channels C of an image."""
        return max(1, len(self.ct_windows))


class Preparation(ImagesSpec):
    """Everything that decides an image's pixels."""

    image_size: ImageSize

"""One PNG or JPEG file: its pixels as a small grey square, and its own name.

Such a file does not say whom it shows: patient, study and modality are for whoever knows the folder.
"""

import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from client.ingest.images.attempt import attempt
from client.ingest.images.header import Header
from client.ingest.images.picture import Drawing, Picture, TextClaim, prepare
from client.ingest.images.stored import MAX_PIXELS
from client.ingest.rejected import Reason
from common.imaging.geometry import REDUCING_GAP
from common.imaging.intensity import percentile_ends, quantise, stretch
from common.imaging.preparation import Preparation

FORMATS = {"PNG": b"\x89PNG\r\n\x1a\n", "JPEG": b"\xff\xd8\xff"}
"""Format -> how its files begin."""
MAY_HOLD_TEXT = TextClaim(looks=True)
MORE_THAN_8_BITS = ("I;16", "I;16B", "I;16L", "I")
"""How Pillow calls grey of more than eight bits."""


def is_raster(path: Path) -> bool:
    """Tell by its first bytes whether a file is a PNG or a JPEG.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return file.read(8).startswith(tuple(FORMATS.values()))


def read_raster(path: Path, preparation: Preparation) -> Picture | Reason:
    """Read one file, or say why not.

    The header has an empty patient, study and modality, and as `instance_uid` the file's own name.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image = attempt(lambda: _open(path), Reason.MALFORMED)
        if isinstance(image, Reason):
            return image
        with image:
            drawing = attempt(lambda: _read(image, preparation), Reason.UNDECODABLE)
    if isinstance(drawing, Reason):
        return drawing
    header = Header(
        instance_uid=path.name, study_uid="", accession="", patient_id="", issuer="", modality="", view=""
    )
    return prepare(header, [drawing], (0,), preparation, source_frames=1, text=MAY_HOLD_TEXT)


def _open(path: Path) -> Image.Image | Reason:
    try:
        image = Image.open(path, formats=list(FORMATS))
    except Image.DecompressionBombError:
        return Reason.TOO_LARGE
    except UnidentifiedImageError:
        return Reason.MALFORMED
    except OSError as error:
        return Reason.TRUNCATED if error.errno is None else Reason.UNREADABLE
    return Reason.TOO_LARGE if image.width * image.height > MAX_PIXELS else image


def _read(image: Image.Image, preparation: Preparation) -> Drawing | Reason:
    try:
        return _draw(image, preparation)
    except OSError:
        return Reason.TRUNCATED


def _draw(image: Image.Image, preparation: Preparation) -> Drawing:
    source_shape = image.height, image.width
    if preparation.reduced_reading and not MAY_HOLD_TEXT.is_looked_for(preparation):
        # Decoding a JPEG at an eighth of its size costs a fraction.
        image.draft("L", (round(REDUCING_GAP * preparation.image_size),) * 2)
    upright = ImageOps.exif_transpose(image)
    if upright.mode in MORE_THAN_8_BITS:
        values = np.asarray(upright)
        black, white = percentile_ends(values)
        return Drawing((quantise(stretch(values, black=black, white=white)),), source_shape, "percentiles")
    return Drawing((np.asarray(_flatten(upright)),), source_shape, "full-range")


def _flatten(image: Image.Image) -> Image.Image:
    """Colours to luminance; what is transparent lies on black."""
    if image.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in image.info:
        opaque = Image.new("RGBA", image.size, (0, 0, 0, 255))
        return Image.alpha_composite(opaque, image.convert("RGBA")).convert("L")
    return (image.convert("RGB") if image.mode in ("P", "CMYK", "YCCK") else image).convert("L")

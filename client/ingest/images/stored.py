"""The stored values of one frame, decoded; what would cost too much or is cut short is found before."""

import zlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset
from pydicom.encaps import get_frame
from pydicom.pixels.decoders.base import Decoder, get_decoder
from pydicom.pixels.processing import apply_color_lut
from pydicom.pixels.utils import get_expected_length
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    JPEG2000TransferSyntaxes,
    JPEGBaseline8Bit,
    JPEGLSTransferSyntaxes,
    JPEGTransferSyntaxes,
)

from client.ingest.images.elements import num_frames, text_of
from client.ingest.rejected import Reason
from common.imaging.geometry import Extent
from common.imaging.intensity import Values

MAX_PIXELS = 1 << 27
"""Per frame; the largest mammograms have about 2^25."""
MAX_INFLATED_BYTES = 1 << 30
"""Of a deflated data set."""

PIXEL_ELEMENTS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")

END_OF_IMAGE = b"\xff\xd9"
"""Marker with which a JPEG stream ends. Source: ITU-T T.81, table B.1; T.87 for JPEG-LS."""
MAX_TRAILER = 64
"""Bytes within which the marker is looked for: encoders pad."""

START_OF_FRAME = frozenset({*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC})
"""Markers of the segment that holds the size. Source: ITU-T T.81, table B.1; T.87, C.2.2."""
RUST_PANIC = "PanicException"
"""What a codec in Rust raises where it is out of bounds; it cannot be imported, and is no Exception."""
SIZE_OF_J2K = b"\xff\x4f\xff\x51"
"""Start of a JPEG 2000 codestream; its size follows. Source: ISO/IEC 15444-1, A.5.1."""


@dataclass(frozen=True)
class Stored:
    """One frame as it is stored."""

    values: Values
    """(H, W), any integer or float type; of a colour image (H, W, 3) red, green and blue."""
    photometric: str
    """MONOCHROME1, MONOCHROME2 or RGB: other colour spaces and palettes are converted."""
    bits: int
    """Bits of a value that count."""
    extent: Extent | None = None
    """Where in `values` the frame lies, if it was read at a part of its size; all of them unless given."""


def is_bomb(path: Path) -> bool:
    """Tell whether the file's data set is deflated from more than any image needs.

    Memory: one megabyte. Files that are not deflated are not read beyond their first kilobyte.
    """
    with path.open("rb") as file:
        head = file.read(1024)
        if DeflatedExplicitVRLittleEndian.encode() not in head:
            return False
        file.seek(
            144 + int.from_bytes(head[140:144], "little")
        )  # PS3.10, 7.1: preamble, "DICM", group length
        inflate = zlib.decompressobj(-zlib.MAX_WBITS)
        size, waiting = 0, b""
        with suppress(zlib.error):  # what is broken is for the reader to name
            # After its end a stream hands back the same tail for ever.
            while not inflate.eof and size <= MAX_INFLATED_BYTES:
                if not (waiting := waiting or file.read(1 << 16)):
                    break
                size += len(inflate.decompress(waiting, 1 << 20))
                waiting = inflate.unconsumed_tail
    return size > MAX_INFLATED_BYTES


def why_not(dataset: Dataset, frame: int) -> Reason | None:
    """Say why a frame cannot be decoded, as far as that can be told without decoding."""
    syntax = dataset.file_meta.TransferSyntaxUID
    if _decoder(syntax) is None:
        return Reason.UNSUPPORTED_SYNTAX
    rows, columns = int(dataset.Rows), int(dataset.Columns)
    if rows * columns > MAX_PIXELS:
        return Reason.TOO_LARGE
    if not syntax.is_encapsulated:
        content = next(dataset[name].value for name in PIXEL_ELEMENTS if name in dataset)
        return Reason.TRUNCATED if len(content) < get_expected_length(dataset) else None
    stream = get_frame(dataset.PixelData, frame, number_of_frames=num_frames(dataset))
    coded = _coded_size(stream, syntax)
    if coded is not None and coded[0] * coded[1] > MAX_PIXELS:
        return Reason.TOO_LARGE
    if coded is not None and coded != (rows, columns):
        return Reason.UNDECODABLE
    # libjpeg would fill what is missing with grey and report success.
    if syntax in (*JPEGTransferSyntaxes, *JPEGLSTransferSyntaxes):
        return None if END_OF_IMAGE in stream[-MAX_TRAILER:] else Reason.TRUNCATED
    return None


def decode(dataset: Dataset, frame: int) -> Stored:
    """Decode one frame as pydicom does, colours to RGB.

    Raises:
        Exception: whatever the codec thinks of a broken stream.
    """
    syntax = dataset.file_meta.TransferSyntaxUID
    decoder = _decoder(syntax)
    assert decoder is not None
    plugin = _fastest(syntax, grey=dataset.SamplesPerPixel == 1, plugins=decoder.available_plugins)
    try:
        values, meaning = decoder.as_array(dataset, index=frame, decoding_plugin=plugin)
    except BaseException as error:
        if type(error).__name__ == RUST_PANIC:
            raise ValueError("the decoder gave up") from None
        raise
    photometric, bits = str(meaning["photometric_interpretation"]), int(meaning.get("bits_stored", 0))
    values = np.ascontiguousarray(values, values.dtype.newbyteorder("="))
    if photometric == "PALETTE COLOR":
        values = apply_color_lut(values, dataset)
        return Stored(values[..., :3], "RGB", values.dtype.itemsize * 8)
    return Stored(values, photometric, bits or values.dtype.itemsize * 8)


def padding(dataset: Dataset, stored: Stored) -> npt.NDArray[np.bool_] | None:
    """Find the pixels that were never an image, (H, W); None where the file declares no padding.

    Source: DICOM PS3.3 C.7.5.1.1.2.
    """
    keyword = {"f": "FloatPixelPadding"}.get(stored.values.dtype.kind, "PixelPadding")
    keyword = "DoubleFloatPixelPadding" if stored.values.dtype.itemsize == 8 else keyword
    first, last = (_padding_end(dataset, f"{keyword}{end}", stored) for end in ("Value", "RangeLimit"))
    if first is None or stored.values.ndim != 2:
        return None
    last = first if last is None else last
    if first == last:
        return np.asarray(stored.values == first)
    return np.asarray((stored.values >= min(first, last)) & (stored.values <= max(first, last)))


def _padding_end(dataset: Dataset, keyword: str, stored: Stored) -> float | None:
    text = text_of(dataset, keyword)
    if not text:
        return None
    value = float(text)
    # Some machines write the value of signed pixels as if they were unsigned.
    dtype = stored.values.dtype
    range_of_type = 2.0 ** (8 * dtype.itemsize)
    return value - range_of_type if dtype.kind == "i" and value >= range_of_type / 2 else value


def _decoder(syntax: UID) -> Decoder | None:
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError:
        return None
    return decoder if decoder.is_available else None


def _fastest(syntax: UID, *, grey: bool, plugins: tuple[str, ...]) -> str:
    """Name the plugin to decode with, "" for pydicom's own choice.

    For 256 x 256 pixels: Pillow 0.5 ms against 1.7 ms of pylibjpeg, pyjpegls 1.7 ms against 8.6 ms.
    """
    if syntax == JPEGBaseline8Bit and grey and "pillow" in plugins:
        return "pillow"
    if syntax in JPEGLSTransferSyntaxes and "pyjpegls" in plugins:
        return "pyjpegls"
    return ""


def _coded_size(stream: bytes, syntax: UID) -> tuple[int, int] | None:
    """Rows and columns that a compressed stream itself declares, None where it declares none."""
    if syntax in JPEG2000TransferSyntaxes:
        at = stream.find(SIZE_OF_J2K)
        if at < 0 or len(stream) < at + 24:
            return None
        right, lower, left, upper = (
            int.from_bytes(stream[at + place : at + place + 4]) for place in (8, 12, 16, 20)
        )
        return lower - upper, right - left
    if syntax not in (*JPEGTransferSyntaxes, *JPEGLSTransferSyntaxes):
        return None
    at = 2
    while at + 9 <= len(stream) and stream[at] == 0xFF:
        if stream[at + 1] in START_OF_FRAME:
            return int.from_bytes(stream[at + 5 : at + 7]), int.from_bytes(stream[at + 7 : at + 9])
        at += 1 if stream[at + 1] == 0xFF else 2 + int.from_bytes(stream[at + 2 : at + 4])
    return None

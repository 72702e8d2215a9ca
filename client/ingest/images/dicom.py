"""One DICOM file: who and what it shows, and its pixels as small grey squares.

Nothing here raises for a bad file: the answer is then a `Reason`. Only `MemoryError` goes on, to the worker
process. pydicom's warnings quote header values, so they are silenced.
"""

from __future__ import annotations

import warnings
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.encaps import get_frame
from pydicom.errors import InvalidDicomError
from pydicom.multival import MultiValue
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.processing import apply_color_lut
from pydicom.pixels.utils import get_expected_length
from pydicom.uid import JPEGLSTransferSyntaxes, JPEGTransferSyntaxes

from client.ingest.images.header import RADIOGRAPHS, Header, header_of, text_of
from client.ingest.images.picture import Picture, frame_numbers
from client.ingest.rejected import Reason
from common.imaging.geometry import fitted_shape, square_resize
from common.imaging.intensity import (
    CT_WINDOWS,
    Grey,
    Values,
    WindowFunction,
    invert,
    is_window,
    look_up,
    luminance,
    percentile_window,
    quantise,
    stretch,
    window,
)
from common.imaging.marks import Marks, WindowSource
from common.imaging.preparation import Preparation, WindowName

MAX_PIXELS = 1 << 27
"""Per frame; the largest mammograms have about 2^25."""

END_OF_IMAGE = b"\xff\xd9"
"""Marker with which a JPEG stream ends. Source: ITU-T T.81, table B.1; T.87 for JPEG-LS."""
MAX_TRAILER = 64
"""Bytes within which the marker is looked for: encoders pad."""


def read_images(path: Path, preparation: Preparation) -> Picture | Reason:
    """Read one file and prepare its frames, or say why not."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # Hostile and broken files make pydicom and the codecs raise almost anything.
        try:
            dataset = dcmread(path)
        except MemoryError:
            raise
        except (InvalidDicomError, IsADirectoryError):
            return Reason.NOT_DICOM
        except OSError as error:  # without a number it is pydicom's own: the file ends inside a sequence
            return Reason.UNREADABLE if error.errno else Reason.TRUNCATED
        except (EOFError, zlib.error):
            return Reason.TRUNCATED
        except Exception:
            return Reason.MALFORMED
        try:
            header = header_of(dataset)
        except Exception:
            return Reason.MALFORMED
        if isinstance(header, Reason):
            return header
        return _decode(dataset, header, preparation)


def _decode(dataset: Dataset, header: Header, preparation: Preparation) -> Picture | Reason:
    try:
        if not _has_decoder(dataset):
            return Reason.UNSUPPORTED_SYNTAX
        if int(dataset.Rows) * int(dataset.Columns) > MAX_PIXELS:
            return Reason.TOO_LARGE
        numbers = frame_numbers(_num_frames(dataset), preparation.frames, key=_representative_frame(dataset))
        if any(_is_cut(dataset, frame) for frame in numbers):
            return Reason.TRUNCATED
        shown = [
            render(dataset, modality=header.modality, frame=frame, ct_windows=preparation.ct_windows)
            for frame in numbers
        ]
        if not all(np.isfinite(grey).all() for one in shown for grey in one.channels):
            return Reason.UNDECODABLE
        frames = np.stack([_squares(one, preparation) for one in shown])
        return Picture(header, frames, numbers, _marks(dataset, shown[0], preparation))
    except MemoryError:
        raise
    except Exception:
        return Reason.UNDECODABLE


def _squares(shown: Shown, preparation: Preparation) -> npt.NDArray[np.uint8]:
    """(C, S, S)."""
    squares = [quantise(square_resize(grey, preparation.image_size)) for grey in shown.channels]
    return np.stack(squares if len(squares) == preparation.channels else squares * preparation.channels)


def _marks(dataset: Dataset, shown: Shown, preparation: Preparation) -> Marks:
    size = preparation.image_size
    rows, columns = fitted_shape(shown.channels[0].shape, size)
    return Marks(
        source_rows=int(dataset.Rows),
        source_columns=int(dataset.Columns),
        source_frames=_num_frames(dataset),
        window=shown.window,
        orientation="unknown",
        turned=False,
        burned_in="none",
        inverted_suspect=False,
        padding_share=1 - rows * columns / size**2,
    )


def _representative_frame(dataset: Dataset) -> int | None:
    number = dataset.get("RepresentativeFrameNumber")
    return None if number is None else int(number) - 1


def _is_cut(dataset: Dataset, frame: int) -> bool:
    """Tell whether pixels are missing; libjpeg would fill them with grey and report success."""
    if "PixelData" not in dataset:
        return False
    syntax = dataset.file_meta.TransferSyntaxUID
    if not syntax.is_encapsulated:
        return len(dataset.PixelData) < get_expected_length(dataset)
    if syntax not in (*JPEGTransferSyntaxes, *JPEGLSTransferSyntaxes):
        return False
    stream = get_frame(dataset.PixelData, frame, number_of_frames=_num_frames(dataset))
    return END_OF_IMAGE not in stream[-MAX_TRAILER:]


def _num_frames(dataset: Dataset) -> int:
    return max(1, int(dataset.get("NumberOfFrames") or 1))


def _has_decoder(dataset: Dataset) -> bool:
    try:
        return get_decoder(dataset.file_meta.TransferSyntaxUID).is_available
    except NotImplementedError:
        return False


@dataclass(frozen=True)
class Shown:
    """A frame as grey values."""

    channels: tuple[Grey, ...]
    """One (H, W) picture, or one for each CT window of the preparation."""
    window: WindowSource


def render(
    dataset: Dataset, *, modality: str, frame: int = 0, ct_windows: Sequence[WindowName] = ()
) -> Shown:
    """Show a frame as a radiologist would see it first: (H, W) in [0, 1].

    Modality LUT, then the windows asked for where it is CT in Hounsfield units, else the first VOI LUT or
    window of the file, then inversion of MONOCHROME1. Without a window: CT in Hounsfield units gets the
    soft-tissue window, other images of 8 bits their full range unless they are radiographs, everything else
    the percentiles 0.5 to 99.5.
    """
    decoder = get_decoder(dataset.file_meta.TransferSyntaxUID)
    values, meaning = decoder.as_array(dataset, index=frame)
    photometric = str(meaning["photometric_interpretation"])
    if photometric == "PALETTE COLOR":
        values = apply_color_lut(values, dataset)
        return Shown((luminance(values, white=float(np.iinfo(values.dtype).max)),), "colour")
    if values.ndim == 3:
        return Shown((luminance(values, white=float(2 ** int(meaning["bits_stored"]) - 1)),), "colour")
    shown = _windowed(dataset, values, frame, modality, ct_windows)
    if photometric == "MONOCHROME1":
        return replace(shown, channels=tuple(invert(grey) for grey in shown.channels))
    return shown


def _windowed(
    dataset: Dataset, stored: Values, frame: int, modality: str, ct_windows: Sequence[WindowName]
) -> Shown:
    values = _modality_values(dataset, stored, frame)
    hounsfield = modality == "CT" and values is not stored
    if hounsfield and ct_windows:
        return _preset(values, ct_windows)
    if dataset.get("VOILUTSequence"):
        table, first, white = _table(dataset.VOILUTSequence[0], dataset)
        return Shown((stretch(look_up(values, table=table, first=first), black=0, white=white),), "table")
    voi = _frame_item(dataset, frame, "FrameVOILUTSequence")
    center, width = _number(voi, "WindowCenter"), _number(voi, "WindowWidth")
    function = _window_function(voi)
    if center is not None and width is not None and is_window(width=width, function=function):
        return Shown((window(values, center=center, width=width, function=function),), "file")
    if hounsfield:
        return _preset(values, ["soft-tissue"])
    bits = int(dataset.get("BitsStored") or stored.dtype.itemsize * 8)
    if bits <= 8 and modality not in RADIOGRAPHS and values is stored:
        black = -(2 ** (bits - 1)) if dataset.get("PixelRepresentation") else 0
        return Shown((stretch(values, black=black, white=black + 2**bits - 1),), "full-range")
    return Shown((percentile_window(values),), "percentiles")


def _preset(values: Values, names: Sequence[WindowName]) -> Shown:
    spans = [CT_WINDOWS[name] for name in names]
    return Shown(tuple(window(values, center=center, width=width) for center, width in spans), "preset")


def _modality_values(dataset: Dataset, stored: Values, frame: int) -> Values:
    """Apply the modality LUT or the rescale; without either, the very same array comes back."""
    if dataset.get("ModalityLUTSequence"):
        table, first, _ = _table(dataset.ModalityLUTSequence[0], dataset)
        return look_up(stored, table=table, first=first)
    item = _frame_item(dataset, frame, "PixelValueTransformationSequence")
    slope, intercept = _number(item, "RescaleSlope"), _number(item, "RescaleIntercept")
    if slope is None or intercept is None:
        return stored
    return stored.astype(np.float32) * np.float32(slope) + np.float32(intercept)


def _frame_item(dataset: Dataset, frame: int, sequence: str) -> Dataset:
    """Find the item with this frame's attributes: its functional group, the shared one, or the data set."""
    per_frame = dataset.get("PerFrameFunctionalGroupsSequence") or []
    shared = dataset.get("SharedFunctionalGroupsSequence") or []
    for group in (*per_frame[frame : frame + 1], *shared[:1]):
        if group.get(sequence):
            item: Dataset = group[sequence][0]
            return item
    return dataset


def _number(item: Dataset, keyword: str) -> float | None:
    value = item.get(keyword)
    if isinstance(value, MultiValue):
        value = value[0] if value else None
    return None if value is None or not np.isfinite(float(value)) else float(value)


def _window_function(item: Dataset) -> WindowFunction:
    name = text_of(item, "VOILUTFunction")
    return "SIGMOID" if name == "SIGMOID" else "LINEAR_EXACT" if name == "LINEAR_EXACT" else "LINEAR"


def _table(item: Dataset, dataset: Dataset) -> tuple[Values, int, float]:
    """Entries of a LUT, the pixel value of its first entry, and the value that is white.

    Source: DICOM PS3.3 C.11.1.1.1 and C.11.2.1.1 (entries of 8 bits may be packed in pairs).
    """
    entries, first, bits = (int(part) for part in item.LUTDescriptor)
    entries = entries or 1 << 16
    content = item.LUTData
    if isinstance(content, bytes):
        big = not dataset.file_meta.TransferSyntaxUID.is_little_endian
        packed = len(content) < 2 * entries
        content = np.frombuffer(content, "u1" if packed else ">u2" if big else "<u2")
    table = np.asarray(content, np.float32)[:entries]
    return table, first, float(2**bits - 1)

"""From stored values to the grey that a radiologist would see first.

Modality LUT, then the windows asked for where it is CT in Hounsfield units, else the first VOI LUT or window
of the file, then inversion. Source: DICOM PS3.3 C.11.1, C.11.2; overlays are no part of the picture.

Values of 8 or 16 bits go through one table of what each possible value becomes, so an image costs one
look-up whatever the steps are.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset

from client.ingest.images.elements import frame_item, number_of, text_of
from client.ingest.images.header import RADIOGRAPHS
from client.ingest.images.stored import Stored, padding
from common.imaging.intensity import (
    CT_WINDOWS,
    Grey,
    Values,
    WindowFunction,
    invert,
    is_window,
    look_up,
    luminance,
    percentile_ends,
    quantise,
    stretch,
    window,
)
from common.imaging.marks import WindowSource
from common.imaging.preparation import WindowName

Bytes = npt.NDArray[np.uint8]
USUAL_CT_WINDOW: WindowName = "soft-tissue"
BAND = 1 << 17
"""Pixels that are looked up at a time."""
Display = Callable[[Values], Grey]
"""From values after the modality LUT to grey."""


@dataclass(frozen=True)
class Shown:
    """A frame as grey values, bone white and air black."""

    channels: tuple[Bytes, ...]
    """One (H, W) picture, or one for each CT window of the preparation."""
    window: WindowSource
    padding_share: float
    """Share of the frame that the file calls padding; it is shown black."""


def render(
    dataset: Dataset,
    stored: Stored,
    *,
    modality: str,
    frame: int = 0,
    ct_windows: Sequence[WindowName] = (),
) -> Shown:
    """Show a frame.

    Without a window: CT in Hounsfield units gets the soft-tissue window, other images of 8 bits their full
    range unless they are radiographs, everything else the percentiles 0.5 to 99.5 of what is no padding.

    Raises:
        ValueError: no pixel has a finite value.
    """
    if stored.values.ndim == 3:
        return Shown((luminance(stored.values, bits=stored.bits),), "colour", 0.0)
    outside = _outside(dataset, stored)
    modality_lut = _modality_lut(dataset, frame)
    source = window_source(dataset, bits=stored.bits, modality=modality, frame=frame, ct_windows=ct_windows)
    displays = _displays(source, dataset, stored, outside, modality_lut, frame, ct_windows)
    negative = source != "preset" and _is_negative(dataset, stored)
    channels = [_through(stored.values, modality_lut, display, negative) for display in displays]
    if outside is not None:
        for channel in channels:
            channel[outside] = 0
    return Shown(tuple(channels), source, 0.0 if outside is None else float(outside.mean()))


def window_source(
    dataset: Dataset, *, bits: int, modality: str, frame: int = 0, ct_windows: Sequence[WindowName] = ()
) -> WindowSource:
    """Tell from the header where the grey scale of a frame without colours comes from; see `render`."""
    in_units = _modality_lut(dataset, frame) is not None
    hounsfield = modality == "CT" and in_units
    if hounsfield and ct_windows:
        return "preset"
    if dataset.get("VOILUTSequence"):
        return "table"
    if _own_window(dataset, frame) is not None:
        return "file"
    if hounsfield:
        return "preset"
    return "full-range" if bits <= 8 and modality not in RADIOGRAPHS and not in_units else "percentiles"


def _outside(dataset: Dataset, stored: Stored) -> npt.NDArray[np.bool_] | None:
    outside = padding(dataset, stored)
    if stored.values.dtype.kind != "f":
        return outside
    finite = np.isfinite(stored.values)
    if not finite.any():
        raise ValueError("no pixel has a finite value")
    return ~finite if outside is None else outside | ~finite


def _is_negative(dataset: Dataset, stored: Stored) -> bool:
    """Tell whether the lowest value is to be shown white. Source: PS3.3 C.7.6.3.1.2 and C.11.6.1.2."""
    return stored.photometric == "MONOCHROME1" or text_of(dataset, "PresentationLUTShape") == "INVERSE"


def _through(values: Values, modality_lut: Display | None, display: Display, negative: bool) -> Bytes:
    def chain(some: Values) -> Bytes:
        grey = display(some if modality_lut is None else modality_lut(some))
        return quantise(invert(grey) if negative else grey)

    if values.dtype.kind == "f" or values.dtype.itemsize > 2:
        return chain(np.nan_to_num(values, nan=0, posinf=0, neginf=0) if values.dtype.kind == "f" else values)
    codes = values.view(f"u{values.dtype.itemsize}")
    possible = np.arange(int(codes.max()) + 1, dtype=codes.dtype).view(values.dtype)
    return _replaced(codes, chain(possible))


def _replaced(codes: npt.NDArray[np.unsignedinteger], table: Bytes) -> Bytes:
    """`table[codes]`, some rows at a time: numpy makes indices of 8 bytes, which are to fit into a cache."""
    replaced = np.empty(codes.shape, np.uint8)
    step = max(1, BAND // max(1, codes.shape[1]))
    for start in range(0, len(codes), step):
        band = slice(start, start + step)
        table.take(codes[band], out=replaced[band], mode="clip")
    return replaced


def _displays(
    source: WindowSource,
    dataset: Dataset,
    stored: Stored,
    outside: npt.NDArray[np.bool_] | None,
    modality_lut: Display | None,
    frame: int,
    ct_windows: Sequence[WindowName],
) -> list[Display]:
    if source == "preset":
        return [_preset(name) for name in ct_windows or (USUAL_CT_WINDOW,)]
    if source == "table":
        table, first, white = _table(dataset.VOILUTSequence[0], dataset)
        return [lambda some: stretch(look_up(some, table=table, first=first), black=0, white=white)]
    if source == "file" and (own := _own_window(dataset, frame)) is not None:
        return [own]
    if source == "full-range":
        lowest = -(2 ** (stored.bits - 1)) if stored.values.dtype.kind == "i" else 0
        return [lambda some: stretch(some, black=lowest, white=lowest + 2**stored.bits - 1)]
    sample = stored.values if outside is None or outside.all() else stored.values[~outside]
    black, white = percentile_ends(sample, modality_lut)
    return [lambda some: stretch(some, black=black, white=white)]


def _preset(name: WindowName) -> Display:
    center, width = CT_WINDOWS[name]
    return lambda some: window(some, center=center, width=width)


def _own_window(dataset: Dataset, frame: int) -> Display | None:
    """The first window of the file, if it is one."""
    voi = frame_item(dataset, frame, "FrameVOILUTSequence")
    center, width = number_of(voi, "WindowCenter"), number_of(voi, "WindowWidth")
    name = text_of(voi, "VOILUTFunction")
    function: WindowFunction = (
        "SIGMOID" if name == "SIGMOID" else "LINEAR_EXACT" if name == "LINEAR_EXACT" else "LINEAR"
    )
    if center is None or width is None or not is_window(width=width, function=function):
        return None
    return lambda some: window(some, center=center, width=width, function=function)


def _modality_lut(dataset: Dataset, frame: int) -> Display | None:
    """The modality LUT or the rescale; None without either."""
    if dataset.get("ModalityLUTSequence"):
        table, first, _ = _table(dataset.ModalityLUTSequence[0], dataset)
        return lambda some: np.asarray(look_up(some, table=table, first=first), np.float32)
    item = frame_item(dataset, frame, "PixelValueTransformationSequence")
    slope, intercept = number_of(item, "RescaleSlope"), number_of(item, "RescaleIntercept")
    if slope is None or intercept is None:
        return None
    return lambda some: some.astype(np.float32) * np.float32(slope) + np.float32(intercept)


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

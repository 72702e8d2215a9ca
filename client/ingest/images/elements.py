"""Elements of a data set as plain values, and where an enhanced file keeps those of one frame."""

import math

from pydicom.dataset import Dataset
from pydicom.multival import MultiValue


def text_of(item: Dataset, keyword: str) -> str:
    """Read an element as text without its padding; "" where it is absent."""
    value = item.get(keyword)
    if isinstance(value, MultiValue):
        value = "\\".join(str(part) for part in value)
    return str(value if value is not None else "").strip(" \t\r\n\0")


def numbers_of(item: Dataset, keyword: str) -> tuple[float, ...]:
    """Read an element as finite numbers; () where it is absent or one of them is none."""
    value = item.get(keyword)
    parts = value if isinstance(value, MultiValue) else () if value is None else (value,)
    try:
        numbers = tuple(float(part) for part in parts)
    except (TypeError, ValueError):
        return ()
    return numbers if all(math.isfinite(number) for number in numbers) else ()


def number_of(item: Dataset, keyword: str) -> float | None:
    """Read the first number of an element; None where it is absent."""
    numbers = numbers_of(item, keyword)
    return numbers[0] if numbers else None


def num_frames(dataset: Dataset) -> int:
    """Frames that the file declares; 1 where it declares none."""
    return max(1, int(dataset.get("NumberOfFrames") or 1))


def frame_item(dataset: Dataset, frame: int, sequence: str) -> Dataset:
    """Find the item with a frame's attributes: its functional group, the shared one, or the data set.

    Source: DICOM PS3.3 C.7.6.16.
    """
    per_frame = dataset.get("PerFrameFunctionalGroupsSequence") or []
    shared = dataset.get("SharedFunctionalGroupsSequence") or []
    for group in (*per_frame[frame : frame + 1], *shared[:1]):
        if group.get(sequence):
            item: Dataset = group[sequence][0]
            return item
    return dataset

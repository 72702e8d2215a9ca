"""Radiographs that seem to stand on their head, lie on their side or show black for white.

A radiograph is set beside the mean of its own kind (modality and view) in this store, as it is and as it
would be turned or inverted; if it fits clearly better in another way, a person should look. The mean itself
is set beside a drawn chest, because a hospital whose images all came in inverted has an inverted mean. To
mirror left to right changes a chest too little to be told so, and is not looked for.

Measured on the real radiographs of three hospitals (147, 136 and 637, at 128 pixels), one in twenty of them
changed: 99 to 100 % of the inverted, 80 to 90 % of the upside-down and 67 to 90 % of those on their side are
found, with no to three false alarms a store. When all were changed alike, half to all are found.

Shapes: N images, W numbers of a fingerprint.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from client.ingest.quality.fingerprints import Prints, fingerprints, inverted, turned

RADIOGRAPHS = frozenset({"CR", "DX", "RG"})
"""DICOM modalities whose images are all taken alike; a slice of CT or MR may have any plane."""
FRONTAL = frozenset({"PA", "AP", ""})
"""View positions that may be set beside the drawn chest; "" because many archives leave it out."""
FEWEST = 12
"""Radiographs of a kind from which on their mean is the measure; fewer are set beside the drawn chest."""
ALIKE = 0.35
"""Mean cosine of a kind with its own mean from which on it is one kind of image."""
CHEST = 0.4
"""Least cosine of a mean, however turned, with the drawn chest to be a chest."""
CLEARLY = 0.25
"""By how much the cosine must be better in the other way."""
FITS = 0.25
"""Least cosine in the other way."""


class Position(StrEnum):
    """How an image seems to be."""

    INVERTED = "inverted"
    UPSIDE_DOWN = "upside down"
    LEFT = "turned by 90° to the left"
    RIGHT = "turned by 90° to the right"


def suspects_of(prints: Prints, kinds: Sequence[tuple[str, str]]) -> dict[int, Position]:
    """Image -> how it seems to be, of those that do not seem upright.

    Args:
        prints: (N, W) fingerprints; zeros for blank images, which are never suspects.
        kinds: (N,) modality and view of each.
    """
    found: dict[int, Position] = {}
    for kind, places in _radiographs(kinds).items():
        measure = _measure(prints[places], frontal=kind[1] in FRONTAL)
        if measure is not None:
            found |= {int(places[at]): position for at, position in _misfits(prints[places], measure).items()}
    return dict(sorted(found.items()))


def _radiographs(kinds: Sequence[tuple[str, str]]) -> Mapping[tuple[str, str], npt.NDArray[np.int64]]:
    numbers: dict[tuple[str, str], list[int]] = {}
    for number, kind in enumerate(kinds):
        if kind[0] in RADIOGRAPHS:
            numbers.setdefault(kind, []).append(number)
    return {kind: np.array(places, np.int64) for kind, places in numbers.items()}


def _measure(prints: Prints, *, frontal: bool) -> Prints | None:
    """(1, W) what these images should look like; None where nobody can tell."""
    chest = drawn_chest()
    if len(prints) < FEWEST:
        return chest if frontal else None
    mean = _mean(prints)
    if float((prints @ mean.T).mean()) < ALIKE:
        return None
    mean = _mean(np.delete(prints, list(_misfits(prints, mean)), axis=0))
    if not frontal:
        return mean
    likeness = {way: float((put @ chest.T).item()) for way, put in _ways(mean).items()}
    best = max(likeness, key=lambda way: likeness[way])
    turned_chest = likeness[best] >= CHEST and likeness[best] - float((mean @ chest.T).item()) >= CLEARLY
    return _ways(mean)[best] if turned_chest else mean


def _mean(prints: Prints) -> Prints:
    mean = prints.mean(axis=0, keepdims=True)
    return np.asarray(mean / max(float(np.linalg.norm(mean)), 1e-6), np.float32)


def _misfits(prints: Prints, measure: Prints) -> dict[int, Position]:
    upright = (prints @ measure.T)[:, 0]
    ways = _ways(prints)
    fits = np.stack([(way @ measure.T)[:, 0] for way in ways.values()])
    best = fits.argmax(axis=0)
    reached = fits.max(axis=0)
    suspect = (reached - upright >= CLEARLY) & (reached >= FITS)
    names = list(ways)
    return {int(at): names[best[at]] for at in np.flatnonzero(suspect)}


def _ways(prints: Prints) -> dict[Position, Prints]:
    """The fingerprints put upright, if the images were what the key says."""
    return {
        Position.INVERTED: inverted(prints),
        Position.UPSIDE_DOWN: turned(prints, quarters=2),
        Position.LEFT: turned(prints, quarters=3),
        Position.RIGHT: turned(prints, quarters=1),
    }


def drawn_chest(size: int = 64) -> Prints:
    """(1, W) fingerprint of a chest as a child would draw it: dark lungs around a bright middle."""
    down, across = (np.mgrid[0:size, 0:size] + 0.5) / size
    picture = np.full((size, size), 110, np.float64)
    picture[(down < 0.25) & (np.abs(across - 0.5) > 0.2 + down)] = 20
    for middle in (0.3, 0.7):
        picture[((across - middle) / 0.16) ** 2 + ((down - 0.45) / 0.32) ** 2 < 1] = 45
    picture[(np.abs(across - 0.5) < 0.09) | (down > 0.8)] = 190
    picture[((across - 0.55) / 0.16) ** 2 + ((down - 0.62) / 0.15) ** 2 < 1] = 190
    return fingerprints(picture.astype(np.uint8)[None])

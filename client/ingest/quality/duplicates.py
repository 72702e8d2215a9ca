"""Images that a store holds more than once: the same pixels, or the same picture exported another way.

Two pictures are the same if their fingerprints point the same way. Copies of radiographs that were compressed
(JPEG, quality 50), shrunk by a quarter and enlarged again, brightened, or given another gamma (0.8) keep a
cosine above 0.99; of the radiographs of different patients one pair in a thousand reaches 0.94.

Shapes: N images.
"""

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from client.ingest.quality.fingerprints import CHUNK, RADIUS, Pairs, Prints, hashes, near_pairs
from common.store import Images

SAME_PICTURE = 0.99
"""Least cosine of the fingerprints of one picture."""

Labels = npt.NDArray[np.int64]
"""(N,) images with the same label belong together."""


@dataclass(frozen=True)
class Twins:
    """Which images are one."""

    same: Labels
    """Pixel by pixel."""
    alike: Labels
    """The same picture; never finer than `same`."""


def twins(images: Images, prints: Prints, blank: npt.NDArray[np.bool_]) -> Twins:
    """Label the images; those in `blank` show nothing, so that none is like another."""
    same = _equal_pixels(images)
    same[blank] = len(images) + np.flatnonzero(blank)
    _, same = np.unique(same, return_inverse=True)
    first, same = _first_of(same)
    pairs = first[near_pairs(hashes(prints[first]), radius=RADIUS)].reshape(-1, 2)
    pairs = pairs[~blank[pairs].any(axis=1)]
    return Twins(same, joined(same, same[pairs[_one_picture(prints, pairs)]]))


def _equal_pixels(images: Images) -> Labels:
    digests = [hashlib.blake2b(image, digest_size=16).digest() for image in images]
    numbers: dict[bytes, int] = {}
    return np.array([numbers.setdefault(digest, len(numbers)) for digest in digests], np.int64)


def _first_of(labels: Labels) -> tuple[npt.NDArray[np.int64], Labels]:
    """The first image of each label, and the labels numbered in that order."""
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    order = np.argsort(first)
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    return first[order], place[inverse]


def _one_picture(prints: Prints, pairs: Pairs) -> npt.NDArray[np.bool_]:
    """(P,) whether the fingerprints of a pair point the same way."""
    alike = np.empty(len(pairs), bool)
    for start in range(0, len(pairs), CHUNK):
        one, other = prints[pairs[start : start + CHUNK].T]
        alike[start : start + CHUNK] = np.einsum("pw,pw->p", one, other) >= SAME_PICTURE
    return alike


def joined(labels: Labels, links: Pairs) -> Labels:
    """Give one label, the smallest, to all that are linked, directly or through others.

    Args:
        labels: (N,) from 0 on.
        links: (P, 2) pairs of labels.
    """
    name = np.arange(labels.max(initial=-1) + 1)
    while True:
        least = np.minimum(name[links[:, 0]], name[links[:, 1]])
        before = name.copy()
        np.minimum.at(name, links[:, 0], least)
        np.minimum.at(name, links[:, 1], least)
        name = name[name]
        if (name == before).all():
            return name[labels]


def surplus(labels: Labels, owners: npt.NDArray[np.int64]) -> tuple[int, int]:
    """Images beyond the first of each label: of the same owner, and of another.

    Args:
        labels: (N,).
        owners: (N,) number of the patient of each image.
    """
    distinct = len(np.unique(np.stack([labels, owners]), axis=1).T)
    return len(labels) - distinct, distinct - len(np.unique(labels))


def leaked(labels: Labels, trained: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """(N,) held-out images of which training sees a twin.

    Args:
        labels: (N,).
        trained: (N,) whether an image is trained on.
    """
    return ~trained & np.isin(labels, labels[trained])


def pairs_across(labels: Labels, owners: npt.NDArray[np.int64]) -> Pairs:
    """One pair a label that several owners share: its first image, and its first of another owner."""
    first, numbered = _first_of(labels)
    other = np.flatnonzero(owners != owners[first][numbered])
    _, at = np.unique(numbered[other], return_index=True)
    return np.stack([first[numbered[other[at]]], other[at]], axis=1).reshape(-1, 2)

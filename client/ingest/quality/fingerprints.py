"""Perceptual fingerprints of images: what is left when brightness, contrast and fine detail are gone.

A fingerprint is the low end of an image's cosine transform. Its signs are a hash that finds look-alikes among
many, its direction tells whether two look-alikes are one picture, and to mirror, turn or invert the image is
to change signs or to transpose.

Shapes: N images of S by S pixels, K frequencies each way, W = K * K - 1 numbers of a fingerprint.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from common.store import Images

FREQUENCIES = 16
"""K; 8 cycles across the image, far above the noise of compression at 64 pixels."""
HASHED = 8
"""The hash takes the signs of the lowest so many frequencies each way."""
BITS = 64
BANDS = 4
"""Words of 16 bits; two hashes that differ in fewer than 2 * BANDS bits agree in one word up to one bit."""
RADIUS = 2 * BANDS - 1
"""Bits within which every pair is found."""
MOST_IN_BUCKET = 64
"""Images set beside each one of a bucket. Longer buckets are runs of one scene, and neighbours link them."""
FLATTEST = 0.01
"""Contrast of these frequencies, in grey values, below which an image is of one grey."""
CHUNK = 2048

Prints = npt.NDArray[np.float32]
"""(N, W) unit rows; zeros for an image of one grey."""
Hashes = npt.NDArray[np.uint64]
"""(N,)"""
Pairs = npt.NDArray[np.int64]
"""(P, 2) row numbers, the smaller first, each pair once, in ascending order."""


def fingerprints(images: Images) -> Prints:
    """The lowest frequencies of each image without its mean, as a unit vector.

    Brightness and contrast leave it as it is. Source: Zauner 2010, "Implementation and benchmarking of
    perceptual image hash functions" (the DCT hash), with real numbers kept beside their signs.

    Args:
        images: (N, S, S) uint8, S from 16 on.
    """
    basis = _cosines(FREQUENCIES, images.shape[-1])
    prints = np.empty((len(images), FREQUENCIES * FREQUENCIES - 1), np.float32)
    for start in range(0, len(images), CHUNK):
        piece = np.asarray(images[start : start + CHUNK], np.float32)
        spectrum = np.matmul(np.matmul(basis, piece), basis.T)
        prints[start : start + CHUNK] = spectrum.reshape(len(piece), -1)[:, 1:]
    length = np.linalg.norm(prints, axis=1, keepdims=True)
    prints /= np.where(length > FLATTEST * images.shape[-1], length, np.inf)
    return prints


def _cosines(frequencies: int, size: int) -> npt.NDArray[np.float32]:
    """(frequencies, size) rows of the orthonormal DCT-II."""
    angle = np.pi / size * (np.arange(size) + 0.5)
    rows = np.cos(np.outer(np.arange(frequencies), angle)) * np.sqrt(2 / size)
    rows[0] /= np.sqrt(2)
    return np.asarray(rows, np.float32)


def inverted(prints: Prints) -> Prints:
    """The fingerprints of the negatives."""
    return -prints


def turned(prints: Prints, *, quarters: int) -> Prints:
    """The fingerprints of the images turned counter-clockwise by `quarters` of a circle."""
    for _ in range(quarters % 4):
        prints = upside_down(transposed(prints))
    return prints


def upside_down(prints: Prints) -> Prints:
    """The fingerprints of the images mirrored top to bottom."""
    spectrum = _spectrum(prints)
    spectrum[:, 1::2] *= -1
    return _flat(spectrum)


def transposed(prints: Prints) -> Prints:
    """The fingerprints of the images with rows and columns swapped."""
    return _flat(_spectrum(prints).transpose(0, 2, 1))


def _spectrum(prints: Prints) -> npt.NDArray[np.float32]:
    whole = np.concatenate([np.zeros((len(prints), 1), np.float32), prints], axis=1)
    return whole.reshape(len(prints), FREQUENCIES, FREQUENCIES)


def _flat(spectrum: npt.NDArray[np.float32]) -> Prints:
    return np.ascontiguousarray(spectrum).reshape(len(spectrum), -1)[:, 1:]


def hashes(prints: Prints) -> Hashes:
    """64 bits an image: the signs of the lowest frequencies, those of each band spread over all of them."""
    low = _spectrum(prints)[:, :HASHED, :HASHED].reshape(len(prints), BITS).copy()
    low[:, 0] = prints[:, HASHED]  # in place of the mean, the first frequency beyond the square
    spread = low.reshape(-1, BITS // BANDS, BANDS).transpose(0, 2, 1).reshape(-1, BITS)
    return np.packbits(spread > 0, axis=1).view(">u8").ravel().astype(np.uint64)


def distance(one: Hashes, other: Hashes) -> npt.NDArray[np.int64]:
    """Number of bits in which two hashes differ, elementwise."""
    return np.asarray(np.bitwise_count(one ^ other), np.int64)


def near_pairs(found: Hashes, *, radius: int) -> Pairs:
    """Every pair of rows whose hashes differ in at most `radius` bits; see `MOST_IN_BUCKET`.

    Source: Norouzi, Punjani and Fleet 2012, "Fast search in Hamming space with multi-index hashing": if two
    hashes differ in fewer than 2 * BANDS bits, some band differs in at most one.

    Args:
        found: (N,) hashes.
        radius: up to RADIUS.
    """
    assert radius <= RADIUS
    pieces = [pair[distance(found[pair[:, 0]], found[pair[:, 1]]) <= radius] for pair in _candidates(found)]
    return np.unique(np.concatenate(pieces), axis=0) if pieces else np.empty((0, 2), np.int64)


def _candidates(found: Hashes) -> Iterator[Pairs]:
    """Pairs that agree in a band up to one bit."""
    width = BITS // BANDS
    for band in range(BANDS):
        words = (found >> np.uint64(band * width)) & np.uint64((1 << width) - 1)
        order = np.argsort(words, kind="stable")
        ranked = words[order]
        for flip in (0, *(1 << bit for bit in range(width))):
            wanted = words ^ np.uint64(flip)
            first = np.searchsorted(ranked, wanted, side="left")
            last = np.searchsorted(ranked, wanted, side="right")
            if flip == 0:  # of one bucket, those that follow: each pair once
                first = np.empty(len(found), np.int64)
                first[order] = np.arange(1, len(found) + 1)
            counts = np.minimum(last - first, MOST_IN_BUCKET)
            left = np.repeat(np.arange(len(found)), counts)
            starts = np.repeat(first - np.concatenate([[0], np.cumsum(counts)[:-1]]), counts)
            right = order[starts + np.arange(len(left))]
            pairs = np.stack([np.minimum(left, right), np.maximum(left, right)], axis=1)
            yield pairs

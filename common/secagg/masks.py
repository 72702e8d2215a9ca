"""Masks: keystreams added to words and taken off again, in place, in memory that does not grow.

A mask that one site adds and another subtracts is gone from their sum. Sums are modulo the width of the word;
24-bit words are masked in 32 bits, of which 2^24 is a divisor.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from common.keystream import PIECE, STRETCH_BYTES, Keystream, Scratch
from common.update import Planes

Numbers = npt.NDArray[np.unsignedinteger]


@dataclass(frozen=True)
class MaskKeys:
    """Keys whose streams are added, and keys whose streams are subtracted; 32 bytes each."""

    plus: tuple[bytes, ...]
    minus: tuple[bytes, ...]

    def batches(self) -> Iterator["MaskKeys"]:
        """At most OPEN_STREAMS of either at a time."""
        for first in range(0, max(len(self.plus), len(self.minus)), OPEN_STREAMS):
            batch = slice(first, first + OPEN_STREAMS)
            yield MaskKeys(self.plus[batch], self.minus[batch])


OPEN_STREAMS = 32
"""Ciphers that are open at once; more masks take another pass."""


def mask_planes(planes: Planes, keys: MaskKeys, *, threads: int = 1) -> None:
    """Mask packed words, in place."""
    dtype = np.uint16 if planes.high is None else np.uint32
    _run(planes.add_words, len(planes), np.dtype(dtype), keys, threads)


def mask_numbers(numbers: Numbers, keys: MaskKeys, *, threads: int = 1) -> None:
    """Mask numbers of one array, such as lanes, in place."""

    def add(part: slice, pad: Numbers) -> None:
        numbers[part] += pad

    _run(add, len(numbers), numbers.dtype, keys, threads)


class _Streams:
    """Open keystreams that run in step from word `begin`, where a stretch begins."""

    def __init__(self, keys: MaskKeys, dtype: npt.DTypeLike, begin: int) -> None:
        stretch = begin * np.dtype(dtype).itemsize // STRETCH_BYTES
        self._dtype = dtype
        self._plus = [Keystream(key, dtype, stretch=stretch) for key in keys.plus]
        self._minus = [Keystream(key, dtype, stretch=stretch) for key in keys.minus]
        self._pad, self._scratch = Scratch(), Scratch()

    def pad(self, words: int) -> Numbers:
        """What all streams add up to in the next `words` words; it is gone at the next call."""
        plus = self._plus
        pad = plus[0].next(words, self._pad) if plus else np.zeros(words, self._dtype)
        for stream in plus[1:]:
            np.add(pad, stream.next(words, self._scratch), out=pad)
        for stream in self._minus:
            np.subtract(pad, stream.next(words, self._scratch), out=pad)
        return pad


def _run(
    add: Callable[[slice, Numbers], None], words: int, dtype: np.dtype[Any], keys: MaskKeys, threads: int
) -> None:
    """Add all streams, piece by piece; each thread takes its share of the words, in whole stretches."""

    def work(begin: int, end: int, keys: MaskKeys) -> None:
        streams = _Streams(keys, dtype, begin)
        for start in range(begin, end, PIECE):
            part = slice(start, min(start + PIECE, end))
            add(part, streams.pad(part.stop - part.start))

    stretch = STRETCH_BYTES // dtype.itemsize
    share = stretch * -(-words // (stretch * threads))
    spans = [(begin, min(begin + share, words)) for begin in range(0, words, share or 1)]
    for batch in keys.batches():
        if len(spans) == 1:
            work(*spans[0], batch)
            continue
        with ThreadPoolExecutor(threads) as pool:
            for done in [pool.submit(work, *span, batch) for span in spans]:
                done.result()

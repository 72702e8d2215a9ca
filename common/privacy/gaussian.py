"""The discrete Gaussian, sampled exactly from uniform bits, a vector at a time.

Source: Canonne, Kamath and Steinke 2020, arXiv:2004.00010, algorithms 2 and 3, with both rejections in one. A
proposal is y = U + tV with U uniform below t and P(V >= v) = exp(-v); it is kept with probability
exp(-(U/t + (y - s^2/t)^2 / 2s^2)), and then P(y) is in proportion to exp(-y^2 / 2s^2). Floating point decides
only where its error cannot matter: within 2^-40 of a boundary, exact arithmetic with more bits does.
Shapes: n samples.
"""

import decimal
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from common.privacy.entropy import Bits, Words

Integers = npt.NDArray[np.int64]

CHUNK = 1 << 15
"""Proposals worked on at a time; what is made of them stays in a core's cache."""
DOUBT = 2.0**-40
"""Bound on the error of a probability computed in float64; errors are below 2^-44."""
LONGEST = 44
"""exp(-44) 2^64 is above 1, exp(-45) 2^64 below: longer runs are found exactly."""


def sample_discrete_gaussian(bits: Bits, scale: int, count: int, *, doubt: float = DOUBT) -> Integers:
    """(n,) independent samples with P(y) in proportion to exp(-y^2 / 2 scale^2).

    Args:
        bits: where the randomness comes from.
        scale: >= 1; the standard deviation, but for the smallest scales, where it is a little less.
        count: n.
        doubt: decisions closer to a boundary are taken by exact arithmetic; more is slower, never different.
    """
    assert 1 <= scale < 2**40
    samples = np.empty(count, dtype=np.int64)
    filled = 0
    while filled < count:
        wanted = min(CHUNK, 16 + int(2.2 * (count - filled)))
        kept = _kept(bits, scale, wanted, doubt)[: count - filled]
        samples[filled : filled + len(kept)] = kept
        filled += len(kept)
    return samples


def _kept(bits: Bits, scale: int, proposals: int, doubt: float) -> Integers:
    """What is left of so many proposals."""
    shift = (scale - 1).bit_length()  # t = 2^shift, from the scale to twice it, makes U a mask of bits
    width = 1 << shift
    runs = _geometric(bits, bits.words(proposals))
    word = bits.words(proposals)
    offset = (word & np.uint64(width - 1)).astype(np.int64)
    negative = (word >> np.uint64(63)).astype(bool)
    y = offset + width * runs
    exponent = offset / width + ((y - scale**2 / width) / scale) ** 2 / 2
    word = bits.words(proposals)
    distance = word * 2.0**-64 - np.exp(-exponent)
    keep = distance < 0
    for place in np.flatnonzero(np.abs(distance) <= doubt):
        exact = Fraction(int(offset[place]), width)
        exact += (int(y[place]) - Fraction(scale**2, width)) ** 2 / (2 * scale**2)
        keep[place] = _Lazy(bits, int(word[place])).below_exp(exact)
    keep &= ~(negative & (y == 0))  # zero would be drawn twice
    return np.where(negative, -y, y)[keep]


def _geometric(bits: Bits, words: Words) -> Integers:
    """The number V of times that exp(-1) is survived: V >= v exactly when U < exp(-v), for one uniform U."""
    above = np.searchsorted(_THRESHOLDS, words, side="left")
    runs = (LONGEST - above).astype(np.int64)
    border = _THRESHOLDS[np.minimum(above, LONGEST - 1)]
    for place in np.flatnonzero((words == border) | (words <= _THRESHOLDS[0])):
        uniform, run = _Lazy(bits, int(words[place])), 0
        while uniform.below_exp(Fraction(run + 1)):
            run += 1
        runs[place] = run
    return runs


class _Lazy:
    """A uniform number in [0, 1), known to as many bits as a question needs."""

    def __init__(self, bits: Bits, word: int) -> None:
        self._bits, self._value, self._known = bits, word, 64

    def below_exp(self, exponent: Fraction) -> bool:
        """Whether it is below exp(-exponent)."""
        while True:
            with decimal.localcontext(prec=int(self._known * 0.302) + 20 + len(str(int(exponent)))):
                power = (-decimal.Decimal(exponent.numerator) / exponent.denominator).exp()
                low = Fraction(power) * 2**self._known  # off by less than 2^-known, with 20 digits to spare
            if self._value + 2 < low:
                return True
            if self._value > low + 1:
                return False
            self._value = self._value << 64 | int(self._bits.words(1)[0])
            self._known += 64


def _thresholds() -> Words:
    """(LONGEST,) floor(exp(-v) 2^64) for v = LONGEST..1, ascending."""
    with decimal.localcontext(prec=60):
        return np.array(
            [int(decimal.Decimal(-v).exp() * 2**64) for v in range(LONGEST, 0, -1)], dtype=np.uint64
        )


_THRESHOLDS = _thresholds()

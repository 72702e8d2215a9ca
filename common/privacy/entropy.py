"""Random bits that nobody can repeat: AES-256 in counter mode, keyed by the operating system.

There is no seed. A generator lives for one step, so a forked or restarted process never continues another's
stream. Source: NIST SP 800-38A, section 6.5.
"""

import os
from typing import Protocol

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

Words = npt.NDArray[np.uint64]

KEY_BYTES, COUNTER_BYTES = 32, 16
REKEY_BYTES = 1 << 34
"""After so much a fresh key is taken: blocks of one key never repeat, and 2^30 of them tell it from chance
with probability 2^-69."""


class Bits(Protocol):
    """A source of uniform, independent bits."""

    def words(self, count: int) -> Words:
        """(count,) uniform 64-bit words."""


class Entropy:
    """The only source of bits in use; tests put others in its place."""

    def __init__(self) -> None:
        self._take_key()

    def words(self, count: int) -> Words:
        """(count,) uniform 64-bit words."""
        size = 8 * count
        if size > self._left:
            self._take_key()
        self._left -= size
        return np.frombuffer(self._cipher.update(bytes(size)), np.dtype("<u8"))

    def _take_key(self) -> None:
        key, counter = os.urandom(KEY_BYTES), bytes(COUNTER_BYTES)
        self._cipher = Cipher(algorithms.AES(key), modes.CTR(counter)).encryptor()
        self._left = REKEY_BYTES


def secret_of(bits: Bits) -> int:
    """A 128-bit secret, to derive the seeds of one step's units from."""
    high, low = bits.words(2).tolist()
    return int(high) << 64 | int(low)


def uniform_below(bits: Bits, bound: int, count: int) -> npt.NDArray[np.int64]:
    """(count,) integers, uniform in 0..bound - 1, without the bias of a remainder."""
    limit = 2**64 - 2**64 % bound
    drawn = bits.words(count).copy()
    while True:
        outside = np.flatnonzero(drawn > np.uint64(limit - 1))
        if not len(outside):
            return (drawn % np.uint64(bound)).astype(np.int64)
        drawn[outside] = bits.words(len(outside))

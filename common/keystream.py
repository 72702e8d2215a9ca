"""AES-256 in counter mode as a source of random words: drawn by the piece, and begun at any stretch.

A stream is cut into stretches of 8 MiB. Stretch s is the counter mode of NIST SP 800-38A, section 6.5, from
the counter block (s as 12 bytes, 2 as 4 bytes), which is what AES-256-GCM (SP 800-38D) makes of zeros under
the nonce s. The library is asked for the latter: where a processor has vector instructions for AES, that
mode alone uses them, 22 GB/s on one core against 9. `update_into` a buffer that exists makes six times what
the call that allocates makes, and lets go of Python's lock meanwhile.
"""

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.ciphers import AEADEncryptionContext, Cipher, algorithms, modes

KEY_BYTES = 32
BLOCK_BYTES = 16
NONCE_BYTES = 12
STRETCH_BYTES = 1 << 23
"""Opening one takes some microseconds, drawing it 400."""
PIECE = 1 << 16
"""Words drawn at a time: zeros, stream and sum of 256 KiB of uint32 each stay in a core's own cache."""

_ZEROS = memoryview(bytes(8 * PIECE))


class Scratch:
    """Room for one piece of any keystream; one per thread, whatever the number of streams."""

    def __init__(self) -> None:
        self.buffer = bytearray(8 * PIECE + BLOCK_BYTES)


class Keystream:
    """The words of one key, in order from the beginning of a stretch."""

    def __init__(self, key: bytes, dtype: npt.DTypeLike, *, stretch: int = 0) -> None:
        """Begin at `stretch`, from 0."""
        assert len(key) == KEY_BYTES
        self._algorithm = algorithms.AES(key)
        self._dtype = np.dtype(dtype).newbyteorder("<")
        self._stretch, self._left = stretch, STRETCH_BYTES
        self._cipher = self._open()

    def next(self, words: int, scratch: Scratch) -> npt.NDArray[np.unsignedinteger]:
        """The next `words` <= PIECE words; they are gone when `scratch` is used again."""
        wanted, room = words * self._dtype.itemsize, memoryview(scratch.buffer)
        while wanted:
            if not self._left:
                self._stretch, self._left = self._stretch + 1, STRETCH_BYTES
                self._cipher = self._open()
            size = min(wanted, self._left)
            self._cipher.update_into(_ZEROS[:size], room)
            wanted, room, self._left = wanted - size, room[size:], self._left - size
        return np.frombuffer(scratch.buffer, self._dtype, words)

    def _open(self) -> AEADEncryptionContext:
        return Cipher(self._algorithm, modes.GCM(self._stretch.to_bytes(NONCE_BYTES, "big"))).encryptor()

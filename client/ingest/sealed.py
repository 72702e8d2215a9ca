"""A file of JSON blocks that only its own site can read, and that may be cut off anywhere.

Each block is a length, a nonce and JSON under AES-256-GCM with the block's number as associated data, so
blocks can neither be read, nor changed, nor put in another order. A last block that is not whole is left out,
which is what a process killed while writing leaves.
"""

import json
import os
import secrets
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

NONCE_BYTES = 12
MAX_BLOCK_BYTES = 1 << 30
_LENGTH = struct.Struct("<I")


class Sealer:
    """Writes blocks and reads them back."""

    def __init__(self, key: bytes) -> None:
        """Use `key`, 32 bytes."""
        self._cipher = AESGCM(key)

    def write(self, file: BinaryIO, number: int, content: object) -> None:
        """Append block `number`, counted from 0."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        block = nonce + self._cipher.encrypt(nonce, json.dumps(content).encode(), _LENGTH.pack(number))
        file.write(_LENGTH.pack(len(block)) + block)

    def read(self, path: Path) -> Iterator[tuple[object, int]]:
        """Each whole block of `path` in order, and where it ends; nothing where there is no such file."""
        try:
            file = path.open("rb")
        except FileNotFoundError:
            return
        with file:
            number = 0
            while (block := _next_block(file)) is not None:
                try:
                    content = self._cipher.decrypt(
                        block[:NONCE_BYTES], block[NONCE_BYTES:], _LENGTH.pack(number)
                    )
                except InvalidTag:
                    return
                yield json.loads(content), file.tell()
                number += 1


def _next_block(file: BinaryIO) -> bytes | None:
    prefix = file.read(_LENGTH.size)
    if len(prefix) < _LENGTH.size:
        return None
    (length,) = _LENGTH.unpack(prefix)
    if not NONCE_BYTES < length <= MAX_BLOCK_BYTES:
        return None
    block = file.read(length)
    return block if len(block) == length else None


def open_at(path: Path, size: int) -> BinaryIO:
    """Open `path`, its owner's only, to append after its first `size` bytes; what follows is cut off."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    file = os.fdopen(descriptor, "r+b")
    file.truncate(size)
    file.seek(size)
    return file


def sync(file: BinaryIO) -> None:
    """Make what was written outlast a loss of power."""
    file.flush()
    os.fsync(file.fileno())

"""The canonical encoding: one value, one text of bytes, and back; what is hashed, signed and sent.

Every item carries its kind and its length, so no two transcripts can run together into the same bytes.
Whole numbers take 16 bytes, little-endian; a list may hold lists, DEPTH deep.
"""

import hashlib
from collections.abc import Sequence
from typing import TypeAlias

from common.secagg.abort import Reason, refusal

Item: TypeAlias = int | str | bytes | Sequence["Item"]

DEPTH = 6
"""Lists within lists; more is refused, so that no message can exhaust the stack."""
INTEGER_BYTES = 16
_HEAD = 5


def encode(value: Item) -> bytes:
    """The bytes of `value`."""
    if isinstance(value, bool):
        raise TypeError("a truth value has no canonical encoding")
    if isinstance(value, int):
        return _item(b"i", value.to_bytes(INTEGER_BYTES, "little", signed=True))
    if isinstance(value, str):
        return _item(b"s", value.encode())
    if isinstance(value, bytes):
        return _item(b"b", value)
    return _item(b"l", b"".join(encode(item) for item in value))


def decode(data: bytes) -> Item:
    """The inverse of `encode`; lists come back as tuples.

    Raises:
        AbortError: `data` is not exactly one encoded value.
    """
    try:
        value, end = _decode(data, 0, DEPTH)
    except ValueError:  # UnicodeDecodeError is one
        raise refusal(Reason.MALFORMED, "the message is not in the canonical encoding") from None
    if end != len(data):
        raise refusal(Reason.MALFORMED, "the message is longer than it says")
    return value


def digest(*items: Item) -> bytes:
    """SHA-256 of the encoding of `items`."""
    return hashlib.sha256(encode(items)).digest()


def _item(kind: bytes, content: bytes) -> bytes:
    return kind + len(content).to_bytes(_HEAD - 1, "little") + content


def _decode(data: bytes, begin: int, depth: int) -> tuple[Item, int]:
    kind = data[begin : begin + 1]
    start = begin + _HEAD
    end = start + int.from_bytes(data[begin + 1 : start], "little")
    if start > len(data) or end > len(data):
        raise ValueError("cut short")
    content = data[start:end]
    match kind:
        case b"i" if len(content) == INTEGER_BYTES:
            return int.from_bytes(content, "little", signed=True), end
        case b"s":
            return content.decode(), end
        case b"b":
            return content, end
        case b"l" if depth:
            items: list[Item] = []
            while start < end:
                item, start = _decode(data[:end], start, depth - 1)
                items.append(item)
            return tuple(items), end
    raise ValueError("unknown kind")

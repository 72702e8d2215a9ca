"""Where words begin and end among a vocabulary's pieces.

WordPiece marks the pieces that continue a word (`##s`). Of byte pairs, GPT-2's kind marks those that follow
a space, and CLIP's those that end a word (`</w>`). Shapes: V pieces.
"""

from collections.abc import Iterable

import torch
from tokenizers import Tokenizer, models
from tokenizers.pre_tokenizers import ByteLevel
from torch import Tensor

CONTINUES = "##"
"""Prefix of a WordPiece that continues a word."""

ENDS = "</w>"
"""Suffix of a byte pair that ends a word, in CLIP's kind of vocabulary."""

SPACE = "Ġ"
"""How bytes spell a space."""


def word_bounds(tokenizer: Tokenizer) -> tuple[Tensor, Tensor]:
    """(V,) bool, whether a piece begins a word by itself, and (V,) bool, whether nothing continues it."""
    pieces = [piece for piece, _ in sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])]
    if not isinstance(tokenizer.model, models.BPE):
        return _bools(not piece.startswith(CONTINUES) for piece in pieces), _bools(False for _ in pieces)
    if tokenizer.model.end_of_word_suffix:
        return _bools(False for _ in pieces), _bools(piece.endswith(ENDS) for piece in pieces)
    spelt = [(piece, _spelt(piece)) for piece in pieces]
    begins = _bools(piece.startswith(SPACE) or not _in_word(text[:1]) for piece, text in spelt)
    return begins, _bools(bool(text) and not _in_word(text[-1]) for _, text in spelt)


def _bools(values: Iterable[bool]) -> Tensor:
    return torch.tensor(list(values), dtype=torch.bool)


def _spelt(piece: str) -> str:
    """What a piece of bytes spells; a letter of which it has some bytes only is U+FFFD."""
    try:
        content = bytes(_BYTES[sign] for sign in piece)
    except KeyError:
        return piece
    return content.decode(errors="replace").removeprefix(" ")


def _in_word(letter: str) -> bool:
    return letter.isalnum() or letter == "\N{REPLACEMENT CHARACTER}"


def _byte_signs() -> dict[str, int]:
    """The sign that stands for each byte: itself if it can be printed, else the next free one from U+0100."""
    printed = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    signs = {chr(byte): byte for byte in printed}
    others = (byte for byte in range(256) if byte not in printed)
    signs |= {chr(0x100 + place): byte for place, byte in enumerate(others)}
    assert signs.keys() == set(ByteLevel.alphabet())
    return signs


_BYTES = _byte_signs()

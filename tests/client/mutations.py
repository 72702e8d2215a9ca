"""Damage to files, repeatable by seed: blind, or where it hurts DICOM, a codec's stream, PNG, or a text."""

import random
import re
import struct
import zlib
from collections.abc import Callable, Sequence

Chance = random.Random
Mutation = Callable[[bytes, Chance, Sequence[bytes]], bytes]
"""(file, chance, other files to splice with) -> damaged file."""

TAGS = (
    *((0x0028, element) for element in (2, 4, 6, 8, 0x10, 0x11, 0x100, 0x101, 0x102, 0x103)),
    *(
        (0x0028, element)
        for element in (0x1050, 0x1051, 0x1052, 0x1053, 0x1056, 0x1101, 0x1201, 0x3000, 0x3010)
    ),
    *((0x0028, element) for element in (0x3002, 0x3006)),
    *((0x0008, element) for element in (5, 8, 0x16, 0x18, 0x50, 0x60)),
    *((0x0010, 0x20), (0x0018, 0x5101), (0x0020, 0x0D), (0x0020, 0x20), (0x0002, 0x00), (0x0002, 0x10)),
    *((0x7FE0, 0x10), (0x7FE0, 8), (0x5200, 0x9229), (0x5200, 0x9230), (0x6000, 0x3000)),
)
"""Elements on which decoding depends: shape, bits, windows, tables, frames, syntax, pixels."""
VRS = (
    b"OB",
    b"OW",
    b"SQ",
    b"UN",
    b"US",
    b"SS",
    b"DS",
    b"IS",
    b"UI",
    b"LO",
    b"FD",
    b"AT",
    b"PN",
    b"UT",
    b"xx",
)
SYNTAXES = tuple(
    f"1.2.840.10008.1.2{suffix}".encode()
    for suffix in (
        *("", ".1", ".1.99", ".2", ".4.50", ".4.51", ".4.57", ".4.70", ".4.80", ".4.81", ".4.90", ".4.91"),
        *(".4.100", ".4.102", ".4.201", ".4.202", ".4.203", ".5", ".99"),
    )
)
LENGTHS = (0, 1, 2, 3, 7, 255, 0xFFFE, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)
SHORTS = (
    0,
    1,
    2,
    3,
    7,
    8,
    9,
    12,
    15,
    16,
    17,
    31,
    32,
    33,
    63,
    64,
    65,
    127,
    255,
    256,
    4096,
    32767,
    32768,
    65535,
)
NUMBERS = (
    b"0",
    b"-1",
    b"1e308",
    b"-1e308",
    b"nan",
    b"inf",
    b"1e-320",
    b"",
    b"\\",
    b"1\\2\\3",
    b"x" * 16,
    b"99" * 8,
)
MARKERS = (
    b"\xff\xd8",
    b"\xff\xc0",
    b"\xff\xc1",
    b"\xff\xc3",
    b"\xff\xf7",
    b"\xff\xc4",
    b"\xff\xda",
    b"\xff\x4f\xff\x51",
)
"""Where streams of JPEG, JPEG-LS and JPEG 2000 keep their shape and tables."""
TEXTS = (
    *(
        b'"',
        b"'",
        b",",
        b"\n",
        b"\r",
        b"\0",
        b"\\",
        b"{",
        b"}",
        b"[",
        b"]",
        b"<",
        b">",
        b"&",
        b"&#0;",
        b"&#xD800;",
    ),
    *(
        b"\xef\xbb\xbf",
        b"\xff\xfe",
        b"\xfe\xff",
        b"\xc3",
        b"\xed\xa0\x80",
        b"\\ud800",
        b"]]>",
        b"<!--",
        b"\x85",
    ),
    *(b"<!DOCTYPE a [<!ENTITY b 'c'>]>", b"null", b"NaN", b"1e999", b"-0", b"\xe2\x80\xa8", b"\x1a", b"\t"),
)
MOST_REPEATS = 3000
"""Of a bracket or a tag; deeper than any parser's stack should have to go."""


def mutate(original: bytes, chance: Chance, others: Sequence[bytes], kinds: Sequence[Mutation]) -> bytes:
    """One to three mutations, one after the other."""
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        original = chance.choice(kinds)(original, chance, others)
    return original


# --- blind -------------------------------------------------------------------------------------------------


def flip(content: bytes, chance: Chance, _: Sequence[bytes]) -> bytes:
    """Change one to sixteen bytes."""
    changed = bytearray(content)
    for _ in range(chance.randint(1, 16) if content else 0):
        changed[chance.randrange(len(changed))] = chance.randrange(256)
    return bytes(changed)


def cut(content: bytes, chance: Chance, _: Sequence[bytes]) -> bytes:
    """End early."""
    return content[: chance.randint(0, len(content))]


def drop(content: bytes, chance: Chance, _: Sequence[bytes]) -> bytes:
    """Lose a span."""
    start, length = _span(content, chance)
    return content[:start] + content[start + length :]


def repeat(content: bytes, chance: Chance, _: Sequence[bytes]) -> bytes:
    """Have a span twice."""
    start, length = _span(content, chance)
    return content[: start + length] + content[start:]


def fill(content: bytes, chance: Chance, _: Sequence[bytes]) -> bytes:
    """Overwrite a span with one byte."""
    start, length = _span(content, chance)
    return content[:start] + bytes([chance.choice((0, 255, 0x41))]) * length + content[start + length :]


def splice(content: bytes, chance: Chance, others: Sequence[bytes]) -> bytes:
    """Go over into another file."""
    other = chance.choice(others)
    return content[: chance.randint(0, len(content))] + other[chance.randint(0, len(other)) :]


def _span(content: bytes, chance: Chance) -> tuple[int, int]:
    start = chance.randint(0, len(content))
    return start, min(len(content) - start, chance.choice((1, 2, 4, 16, 128, 1024)))


BLIND: tuple[Mutation, ...] = (flip, cut, drop, repeat, fill, splice)


# --- DICOM -------------------------------------------------------------------------------------------------


def damage_vr(content: bytes, chance: Chance, _: Sequence[bytes]) -> bytes:
    """Give an element another VR."""
    place = _element(content, chance)
    return content if place is None else _overwritten(content, place + 4, chance.choice(VRS))


def damage_length(content: bytes, chance: Chance, _: Sequence[bytes]) -> bytes:
    """Give an element, in either form of explicit VR or an implicit one, another length."""
    place = _element(content, chance)
    if place is None:
        return content
    offset, form = chance.choice(((4, "I"), (6, "H"), (8, "I")))
    limit = 1 << (8 * struct.calcsize(form))
    return _overwritten(content, place + offset, struct.pack(f"<{form}", chance.choice(LENGTHS) % limit))


def damage_short(content: bytes, chance: Chance, _: Sequence[bytes]) -> bytes:
    """Give an element of 16 bits another value."""
    place = _element(content, chance)
    return content if place is None else _overwritten(content, place + 8, _short(content, chance))


def damage_number(content: bytes, chance: Chance, _: Sequence[bytes]) -> bytes:
    """Give a text of an element other characters, within its length."""
    place = _element(content, chance)
    if place is None or place + 8 > len(content):
        return content
    length = min(64, *struct.unpack_from("<H", content, place + 6))
    return _overwritten(content, place + 8, chance.choice(NUMBERS)[:length].ljust(length))


def swap_syntax(content: bytes, chance: Chance, _: Sequence[bytes]) -> bytes:
    """Say that the file has another transfer syntax."""
    place = content.find(b"\x02\x00\x10\x00UI", 132)
    if place < 0:
        return content
    (length,) = struct.unpack_from("<H", content, place + 6)
    uid = chance.choice(SYNTAXES)
    uid += b"\0" * (len(uid) % 2)
    element = b"\x02\x00\x10\x00UI" + struct.pack("<H", len(uid)) + uid
    return content[:place] + element + content[place + 8 + length :]


def damage_item(content: bytes, chance: Chance, _: Sequence[bytes]) -> bytes:
    """Damage an item of a sequence or of encapsulated pixels: its length, its tag, or the offsets in it."""
    places = [found.start() for found in re.finditer(b"\xfe\xff[\x00\x0d\xdd]\xe0", content)]
    if not places:
        return content
    place, what = chance.choice(places), chance.randrange(3)
    if what == 0:
        return _overwritten(content, place + 4, struct.pack("<I", chance.choice(LENGTHS)))
    if what == 1:
        return _overwritten(content, place + 2, bytes([chance.choice((0, 0x0D, 0xDD)), 0xE0]))
    return _overwritten(content, place + 8, struct.pack("<I", chance.choice((*LENGTHS, len(content)))))


def damage_stream(content: bytes, chance: Chance, _: Sequence[bytes]) -> bytes:
    """Damage the head of a compressed stream: shape, components, tables."""
    places = [found.start() for marker in MARKERS for found in re.finditer(re.escape(marker), content)]
    if not places:
        return content
    place = chance.choice(places) + chance.randint(2, 60)
    form = chance.choice("BHI")
    return _overwritten(
        content, place, struct.pack(f">{form}", chance.getrandbits(8 * struct.calcsize(form)))
    )


def _short(content: bytes, chance: Chance) -> bytes:
    return struct.pack(chance.choice("<>") + "H", chance.choice(SHORTS))


def _element(content: bytes, chance: Chance) -> int | None:
    """Where one of `TAGS`, in either byte order, stands."""
    for group, element in chance.sample(TAGS, 12):
        for order in "<>":
            if (place := content.find(struct.pack(f"{order}HH", group, element))) >= 0:
                return place
    return None


def _overwritten(content: bytes, place: int, value: bytes) -> bytes:
    return content[:place] + value + content[place + len(value) :]


DICOM: tuple[Mutation, ...] = (
    *(damage_vr, damage_length, damage_short, damage_short, damage_number, swap_syntax, damage_item),
    *(damage_stream, damage_stream),
)


# --- PNG ---------------------------------------------------------------------------------------------------


def damage_chunk(content: bytes, chance: Chance, _: Sequence[bytes]) -> bytes:
    """Damage the head of a chunk of a PNG, and give it the checksum that belongs to the damage."""
    places = [found.start() for found in re.finditer(b"IHDR|PLTE|tRNS|IDAT|eXIf|iCCP", content)]
    places = [place for place in places if place >= 4]
    if not places:
        return content
    start = chance.choice(places)
    (length,) = struct.unpack_from(">I", content, start - 4)
    end = min(len(content), start + 4 + length)
    at = start + 4 + chance.randrange(min(40, max(1, length)))
    changed = _overwritten(content[:end], at, bytes([chance.choice((0, 1, 2, 3, 4, 6, 8, 16, 127, 255))]))[
        :end
    ]
    return changed + struct.pack(">I", zlib.crc32(changed[start:])) + content[end + 4 :]


RASTER: tuple[Mutation, ...] = (damage_chunk, damage_chunk, damage_stream)


# --- text --------------------------------------------------------------------------------------------------


def insert(content: bytes, chance: Chance, _: Sequence[bytes]) -> bytes:
    """Put something that has a meaning where it has none."""
    place = chance.randint(0, len(content))
    return content[:place] + chance.choice(TEXTS) + content[place:]


def insert_many(content: bytes, chance: Chance, _: Sequence[bytes]) -> bytes:
    """Put it there very often."""
    place, something = chance.randint(0, len(content)), chance.choice((*TEXTS, b'{"a":', b"<div>", b"[["))
    return content[:place] + something * chance.randint(2, MOST_REPEATS) + content[place:]


def swap_lines(content: bytes, chance: Chance, others: Sequence[bytes]) -> bytes:
    """Take a line from elsewhere."""
    lines, foreign = content.split(b"\n"), chance.choice(others).split(b"\n")
    lines[chance.randrange(len(lines))] = chance.choice(foreign)
    return b"\n".join(lines)


def reencode(content: bytes, chance: Chance, _: Sequence[bytes]) -> bytes:
    """Write it in another encoding."""
    encoding = chance.choice(("utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp037", "utf-8-sig"))
    return content.decode("latin-1").encode(encoding, "replace")


def drop_token(content: bytes, chance: Chance, _: Sequence[bytes]) -> bytes:
    """Lose a sign of punctuation."""
    places = [found.start() for found in re.finditer(rb'[][{}<>",:/=]', content)]
    if not places:
        return content
    place = chance.choice(places)
    return content[:place] + content[place + 1 :]


TEXT: tuple[Mutation, ...] = (insert, insert, insert_many, swap_lines, reencode, drop_token, drop_token)

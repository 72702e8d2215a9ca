"""Bytes of a text file as text: UTF-8, UTF-16 or UTF-32 with their mark, or else Windows-1252."""

import codecs

MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
    (codecs.BOM_UTF8, "utf-8-sig"),
)
"""Byte order marks; the longer first, for UTF-32's starts as UTF-16's does."""


def marked_encoding(start: bytes) -> str | None:
    """The encoding whose byte order mark `start` begins with, if any."""
    return next((name for mark, name in MARKS if start.startswith(mark)), None)


def decode_text(content: bytes) -> str | None:
    """Return the text, or None where it is none: NUL bytes, or units that the marked encoding lacks.

    Without a mark each line is UTF-8 or, where it is not, Windows-1252 (whose five unused bytes are read as
    Latin-1), so that a file put together from two systems loses neither's umlauts. Which of the
    encodings of one byte it was cannot be told from a text: those of Eastern Europe come out wrong.
    """
    marked = marked_encoding(content)
    if marked is not None and marked != "utf-8-sig":
        try:
            return content.decode(marked)
        except UnicodeDecodeError:
            return None
    if b"\0" in content:
        return None
    body = content.removeprefix(codecs.BOM_UTF8)
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError:
        return "".join(map(_decode_line, body.splitlines(keepends=True)))


def _decode_line(line: bytes) -> str:
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError:
        try:
            return line.decode("cp1252")
        except UnicodeDecodeError:
            return line.decode("latin-1")

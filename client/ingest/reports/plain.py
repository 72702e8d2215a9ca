"""Reports as text files, one for each accession number: `A1234.txt`."""

from collections.abc import Sequence
from pathlib import Path

from client.ingest.rejected import Reason
from client.ingest.reports.encodings import decode_text
from client.ingest.reports.report import MAX_TEXT_BYTES, Found, Report, ReportFile

SUFFIXES = frozenset({".txt", ".text"})


def is_plain(path: Path, start: bytes) -> bool:
    """Tell whether `path` is a report of its own by its suffix, whatever its `start`."""
    del start
    return path.suffix.lower() in SUFFIXES


def read_plain(files: Sequence[ReportFile], found: Found) -> None:
    """Read each file as one report; the name without its suffix is the accession number."""
    for file in files:
        text = read_text(file.path)
        if isinstance(text, Reason):
            found.refuse(file.place, text)
        else:
            found.add(Report(file.place, file.path.stem.strip(), "", (), text))


def read_text(path: Path, *, at_most: int = MAX_TEXT_BYTES) -> str | Reason:
    """Read a text file of `at_most` so many bytes in whatever encoding it is, or say why not."""
    try:
        if path.stat().st_size > at_most:
            return Reason.TOO_LONG
        text = decode_text(path.read_bytes())
    except OSError:
        return Reason.UNREADABLE
    return Reason.NOT_TEXT if text is None else text

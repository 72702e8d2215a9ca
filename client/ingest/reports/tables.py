"""Reports as rows of CSV files, and CSV files in general."""

import csv
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from io import TextIOWrapper
from pathlib import Path

from client.ingest.deidentify import Identifiers
from client.ingest.rejected import Reason
from client.ingest.reports.encodings import decode_text, marked_encoding
from client.ingest.reports.report import (
    Found,
    ImageRecord,
    Report,
    ReportFile,
    iso_date,
    language_tag,
    uid_in,
    unique,
)
from common.errors import ConfigurationError, FederationError, InputRefusedError
from common.regular_file import open_regular

COLUMNS = ("accession_number", "patient_id", "sop_instance_uids", "report")
"""What a report file must have, or say with `--map` that it has not; further columns are left alone."""
FURTHER_COLUMNS = (
    *("study_instance_uid", "study_date", "file_names", "language"),
    *("patient_name", "patient_birth_date", "physicians", "institution", "other_ids"),
)
"""What is read besides where a report file has it; the second line only to take it out of the text."""

DELIMITERS = ",;\t|"
MAX_FIELD_CHARACTERS = 1 << 28
"""Python's own limit is 128 KiB, less than some reports have."""

Row = dict[str, str]
_SEPARATORS = re.compile(r"[\s,;|\\]+")
_NOT_UTF8 = re.compile("[\udc80-\udcff]")
"""What a byte that is not UTF-8 becomes (PEP 383)."""


def parse_column_map(entries: Iterable[str]) -> dict[str, str]:
    """Read `report=befund` as: our column `report` is their `befund`; `patient_id=` as: they have none.

    Raises:
        ConfigurationError: an entry names no column of ours, or one of ours twice.
    """
    columns = {column: column for column in COLUMNS}
    seen = set()
    for entry in entries:
        ours, equals, theirs = (part.strip() for part in entry.partition("="))
        if not equals or ours not in COLUMNS + FURTHER_COLUMNS or ours in seen:
            raise ConfigurationError(
                f"--map {entry}: expected OURS=THEIRS with OURS one of "
                f"{', '.join(COLUMNS + FURTHER_COLUMNS)}, each once"
            )
        seen.add(ours)
        columns[ours] = theirs
    if not columns["report"]:
        raise ConfigurationError("--map report=: the column with the report's text cannot be left out")
    return columns


def is_table(path: Path, start: bytes) -> bool:
    """Tell whether `path` is a table by its suffix, whatever its `start`."""
    del start
    return path.suffix.lower() in (".csv", ".tsv")


def read_tables(files: Sequence[ReportFile], found: Found, *, columns: Mapping[str, str]) -> None:
    """Read CSV files, one after the other, rows in order.

    Args:
        files: UTF-8 (or UTF-16 with its mark), header line first; several UIDs or file names in their field
            separated by commas, semicolons or bars, UIDs by blanks too.
        found: takes the reports, and what they say of image files.
        columns: our column -> theirs, "" where they have none; see `parse_column_map`.
    """
    for file in files:
        _read_table(file, found, columns)


def _read_table(file: ReportFile, found: Found, columns: Mapping[str, str]) -> None:
    for place, row in usable_rows(file, [theirs for theirs in columns.values() if theirs], found):
        further = {ours: row.get(ours, "") for ours in FURTHER_COLUMNS if ours not in columns}
        named = {ours: row[theirs] if theirs else "" for ours, theirs in columns.items()}
        report = _report(place, further | named)
        found.add(report)
        for record in _images(report):
            found.name_image(record)


def _report(place: str, fields: Mapping[str, str]) -> Report:
    return Report(
        place=place,
        accession=fields["accession_number"].strip(),
        patient_id=fields["patient_id"].strip(),
        instance_uids=unique(_SEPARATORS.split(fields["sop_instance_uids"])),
        text=fields["report"],
        study_uids=unique([uid_in(fields["study_instance_uid"])]),
        file_names=unique(name.strip() for name in re.split(r"[,;|]", fields["file_names"])),
        date=iso_date(fields["study_date"]),
        language=language_tag(fields["language"]),
        identifiers=Identifiers(
            names=(fields["patient_name"], *_several(fields["physicians"])),
            ids=_several(fields["other_ids"]),
            birth_dates=(iso_date(fields["patient_birth_date"]),),
            institutions=_several(fields["institution"]),
        ),
    )


def _images(report: Report) -> list[ImageRecord]:
    """What a report says of the image files that it names, for those that do not say whose they are."""
    names = report.file_names if report.patient_id else ()
    return [ImageRecord(report.place, name, report.patient_id, report.accession) for name in names]


def _several(field: str) -> tuple[str, ...]:
    """The values of a field that may hold several; a comma may be part of a name."""
    return unique(value.strip() for value in re.split(r"[;|]", field)) if field else ()


def usable_rows(file: ReportFile, needed: Iterable[str], found: Found) -> Iterator[tuple[str, Row]]:
    """Yield the rows of a table of reports, each with its place; what cannot be used is refused in `found`.

    A table is used whole or not at all: rows before a quote that never closes may be wrong already.
    """
    try:
        for line, row in _rows(file.path, needed):
            if isinstance(row, Reason):
                found.refuse(f"{file.place}:{line}", row)
            else:
                yield f"{file.place}:{line}", row
    except _UnusableError as trouble:
        found.refuse(file.place, trouble.reason, str(trouble))


def read_rows(path: Path, needed: Iterable[str]) -> Iterator[tuple[int, Row | None]]:
    """Yield the line on which each row of a CSV file ends, and the row; None if it cannot be used.

    Raises:
        ConfigurationError: no such file, or its header lacks one of the `needed` columns or has it twice.
        InputRefusedError: another encoding than UTF-8, or quotes that do not close.
    """
    try:
        for line, row in _rows(path, needed):
            yield line, None if isinstance(row, Reason) else row
    except _UnusableError as trouble:
        raise refusal_error(trouble.reason, str(trouble)) from None


def refusal_error(reason: Reason, message: str) -> FederationError:
    """The error of a command that was given only what was refused for `reason`."""
    mistaken = reason in (Reason.MISSING_COLUMN, Reason.UNREADABLE)
    return ConfigurationError(message) if mistaken else InputRefusedError(message)


class _UnusableError(Exception):
    """Nothing of a table can be used; its text is one line for the person at the terminal."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def table_columns(start: bytes) -> tuple[str, ...]:
    """The columns that the first line of a CSV file names; () if it is no text."""
    text = (decode_text(start) or "").lstrip("\r\n")
    first = re.split(r"[\r\n]", text, maxsplit=1)[0]
    try:
        fields = next(csv.reader([first], delimiter=_delimiter(first)), [])
    except csv.Error:
        return ()
    return tuple(field.strip() for field in fields)


def _rows(path: Path, needed: Iterable[str]) -> Iterator[tuple[int, Row | Reason]]:
    """Yield line and row, or why the row cannot be used: `MALFORMED_ROW` or `NOT_UTF8`.

    Raises:
        _UnusableError: before the first row.
    """
    csv.field_size_limit(MAX_FIELD_CHARACTERS)
    needed = tuple(needed)
    try:
        encoding = _encoding(path)
        for _ in _fields(path, encoding, needed):
            pass
        header: Sequence[str] = ()
        for line, fields in _fields(path, encoding, needed):
            if not header:
                header = [name.strip() for name in fields]
            elif fields:
                yield line, _row(header, fields)
    except UnicodeDecodeError:
        message = f"{path.name} is not the UTF-16 or UTF-32 it says it is; export it as UTF-8"
        raise _UnusableError(Reason.NOT_TEXT, message) from None
    except OSError as error:
        message = f"{path}: {error.strerror}; give the path of a CSV file"
        raise _UnusableError(Reason.UNREADABLE, message) from None


def _fields(path: Path, encoding: str, needed: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    """Yield the line on which each row ends and its fields, those of the header first."""
    line = 0
    with TextIOWrapper(open_regular(path), encoding=encoding, errors="surrogateescape", newline="") as file:
        delimiter = _delimiter(file.readline(1 << 16))
        file.seek(0)
        reader = csv.reader(file, strict=True, delimiter=delimiter)
        try:
            header = next(reader, [])
            _require_columns(path, [name.strip() for name in header], needed)
            yield reader.line_num, header
            for fields in reader:
                line = reader.line_num
                yield line, fields
        except csv.Error as error:
            message = (
                f"{path.name}: the row after line {line} is no CSV ({error}); export it with quoted fields"
            )
            raise _UnusableError(Reason.MALFORMED_TABLE, message) from None


def _row(header: Sequence[str], fields: Sequence[str]) -> Row | Reason:
    if len(fields) < len(header) or any(fields[len(header) :]):
        return Reason.MALFORMED_ROW
    if any(not field.isascii() and _NOT_UTF8.search(field) for field in fields):
        return Reason.NOT_UTF8
    return dict(zip(header, fields, strict=False))


def _encoding(path: Path) -> str:
    """Find the encoding by reading the file once; a few lines in another one are left to `_row`.

    Raises:
        _UnusableError: it is text in one encoding, and that is not UTF-8, or its header is no text.
    """
    with open_regular(path) as file:
        marked = marked_encoding(file.read(4))
        if marked is not None and marked != "utf-8-sig":
            return marked
        file.seek(0)
        some_utf8, first_other = False, 0
        for number, line in enumerate(file, start=1):
            if number == 1 and b"\0" in line:
                message = f"{path.name} begins with bytes that are no text; export it as UTF-8"
                raise _UnusableError(Reason.NOT_TEXT, message)
            if not line.isascii():
                utf8 = _is_utf8(line)
                some_utf8 |= utf8
                first_other = first_other or (0 if utf8 else number)
    if first_other and not some_utf8:
        raise _UnusableError(
            Reason.NOT_UTF8,
            f"{path.name} is not UTF-8 after line {first_other - 1}; "
            "convert it (iconv -t utf-8) and ingest again",
        )
    return "utf-8-sig"


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _delimiter(header: str) -> str:
    """The delimiter that the header line has most of; a comma where it has none."""
    return max(DELIMITERS, key=header.count)


def _require_columns(path: Path, header: list[str], needed: Iterable[str]) -> None:
    for column in needed:
        if header.count(column) != 1:
            has = "has no column" if column not in header else "has more than one column"
            raise _UnusableError(
                Reason.MISSING_COLUMN,
                f"{path.name} {has} {column!r}, only {', '.join(header) or 'an empty header'}; "
                "say which column is meant, for reports with --map OURS=THEIRS",
            )

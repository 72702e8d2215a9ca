"""Reports as hospitals export them: rows of CSV files."""

import csv
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from client.ingest.rejected import Reason, Refusal
from common.errors import ConfigurationError, InputRefusedError

COLUMNS = ("accession_number", "patient_id", "sop_instance_uids", "report")
"""What is read from a report file; further columns are left alone."""

MAX_FIELD_CHARACTERS = 1 << 28
"""Python's own limit is 128 KiB, less than some reports have."""


@dataclass(frozen=True)
class Report:
    """One report; any field but the text may be empty."""

    place: str
    """`reports.csv:12`, the row that ends on line 12."""
    accession: str
    patient_id: str
    instance_uids: tuple[str, ...]
    text: str


def parse_column_map(entries: Iterable[str]) -> dict[str, str]:
    """Read `report=befund` as: our column `report` is their `befund`; `patient_id=` as: they have none.

    Raises:
        ConfigurationError: an entry names no column of ours, or one of ours twice.
    """
    columns = {column: column for column in COLUMNS}
    seen = set()
    for entry in entries:
        ours, equals, theirs = (part.strip() for part in entry.partition("="))
        if not equals or ours not in columns or ours in seen:
            raise ConfigurationError(
                f"--map {entry}: expected OURS=THEIRS with OURS one of {', '.join(COLUMNS)}, each once"
            )
        seen.add(ours)
        columns[ours] = theirs
    if not columns["report"]:
        raise ConfigurationError("--map report=: the column with the report's text cannot be left out")
    return columns


def read_reports(path: Path, columns: Mapping[str, str]) -> tuple[list[Report], list[Refusal]]:
    """Read a CSV file (UTF-8, with or without byte order mark), rows in order.

    Args:
        path: header line first; instance UIDs in their field separated by blanks, commas or semicolons.
        columns: our column -> theirs, "" where they have none; see `parse_column_map`.

    Raises:
        ConfigurationError: no such file, or a column is missing.
        InputRefusedError: not UTF-8, or quotes that do not close.
    """
    reports, refusals = [], []
    for number, row in read_rows(path, [theirs for theirs in columns.values() if theirs]):
        place = f"{path.name}:{number}"
        if row is None:
            refusals.append(Refusal(place, Reason.MALFORMED_ROW))
        elif not row[columns["report"]].strip():
            refusals.append(Refusal(place, Reason.EMPTY_REPORT))
        else:
            fields = {ours: row[theirs] if theirs else "" for ours, theirs in columns.items()}
            reports.append(_report(place, fields))
    return reports, refusals


def _report(place: str, fields: Mapping[str, str]) -> Report:
    uids = (uid for uid in re.split(r"[\s,;|\\]+", fields["sop_instance_uids"]) if uid)
    return Report(
        place=place,
        accession=fields["accession_number"].strip(),
        patient_id=fields["patient_id"].strip(),
        instance_uids=tuple(dict.fromkeys(uids)),
        text=fields["report"],
    )


def read_rows(path: Path, needed: Iterable[str]) -> Iterator[tuple[int, dict[str, str] | None]]:
    """Yield the line on which each row of a CSV file ends, and the row; None if it does not fit the header.

    Raises:
        ConfigurationError: no such file, or its header lacks one of the `needed` columns or has it twice.
        InputRefusedError: not UTF-8, or quotes that do not close.
    """
    csv.field_size_limit(MAX_FIELD_CHARACTERS)
    line = 0
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            header = [name.strip() for name in next(reader, [])]
            _require_columns(path, header, needed)
            for fields in reader:
                line = reader.line_num
                if fields:
                    fits = len(fields) >= len(header) and not any(fields[len(header) :])
                    yield line, dict(zip(header, fields, strict=False)) if fits else None
    except UnicodeDecodeError:
        raise InputRefusedError(
            f"{path.name} is not UTF-8 after line {line}; convert it (iconv -t utf-8) and ingest again"
        ) from None
    except csv.Error as error:
        raise InputRefusedError(
            f"{path.name}: the row after line {line} is no CSV ({error}); export it with quoted fields"
        ) from None
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}; give the path of a CSV file") from None


def _require_columns(path: Path, header: list[str], needed: Iterable[str]) -> None:
    for column in needed:
        if header.count(column) != 1:
            has = "has no column" if column not in header else "has more than one column"
            raise ConfigurationError(
                f"{path.name} {has} {column!r}, only {', '.join(header) or 'an empty header'}; "
                "say which column is meant, for reports with --map OURS=THEIRS"
            )

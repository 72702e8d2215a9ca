"""Ground truth for evaluation, joined to a store's rows by pseudonym; training never reads it."""

import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from client.ingest.identity import instance_of_file
from client.ingest.pseudonyms import Pseudonyms
from client.ingest.reports import read_rows
from common.errors import ConfigurationError, InputRefusedError
from common.store import Store

INSTANCE, ACCESSION = "sop_instance_uid", "accession_number"
FILE_NAMES = ("file_name", "path", "Path")
"""Columns that may name an image file: ours of a table of images, and what CheXpert calls it."""
IDENTIFIERS = frozenset(
    {INSTANCE, ACCESSION, "accession", "study_instance_uid", "series_instance_uid", "study_id", "study_date"}
    | {"patient_id", "patient_name", "patient_birth_date", "mrn", "name", "file"}
    | {*FILE_NAMES}
)
"""Columns that say which patient or study a row is; they never come into a store."""

TruthRow = Mapping[str, str]


@dataclass(frozen=True)
class Truth:
    """Labels that found their rows."""

    labels: pa.Table
    """Column `row` (int32, ascending, no row of the store twice) and one column of strings per label."""
    num_unmatched: int
    """Rows of the truth file for which the store has no row."""


def join_truth(store: Store, path: Path, *, columns: Sequence[str], pseudonyms: Pseudonyms) -> Truth:
    """Find the store's row for every row of a truth file.

    By SOP instance; in a file without these by the path of a picture (PNG, JPEG, DICOM without a study), or,
    where not one path is in the store, by accession number.

    Args:
        store: the store to label.
        path: CSV file with a column `sop_instance_uid`, `accession_number` or one of `FILE_NAMES`; paths are
            those in the folder of images, perhaps with folders above it.
        columns: which labels to take; `labels.covid` is entry `covid` of the JSON object in column `labels`.
            None of them: every column that is neither an identifier nor JSON.
        pseudonyms: those under which the store was made.

    Raises:
        ConfigurationError: no such column, or one that would identify a patient.
        InputRefusedError: broken JSON, two different labels for one row, or no row matches.
    """
    numbered = _read(path)
    rows_of = _join(store, [truth for _, truth in numbered], path.name, pseudonyms)
    columns = columns or _plain_columns([truth for _, truth in numbered])
    labels: dict[int, dict[str, str]] = {}
    unmatched = 0
    for line, truth in numbered:
        values = {column: _value(truth, column, f"{path.name}:{line}") for column in columns}
        rows = rows_of(truth)
        unmatched += not rows
        for row in rows:
            if labels.setdefault(row, values) != values:
                raise InputRefusedError(
                    f"{path.name}:{line}: other labels for this image than in a line before"
                )
    if not labels:
        raise InputRefusedError(
            f"{path.name}: none of its {len(numbered)} rows is in store {store.name}; "
            "give the --home that was used for ingest"
        )
    return Truth(_table(labels, columns), unmatched)


def _read(path: Path) -> list[tuple[int, TruthRow]]:
    numbered: list[tuple[int, TruthRow]] = []
    for line, row in read_rows(path, ()):
        if row is None:
            raise InputRefusedError(f"{path.name}:{line}: more or fewer fields than the header; mend the row")
        numbered.append((line, row))
    if not numbered:
        raise InputRefusedError(f"{path.name} has no rows; give the file with the labels as --truth")
    return numbered


RowsOf = Callable[[TruthRow], Sequence[int]]
"""How to get from a row of the truth file to rows of the store."""


def _join(store: Store, rows: Sequence[TruthRow], file_name: str, pseudonyms: Pseudonyms) -> RowsOf:
    first = rows[0]
    if INSTANCE in first:
        return _by_instance(store, pseudonyms)
    ways = [_by_file(store, column, pseudonyms) for column in FILE_NAMES if column in first]
    if ACCESSION in first:
        ways.append(_by_accession(store, pseudonyms))
    if not ways:
        raise ConfigurationError(
            f"{file_name} has none of {', '.join((INSTANCE, ACCESSION, *FILE_NAMES))}, "
            f"only {', '.join(first)}; add one of them"
        )
    return next((way for way in ways if any(map(way, rows))), ways[-1])


def _by_instance(store: Store, pseudonyms: Pseudonyms) -> RowsOf:
    rows = _rows_by(store.column("instance"))
    return lambda truth: rows.get(pseudonyms.instance(truth[INSTANCE].strip()), ())


def _by_accession(store: Store, pseudonyms: Pseudonyms) -> RowsOf:
    rows = _rows_by(store.column("study"))
    return lambda truth: rows.get(pseudonyms.study("accession", truth[ACCESSION].strip()), ())


def _by_file(store: Store, column: str, pseudonyms: Pseudonyms) -> RowsOf:
    rows = _rows_by(store.column("instance"))

    def find(truth: TruthRow) -> Sequence[int]:
        parts = [part for part in re.split(r"[/\\]+", truth[column].strip()) if part not in ("", ".")]
        paths = (str(Path(*parts[start:])) for start in range(len(parts)))
        found = (rows.get(pseudonyms.instance(instance_of_file(path)), ()) for path in paths)
        return next(filter(None, found), ())

    return find


def _rows_by(column: Iterable[str]) -> Mapping[str, Sequence[int]]:
    rows: defaultdict[str, list[int]] = defaultdict(list)
    for number, pseudonym in enumerate(column):
        if pseudonym:
            rows[pseudonym].append(number)
    return rows


def _plain_columns(rows: Sequence[TruthRow]) -> list[str]:
    return [
        column
        for column in rows[0]
        if column not in IDENTIFIERS and not any(row[column].startswith(("{", "[")) for row in rows)
    ]


def _value(truth: TruthRow, column: str, place: str) -> str:
    if column in truth and column not in IDENTIFIERS:
        return truth[column].strip()
    outer, dot, inner = column.partition(".")
    if outer in IDENTIFIERS or not dot or outer not in truth:
        trouble = "identifies a patient or a study" if outer in IDENTIFIERS else "is not there"
        choice = ", ".join(name for name in truth if name not in IDENTIFIERS)
        raise ConfigurationError(f"--column {column} {trouble}; choose from {choice}")
    try:
        nested = json.loads(truth[outer] or "{}")
    except json.JSONDecodeError:
        nested = None
    if not isinstance(nested, dict):
        raise InputRefusedError(f"{place}: column {outer} is not a JSON object, so it has no {inner}")
    return _plain(nested.get(inner, ""))


def _plain(value: object) -> str:
    """Strings as they are, several joined with ";", numbers and truth values as JSON writes them."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return ";".join(_plain(part) for part in value)
    return "" if value is None else json.dumps(value, sort_keys=True)


def _table(labels: Mapping[int, Mapping[str, str]], columns: Sequence[str]) -> pa.Table:
    rows = sorted(labels)
    table = {"row": pa.array(rows, pa.int32())}
    for column in columns:
        table[column] = pa.array([labels[row][column] for row in rows], pa.string())
    return pa.table(table)

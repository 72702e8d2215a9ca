"""Ground truth for evaluation, joined to a store's rows by pseudonym; training never reads it."""

import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from client.ingest.pseudonyms import Pseudonyms
from client.ingest.reports import read_rows
from common.errors import ConfigurationError, InputRefusedError
from common.store import Store

INSTANCE, ACCESSION = "sop_instance_uid", "accession_number"
IDENTIFIERS = frozenset(
    {INSTANCE, ACCESSION, "accession", "study_instance_uid", "series_instance_uid", "study_id", "study_date"}
    | {"patient_id", "patient_name", "patient_birth_date", "mrn", "name", "file"}
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
    """Find the store's row for every row of a truth file, by SOP instance or else by accession number.

    Args:
        store: the store to label.
        path: CSV file with a column `sop_instance_uid` or `accession_number`.
        columns: which labels to take; `labels.covid` is entry `covid` of the JSON object in column `labels`.
            None of them: every column that is neither an identifier nor JSON.
        pseudonyms: those under which the store was made.

    Raises:
        ConfigurationError: no such column, or one that would identify a patient.
        InputRefusedError: broken JSON, two different labels for one row, or no row matches.
    """
    numbered = _read(path)
    key, rows_by_key = _join(store, numbered[0][1], path.name, pseudonyms)
    columns = columns or _plain_columns([truth for _, truth in numbered])
    labels: dict[int, dict[str, str]] = {}
    unmatched = 0
    for line, truth in numbered:
        values = {column: _value(truth, column, f"{path.name}:{line}") for column in columns}
        rows = rows_by_key.get(key(truth), [])
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


def _join(
    store: Store, first: TruthRow, file_name: str, pseudonyms: Pseudonyms
) -> tuple[Callable[[TruthRow], str], dict[str, list[int]]]:
    """How to get from a truth row to the key, and from the key to the rows of the store."""
    if INSTANCE in first:
        key, column = _instance_key(pseudonyms), store.column("instance")
    elif ACCESSION in first:
        key, column = _accession_key(pseudonyms), store.column("study")
    else:
        raise ConfigurationError(
            f"{file_name} has neither {INSTANCE!r} nor {ACCESSION!r}, only {', '.join(first)}; "
            "add one of them"
        )
    rows: defaultdict[str, list[int]] = defaultdict(list)
    for number, pseudonym in enumerate(column):
        if pseudonym:
            rows[pseudonym].append(number)
    return key, rows


def _instance_key(pseudonyms: Pseudonyms) -> Callable[[TruthRow], str]:
    return lambda truth: pseudonyms.instance(truth[INSTANCE].strip())


def _accession_key(pseudonyms: Pseudonyms) -> Callable[[TruthRow], str]:
    return lambda truth: pseudonyms.study("accession", truth[ACCESSION].strip())


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

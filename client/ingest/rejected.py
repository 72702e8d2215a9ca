"""What did not enter a store, and why; the list stays in the hospital, beside the store."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from client.ingest.scratch import Scratch
from common.files import whole_file
from common.store import read_parquet

REJECTED = "rejected.parquet"
SCHEMA = pa.schema([pa.field("file", pa.string()), pa.field("reason", pa.string())])

ROWS = 1 << 14
"""Written at a time."""


class Reason(StrEnum):
    """Why a file or a row of a report file was refused; the values are stable, scripts may read them."""

    UNREADABLE = "unreadable"  # the system does not let us open it, or it is a broken link
    NOT_A_FILE = "not_a_file"  # a pipe, a socket, a device
    LINKED_FOLDER = "linked_folder"  # links to folders are not followed: they may run in circles
    NOT_DICOM = "not_dicom"
    MALFORMED = "malformed"  # DICOM whose elements cannot be parsed
    TRUNCATED = "truncated"  # an image that ends before its pixels do
    NO_PIXELS = "no_pixels"  # a DICOM object that is no image
    KEY_OBJECTS = "key_objects"  # a list of images that somebody marked; it is no report, and is not followed
    UNREAD_REPORT = "unread_report"  # a structured report among the images, where no --reports looks for any
    NO_PATIENT = "no_patient"  # nothing tells whose it is
    NO_STUDY = "no_study"  # neither AccessionNumber nor StudyInstanceUID
    NO_INSTANCE = "no_instance"  # SOPInstanceUID is missing
    TOO_LARGE = "too_large"  # more pixels than any radiograph has
    UNSUPPORTED_SYNTAX = "unsupported_syntax"  # no decoder for this transfer syntax
    UNDECODABLE = "undecodable"  # the decoder refused the pixels
    DECODER_CRASHED = "decoder_crashed"  # the decoder, or the parser of reports, took its process with it
    DECODER_OUT_OF_MEMORY = "decoder_out_of_memory"  # it asked for more than any file of its size needs
    DECODER_TIMED_OUT = "decoder_timed_out"  # it did not come to an end
    BURNED_IN_TEXT = (
        "burned_in_text"  # text in the pixels, and the spec says to reject it, or it was not found
    )
    DUPLICATE_INSTANCE = "duplicate_instance"  # this SOPInstanceUID came before, in sorted order of paths
    CONFLICTING_INSTANCE = "conflicting_instance"  # so it did, with other pixels or of another patient

    EMPTY_REPORT = "empty_report"
    MALFORMED_ROW = "malformed_row"  # more or fewer fields than the header has
    MALFORMED_TABLE = "malformed_table"  # its quotes do not close, so that its rows cannot be told apart
    MISSING_COLUMN = "missing_column"  # a table without a column that we need, or with two of that name
    MALFORMED_REPORT = "malformed_report"  # JSON, XML or DICOM SR that cannot be parsed
    NOT_A_REPORT = "not_a_report"  # a file or a resource among the reports that is none
    NOT_TEXT = "not_text"  # bytes that no encoding of text has
    NOT_UTF8 = "not_utf8"  # a table, or a row or a line of a file, in another encoding
    UNSUPPORTED_FORM = "unsupported_form"  # its text is only in a PDF, a picture or behind a link
    TOO_LONG = "too_long"  # more text than any report has
    TOO_DEEP = "too_deep"  # nested beyond what any report needs
    FORBIDDEN_ENTITY = "forbidden_entity"  # XML that declares entities: they may expand without end
    WITHDRAWN = "withdrawn"  # the source says that it was entered in error or cancelled
    SUPERSEDED = "superseded"  # a later version of the same report is there
    AMBIGUOUS_IMAGE = "ambiguous_image"  # the file name it gives is that of several images
    TOO_MANY_REPORTS = "too_many_reports"  # more reports than an image can have are of the same images
    OTHER_PATIENT = "other_patient"  # the report's patient is not the patient of its images
    SEVERAL_PATIENTS = "several_patients"  # its images, or its patient_id, belong to more than one patient


@dataclass(frozen=True)
class Refusal:
    """One file, or one row of a report file."""

    place: str
    """Path relative to the DICOM folder, or of a report `reports.csv:12`, the row that ends on line 12."""
    reason: Reason
    detail: str = field(default="", compare=False)
    """One line for the person at the terminal: what is wrong with the file, and how to mend it."""


def write_rejected(folder: Path, refusals: Iterable[Refusal], scratch: Scratch) -> None:
    """Write `rejected.parquet`, sorted, readable by its owner only: file names may name a patient.

    Memory: some thousand rows, sorted in `scratch`.
    """
    scratch.run(
        "CREATE TABLE rejected (place TEXT, reason TEXT, number INTEGER, PRIMARY KEY (place, reason, number))"
        " WITHOUT ROWID"
    )
    scratch.run_each(
        "INSERT INTO rejected VALUES (?, ?, ?)",
        ((printable(one.place), one.reason.value, number) for number, one in enumerate(refusals)),
    )
    rows = scratch.run("SELECT place, reason FROM rejected ORDER BY place, reason, number")
    with (
        whole_file(folder / REJECTED, mode=0o600) as file,
        pq.ParquetWriter(file, SCHEMA, compression="zstd") as writer,
    ):
        while batch := rows.fetchmany(ROWS):
            columns = [pa.array(column, pa.string()) for column in zip(*batch, strict=True)]
            writer.write_table(pa.table(columns, schema=SCHEMA))


def count_rejected(folder: Path) -> dict[str, int]:
    """Reason -> number of files and rows, by reason; {} where the store has no list."""
    path = folder / REJECTED
    if not path.exists():
        return {}
    return dict(sorted(Counter(read_parquet(path, ["reason"]).column("reason").to_pylist()).items()))


def printable(place: str) -> str:
    """Keep names that are not UTF-8 legible: the odd bytes become escapes."""
    return place.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")

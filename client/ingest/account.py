"""Where every input of an ingest went, in numbers, kept beside the store as `ingest.json`.

The same input gives the same numbers: nothing here tells when or how fast a store was made.
"""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, NonNegativeInt, ValidationError

from common.errors import InputRefusedError
from common.files import write_whole
from common.regular_file import read_regular

ACCOUNT = "ingest.json"

ByReason = dict[str, NonNegativeInt]
"""Reason code of `client.ingest.rejected` -> count, by code."""


class Counts(BaseModel):
    """A frozen table of counts."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class FileCounts(Counts):
    """Entries of the image folder: `seen` is the sum of the others."""

    seen: NonNegativeInt
    images: NonNegativeInt
    """Files whose pixels are in the store."""
    reports: NonNegativeInt
    """Files that were read as reports or tables of reports."""
    refused: ByReason

    @property
    def dicom(self) -> int:
        """Files that were opened as images: not those that the system withheld or that were no images."""
        return self.seen - self.reports - sum(self.refused.get(reason, 0) for reason in NEVER_OPENED)


NEVER_OPENED = ("key_objects", "linked_folder", "not_a_file", "not_dicom", "unread_report", "unreadable")


class ImageCounts(Counts):
    """Images of the store; a file of several frames may give several."""

    with_report: NonNegativeInt
    without_report: NonNegativeInt


class ReportCounts(Counts):
    """Reports, wherever they lay: `read` is the sum of the others."""

    read: NonNegativeInt
    paired: NonNegativeInt
    """With at least one image."""
    without_image: NonNegativeInt
    refused: ByReason


class Account(Counts):
    """The whole of `ingest.json`."""

    format: Literal[1] = 1
    files: FileCounts
    images: ImageCounts
    reports: ReportCounts
    scrubbed: dict[str, NonNegativeInt]
    """Kind of identifier (NAME, DATE, ...) -> how many were taken out of the reports of the store."""


def write_account(folder: Path, account: Account) -> None:
    """Keep `account` beside the store."""
    write_whole(folder / ACCOUNT, account.model_dump_json(indent=2).encode() + b"\n")


def read_account(folder: Path) -> Account | None:
    """Read what `write_account` wrote; None where the store came without it.

    Raises:
        InputRefusedError: the file is another version's, or was changed by hand.
    """
    try:
        return Account.model_validate_json(read_regular(folder / ACCOUNT))
    except FileNotFoundError:
        return None
    except (OSError, ValidationError):
        raise InputRefusedError(
            f"{folder}: {ACCOUNT} cannot be read or was written by another version; ingest again"
        ) from None

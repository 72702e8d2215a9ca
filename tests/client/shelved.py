"""What ingest keeps on disc, as lists that a test can look at."""

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from client.ingest import pairing
from client.ingest.images.header import Header, Patient
from client.ingest.rejected import Refusal
from client.ingest.reports import ImageRecord, Opened, Report, Shelf, formats
from client.ingest.reports.report import Entry, Found
from client.ingest.scratch import Scratch


class InMemory(Scratch):
    """For a process that may write no file, such as one that reads damaged files."""

    def _nameless(self) -> sqlite3.Connection:
        return sqlite3.connect(":memory:", isolation_level=None)


def new_shelf() -> Shelf:
    """An empty one."""
    return Shelf(InMemory(Path()))


def shelf_of(reports: Iterable[Report]) -> Shelf:
    """Reports, numbered from 0."""
    shelf = new_shelf()
    shelf.take(Found([Entry(report) for report in reports]))
    return shelf


@dataclass(frozen=True)
class Listed:
    """What was found under a path."""

    opened: Opened
    reports: tuple[Report, ...]
    refusals: tuple[Refusal, ...]
    images: tuple[ImageRecord, ...]

    @property
    def files(self) -> frozenset[Path]:
        return self.opened.files

    @property
    def num_reports_by_format(self) -> dict[str, int]:
        return self.opened.num_reports_by_format

    @property
    def trouble(self) -> Exception | None:
        return self.opened.trouble


def open_reports(path: Path, columns: Mapping[str, str] | None = None, **options: Any) -> Listed:
    """Read every report under `path`."""
    shelf = new_shelf()
    opened = formats.open_reports(path, shelf, columns, **options)
    return listed(shelf, opened)


def listed(shelf: Shelf, opened: Opened) -> Listed:
    """Everything on the shelf."""
    reports = tuple(report for _, report in shelf.reports())
    return Listed(opened, reports, tuple(shelf.refusals()), tuple(shelf.image_records()))


@dataclass(frozen=True)
class Unpaired:
    """A report none of whose images is here."""

    report: int
    patient: Patient


@dataclass(frozen=True)
class Paired:
    """Which report belongs to which image, and what became of the others."""

    shelf: Shelf
    pairing: pairing.Pairing
    unpaired: tuple[Unpaired, ...]
    refused: tuple[Refusal, ...]

    @property
    def reports_of(self) -> tuple[tuple[int, ...], ...]:
        return self.pairing.reports_of


def pair(images: Sequence[Header], reports: Iterable[Report], **options: Any) -> Paired:
    """Bring images and reports together."""
    shelf = shelf_of(reports)
    made = pairing.pair(images, shelf, **options)
    alone = sorted((number, patient) for patient, number, _ in shelf.alone())
    unpaired = tuple(Unpaired(number, patient) for number, patient in alone)
    return Paired(shelf, made, unpaired, tuple(shelf.refusals()))

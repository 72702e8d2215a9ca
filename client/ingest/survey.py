"""What a hospital hands to ingest: its reports read, its image files listed, no pixel touched."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from client.ingest.identity import Identity, Nameless, read_image_table
from client.ingest.images import scan
from client.ingest.links import NOT_LINKED, Links
from client.ingest.rejected import Refusal
from client.ingest.reports import COLUMNS, Opened, Shelf, open_reports
from client.ingest.reports.formats import AUTO
from client.ingest.scratch import Scratch, nearest_folder
from client.ingest.workplace import require_free
from common.errors import ConfigurationError


@dataclass(frozen=True)
class Source:
    """Where the images and the reports are; at least one of the two."""

    dicom: Path | None
    """Folder of image files: DICOM, PNG, JPEG."""
    reports: Sequence[Path] = ()
    columns: Mapping[str, str] = field(default_factory=lambda: {column: column for column in COLUMNS})
    """Our column of a CSV report file -> theirs, "" where they have none."""
    format_name: str = AUTO
    """What the report files are; see `client.ingest.reports.FORMATS`."""
    image_table: Path | None = None
    """CSV file that says whose the image files are; see `client.ingest.identity`."""
    folders: bool = False
    """Image files lie as PATIENT/STUDY/FILE."""
    nameless: Nameless = Nameless.REFUSE
    links: Links = NOT_LINKED
    """Which identifiers are of one person."""


@dataclass(frozen=True)
class Survey:
    """What there is to read, and what was refused at sight."""

    folder: Path | None
    files: Sequence[Path]
    """In byte order of their paths."""
    reports: Shelf
    """Each with a `place` of its own, and what was refused of them; `ingest` closes it."""
    identity: Identity
    refused_files: Sequence[Refusal]
    num_report_files: int
    """Of the folder's files those that were read as reports."""
    warnings: Sequence[str] = ()
    """One line for each path of reports of which nothing can be used, while another can."""


def survey(source: Source, store: Path, *, workers: int = 1) -> Survey:
    """Read the reports and list the files; nothing is written.

    Args:
        source: the images and reports.
        store: where the store will be.
        workers: confined processes that parse report files; 0 parses them in this one.

    Raises:
        ConfigurationError: the store's place is taken by something else, or a path or a column is wrong.
        InputRefusedError: paths of reports were given, and not one report can be used.
    """
    require_free(store)
    if source.dicom is None and not source.reports:
        raise ConfigurationError("nothing to ingest: give images as --dicom, reports as --reports, or both")
    if source.dicom is not None:
        _require_folder(source.dicom, store)
    shelf = Shelf(Scratch(nearest_folder(store)))
    try:
        return _survey(source, shelf, workers)
    except BaseException:
        shelf.close()
        raise


def _survey(source: Source, shelf: Shelf, workers: int) -> Survey:
    if source.image_table is not None:
        shelf.take(read_image_table(source.image_table))
    opened = _open_all(source, shelf, workers)
    troubles = [one.trouble for one in opened if one.trouble is not None]
    if troubles and len(troubles) == len(opened):
        raise troubles[0]
    tables = set() if source.image_table is None else {source.image_table.resolve()}
    claimed = frozenset(tables.union(*(one.files for one in opened)))
    files, refused_files = ([], []) if source.dicom is None else scan(source.dicom, leave_out=claimed)
    return Survey(
        folder=source.dicom,
        files=files,
        reports=shelf,
        identity=Identity(shelf.image_records, source.folders, source.nameless, source.links),
        refused_files=refused_files,
        num_report_files=_num_inside(claimed, source.dicom),
        warnings=[f"nothing was used of one path of reports: {trouble}" for trouble in troubles],
    )


def _require_folder(folder: Path, store: Path) -> None:
    if store.resolve().is_relative_to(folder.resolve()):
        raise ConfigurationError(f"{store} lies inside the image folder; give a --store outside of it")
    if not folder.is_dir():
        raise ConfigurationError(f"{folder} is not a folder; give the folder of images as --dicom")


def _open_all(source: Source, shelf: Shelf, workers: int) -> list[Opened]:
    """Open every path of reports; their places are told from one another by the folders that differ."""
    opened: list[Opened] = []
    seen: set[Path] = set()
    for path, prefix in zip(source.reports, _prefixes(source.reports), strict=True):
        one = open_reports(
            path,
            shelf,
            source.columns,
            format_name=source.format_name,
            images=source.dicom,
            prefix=prefix,
            workers=workers,
        )
        if seen & one.files:
            raise ConfigurationError(f"{path} was given before, itself or its folder; give each report once")
        seen |= one.files
        opened.append(one)
    return opened


def _prefixes(paths: Sequence[Path]) -> list[str]:
    if len(paths) < 2:
        return [""] * len(paths)
    folders = [path.absolute() if path.is_dir() else path.absolute().parent for path in paths]
    common = os.path.commonpath(folders)
    within = [os.path.relpath(folder, common) for folder in folders]
    return ["" if folder == "." else f"{folder}/" for folder in within]


def _num_inside(files: frozenset[Path], folder: Path | None) -> int:
    """How many of the resolved `files` a listing of `folder` would show."""
    if folder is None:
        return 0
    return sum(file.is_relative_to(folder.resolve()) for file in files)

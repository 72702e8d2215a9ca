"""From a folder of DICOM files and reports to a store: survey, read, pair, place, write.

Images wait in a nameless scratch file beside the store while pairing decides their order, so memory holds
headers and reports only, and a killed ingest leaves nothing that could be taken for a store.
"""

import errno
import math
import os
import re
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import BinaryIO

import numpy as np

from client.ingest.account import (
    ACCOUNT,
    Account,
    FileCounts,
    ImageCounts,
    ReportCounts,
    write_account,
)
from client.ingest.images import Header, Picture, read_images, scan
from client.ingest.pairing import Pairing, pair
from client.ingest.placement import Place, place
from client.ingest.pseudonyms import Pseudonyms, Shares
from client.ingest.rejected import REJECTED, Reason, Refusal, write_rejected
from client.ingest.reports import COLUMNS, Report, open_reports
from client.ingest.reports.formats import AUTO
from client.ingest.workers import read_all
from common.errors import ConfigurationError, InputRefusedError
from common.imaging.marks import Marks
from common.imaging.preparation import Preparation
from common.store import IMAGES, INDEX, LABELS, MANIFEST, Images, Row, write_store
from common.text.sections import merge_sections

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
OURS = (MANIFEST, IMAGES, INDEX, LABELS, REJECTED, ACCOUNT)


@dataclass(frozen=True)
class Source:
    """What a hospital hands to ingest."""

    dicom: Path
    reports: Sequence[Path] = ()
    columns: Mapping[str, str] = field(default_factory=lambda: {column: column for column in COLUMNS})
    """Our column of a CSV report file -> theirs, "" where they have none."""
    format_name: str = AUTO
    """What the report files are; see `client.ingest.reports.FORMATS`."""


@dataclass(frozen=True)
class Target:
    """What ingest is to make of it."""

    store: Path
    name: str
    preparation: Preparation
    shares: Shares = field(default_factory=Shares)

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name):
            raise ConfigurationError(
                f"name {self.name!r}: use 1 to 63 letters, digits, dots, hyphens or underscores, "
                "a letter or digit first"
            )


@dataclass(frozen=True)
class Survey:
    """What there is to read, and what was refused at sight."""

    folder: Path
    files: Sequence[Path]
    """In byte order of their paths."""
    reports: Sequence[Report]
    refused_files: Sequence[Refusal]
    refused_reports: Sequence[Refusal]
    num_report_files: int
    """Of the folder's files those that were read as reports."""


def survey(source: Source, target: Target) -> Survey:
    """Read the reports and list the files; no pixel is read and nothing is written.

    Raises:
        ConfigurationError: the store's place is taken by something else, or a path or a column is wrong.
        InputRefusedError: there is no file, or a report file cannot be read.
    """
    _require_free(target.store, source)
    if not source.dicom.is_dir():
        raise ConfigurationError(f"{source.dicom} is not a folder; give the folder of DICOM files as --dicom")
    reports: list[Report] = []
    refused_reports: list[Refusal] = []
    leave_out: frozenset[Path] = frozenset()
    for path in source.reports:
        opened = open_reports(path, source.columns, format_name=source.format_name, images=source.dicom)
        reports += opened.reports
        refused_reports += opened.refusals
        leave_out |= opened.files
    files, refused_files = scan(source.dicom, leave_out=leave_out)
    if not files:
        raise _nothing_found(source.dicom, refused_files)
    folder = source.dicom.resolve()
    inside = sum(file.is_relative_to(folder) for file in leave_out)
    return Survey(source.dicom, files, reports, refused_files, refused_reports, inside)


def _require_free(store: Path, source: Source) -> None:
    if store.resolve().is_relative_to(source.dicom.resolve()):
        raise ConfigurationError(f"{store} lies inside the DICOM folder; give a --store outside of it")
    if not store.exists():
        return
    if not store.is_dir():
        raise ConfigurationError(f"{store} is a file; give a new folder as --store")
    if not (store / MANIFEST).exists() and not all(_is_ours(entry.name) for entry in store.iterdir()):
        raise ConfigurationError(
            f"{store} exists and is not a store; give a new folder as --store, or empty this one"
        )


def _is_ours(name: str) -> bool:
    return name in OURS or _is_unfinished(name)


def _is_unfinished(name: str) -> bool:
    """Tell whether `name` is what `whole_file` leaves of a store's file when it is killed."""
    return name.startswith(tuple(f".{ours}." for ours in OURS))


def _nothing_found(folder: Path, refused: Iterable[Refusal]) -> InputRefusedError:
    reasons = ", ".join(f"{reason} {count}" for reason, count in _by_reason(refused).items())
    return InputRefusedError(
        f"no DICOM image under {folder} ({reasons or 'it is empty'}); nothing was written, "
        "give the folder that holds the images as --dicom"
    )


def ingest(
    found: Survey,
    target: Target,
    pseudonyms: Pseudonyms,
    *,
    workers: int,
    after_file: Callable[[], None] = lambda: None,
) -> Account:
    """Build the store; the same input, secret and shares give the same bytes, whatever `workers` is.

    An older store in its place is replaced, but only once there is something to replace it with.

    Args:
        found: what to read; see `survey`.
        target: the store to write.
        pseudonyms: the site's.
        workers: number of processes that decode.
        after_file: called after each file, for progress.

    Raises:
        InputRefusedError: not one image could be used.
        ConfigurationError: the disk is full.
    """
    with _folder(target.store), tempfile.TemporaryFile(dir=target.store) as scratch:
        images: list[Header] = []
        kept: list[Kept] = []
        paths: list[str] = []
        refused_files = list(found.refused_files)
        for file, outcome in _outcomes(found.files, target.preparation, workers):
            path = os.path.relpath(file, found.folder)
            if isinstance(outcome, Reason):
                refused_files.append(Refusal(path, outcome))
            else:
                paths.append(path)
                images.append(outcome.header)
                kept.append(Kept(scratch.tell(), outcome.numbers, outcome.marks))
                scratch.write(outcome.frames.tobytes())
            after_file()
        if not images:
            raise _nothing_found(found.folder, refused_files)
        pairing = pair(images, found.reports, files=paths)
        refused_reports = [*found.refused_reports, *pairing.refused]
        write_rejected(target.store, [*refused_files, *refused_reports])
        places = place(images, found.reports, pairing, pseudonyms)
        rows = _rows(places, images, kept, found.reports, target, scratch)
        account = _account(found, pairing, refused_files, refused_reports, images=len(images))
        write_account(target.store, account)
        write_store(target.store, name=target.name, preparation=target.preparation, rows=rows)
    return account


@dataclass(frozen=True)
class Kept:
    """Where an image's frames lie in the scratch file, and what the store says of them."""

    position: int
    numbers: tuple[int, ...]
    marks: Marks


@contextmanager
def _folder(store: Path) -> Iterator[None]:
    """Make the folder, or sweep out what a killed ingest left; take it away if nothing comes into it."""
    store.mkdir(parents=True, exist_ok=True)
    for entry in store.iterdir():
        if _is_unfinished(entry.name):
            entry.unlink()
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise ConfigurationError(f"the disk of {store} is full; make room and ingest again") from None
        raise
    finally:
        if not any(store.iterdir()):
            store.rmdir()


def _outcomes(
    files: Sequence[Path], preparation: Preparation, workers: int
) -> Iterator[tuple[Path, Picture | Reason]]:
    """Read the files in order; of an instance that comes twice the first file counts."""
    seen: set[str] = set()
    read = partial(read_images, preparation=preparation)
    for file, outcome in zip(files, read_all(files, read, workers=workers), strict=True):
        if isinstance(outcome, Reason):
            yield file, outcome
        elif outcome.header.instance_uid in seen:
            yield file, Reason.DUPLICATE_INSTANCE
        else:
            seen.add(outcome.header.instance_uid)
            yield file, outcome


def _rows(
    places: Iterable[Place],
    images: Sequence[Header],
    kept: Sequence[Kept],
    reports: Sequence[Report],
    target: Target,
    scratch: BinaryIO,
) -> Iterator[Row]:
    """One row for each frame of an image, one for each report without an image."""
    sections = [report.parts() for report in reports]
    for spot in places:
        row = Row(
            instance=spot.instance,
            study=spot.study,
            patient=spot.patient,
            image=None,
            modality="",
            view="",
            split=target.shares.split(spot.patient),
            sections=merge_sections(sections[report] for report in spot.reports),
        )
        if spot.image is None:
            yield row
            continue
        header, frames = images[spot.image], kept[spot.image]
        row = replace(row, modality=header.modality, view=header.view, marks=frames.marks)
        for number, pixels in zip(frames.numbers, _pixels(scratch, target.preparation, frames), strict=True):
            yield replace(row, image=pixels, frame=number)


def _pixels(scratch: BinaryIO, preparation: Preparation, frames: Kept) -> Images:
    """(F, C, S, S)."""
    size = preparation.image_size
    shape = (len(frames.numbers), preparation.channels, size, size)
    scratch.seek(frames.position)
    return np.frombuffer(scratch.read(math.prod(shape)), np.uint8).reshape(shape)


def _account(
    found: Survey, pairing: Pairing, files: Sequence[Refusal], reports: Sequence[Refusal], *, images: int
) -> Account:
    with_report = sum(bool(numbers) for numbers in pairing.reports_of)
    paired = len({number for numbers in pairing.reports_of for number in numbers})
    return Account(
        files=FileCounts(
            seen=images + len(files) + found.num_report_files,
            images=images,
            reports=found.num_report_files,
            refused=_by_reason(files),
        ),
        images=ImageCounts(with_report=with_report, without_report=images - with_report),
        reports=ReportCounts(
            read=paired + len(pairing.unpaired) + len(reports),
            paired=paired,
            without_image=len(pairing.unpaired),
            refused=_by_reason(reports),
        ),
        scrubbed={},
    )


def _by_reason(refused: Iterable[Refusal]) -> dict[str, int]:
    return dict(sorted(Counter(refusal.reason.value for refusal in refused).items()))

"""From an archive to a store: read, admit, pair, scrub, place, write; then all at once into place.

Memory holds the headers of images, never their pixels, and some hundred reports; the others wait on disc. The
same input, secret and shares give the same bytes,
whatever the number of workers, and however often the ingest was killed on the way.
"""

import hashlib
import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from importlib import metadata
from itertools import chain
from pathlib import Path

import client.ingest.images
import common.imaging
from client.ingest.account import Account, FileCounts, ImageCounts, ReportCounts, write_account
from client.ingest.archive import Archive, admit, read_files
from client.ingest.identity import Nameless
from client.ingest.journal import Journal
from client.ingest.pairing import Pairing, pair
from client.ingest.placement import Place, place
from client.ingest.pseudonyms import Pseudonyms, Shares
from client.ingest.rejected import Refusal, write_rejected
from client.ingest.survey import Survey
from client.ingest.texts import Texts, change_marks, read_texts
from client.ingest.workplace import Workplace, open_workplace
from common.errors import ConfigurationError, FederationError, InputRefusedError
from common.imaging.preparation import Preparation
from common.store import IMAGES, Row, read_manifest, write_store

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
DECODERS = (
    "numpy",
    "pillow",
    "pydicom",
    "pyjpegls",
    "pylibjpeg-libjpeg",
    "pylibjpeg-openjpeg",
    "pylibjpeg-rle",
)
"""Distributions that have a part in what pixels a file gives."""


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
class Ingested:
    """What an ingest did."""

    account: Account
    num_read: int
    """Files that were read; the others were known from an ingest before."""


def ingest(
    found: Survey,
    target: Target,
    pseudonyms: Pseudonyms,
    *,
    workers: int,
    after_file: Callable[[bool], None] = lambda _: None,
) -> Ingested:
    """Build the store; an older one in its place is replaced once the new one is whole.

    Args:
        found: what to read; see `survey`.
        target: the store to write.
        pseudonyms: the site's.
        workers: number of processes that decode, and that scrub reports.
        after_file: called after each file, for progress; True if it was read, False if it was known.

    Raises:
        InputRefusedError: not one image, or without a folder of images not one report, could be used.
        ConfigurationError: the disk is full, or another ingest is writing this store.
    """
    with closing(found.reports):
        return _ingest(found, target, pseudonyms, workers=workers, after_file=after_file)


def _ingest(
    found: Survey,
    target: Target,
    pseudonyms: Pseudonyms,
    *,
    workers: int,
    after_file: Callable[[bool], None],
) -> Ingested:
    num_read = 0

    def count(read: bool) -> None:
        nonlocal num_read
        num_read += read
        after_file(read)

    with open_workplace(target.store) as workplace:
        with _journal(workplace, target, pseudonyms) as journal:
            folder = found.folder or Path()
            outcomes = read_files(
                folder, found.files, journal, target.preparation, workers=workers, after_file=count
            )
            archive = admit(outcomes, found.identity)
            archive.refused = [*found.refused_files, *archive.refused]
            account = _write(found, archive, target, pseudonyms, workplace, journal, workers=workers)
        workplace.commit()
    return Ingested(account, num_read)


def _journal(workplace: Workplace, target: Target, pseudonyms: Pseudonyms) -> Journal:
    preparation = target.preparation
    return Journal(
        workplace.folder,
        target.store,
        key=pseudonyms.key("ingest journal"),
        recipe=_recipe(preparation),
        frame_shape=(preparation.channels, preparation.image_size, preparation.image_size),
        store_digest=_digest_of_images(target.store),
    )


def _recipe(preparation: Preparation) -> str:
    """Everything besides a file that decides what pixels it gives: the settings, the code, the decoders."""
    digest = hashlib.sha256(preparation.model_dump_json().encode())
    for package in (client.ingest.images, common.imaging):
        for source in sorted(file for folder in package.__path__ for file in Path(folder).glob("*.py")):
            digest.update(source.read_bytes())
    digest.update(json.dumps([_version(name) for name in DECODERS]).encode())
    return digest.hexdigest()


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return ""


def _digest_of_images(folder: Path) -> str:
    """By the manifest of the store in `folder`; "" where there is none, or not all of its images."""
    try:
        manifest = read_manifest(folder)
        whole = (folder / IMAGES).stat().st_size == manifest.num_images * math.prod(manifest.image_shape)
    except (FederationError, OSError):
        return ""
    return manifest.sha256[IMAGES] if whole else ""


def _write(
    found: Survey,
    archive: Archive,
    target: Target,
    pseudonyms: Pseudonyms,
    workplace: Workplace,
    journal: Journal,
    *,
    workers: int,
) -> Account:
    """Pair, scrub and place what was read, and write the whole store beside the old one."""
    pairing = pair(
        archive.images,
        found.reports,
        files=archive.paths,
        nameless_by_study=found.identity.nameless is Nameless.STUDY,
        links=found.identity.links,
    )
    if not archive.images and (found.folder is not None or not found.reports.num_alone()):
        if not workplace.holds_store:
            workplace.leave()
        raise _nothing_found(found, archive)
    texts = read_texts(archive.images, found.reports, pairing, workers=workers)
    places = place(archive.images, found.reports, pairing, pseudonyms)
    first_rows: dict[str, int] = {}
    manifest = write_store(
        workplace.next,
        name=target.name,
        preparation=target.preparation,
        rows=_rows(places, archive, texts, target.shares, journal, first_rows),
    )
    refused = chain(archive.refused, found.reports.refusals())
    write_rejected(workplace.next, refused, found.reports.scratch)
    account = _account(found, archive, pairing, texts, num_images=manifest.num_images)
    write_account(workplace.next, account)
    paths = [*archive.paths, *(refusal.place for refusal in archive.refused)]
    journal.write_next(workplace.next, paths, first_rows, store_digest=manifest.sha256[IMAGES])
    return account


def _nothing_found(found: Survey, archive: Archive) -> InputRefusedError:
    if found.folder is None:
        return InputRefusedError(
            "not one report can be used; nothing was written, see --map and --missing-patient"
        )
    reasons = ", ".join(f"{reason} {count}" for reason, count in _by_reason(archive.refused).items())
    return InputRefusedError(
        f"no image under {found.folder} can be used ({reasons or 'it is empty'}); nothing was written, "
        "give the folder that holds the images as --dicom"
    )


def _rows(
    places: Iterable[Place],
    archive: Archive,
    texts: Texts,
    shares: Shares,
    journal: Journal,
    first_rows: dict[str, int],
) -> Iterator[Row]:
    """One row for each frame of an image, one for each report without an image.

    `first_rows` is told, of each file, where in the store's images its first frame is.
    """
    num_images = 0
    for spot in places:
        sections = texts.of(spot.reports)
        row = Row(
            instance=spot.instance,
            study=spot.study,
            patient=spot.patient,
            image=None,
            modality="",
            view="",
            split=shares.split(spot.patient),
            sections=sections,
            change=change_marks(sections),
            days=spot.days,
        )
        if spot.image is None:
            yield row
            continue
        header, read = archive.images[spot.image], archive.reads[spot.image]
        first_rows[archive.paths[spot.image]] = num_images
        row = replace(row, modality=header.modality, view=header.view, marks=read.marks)
        for number, pixels in zip(read.numbers, journal.frames(read), strict=True):
            yield replace(row, image=pixels, frame=number)
        num_images += len(read.numbers)


def _account(found: Survey, archive: Archive, pairing: Pairing, texts: Texts, *, num_images: int) -> Account:
    with_report = sum(
        len(read.numbers) for read, reports in zip(archive.reads, pairing.reports_of, strict=True) if reports
    )
    paired, alone = pairing.num_paired, found.reports.num_alone()
    refused = _by_reason(found.reports.refusals())
    return Account(
        files=FileCounts(
            seen=len(archive.paths) + len(archive.refused) + found.num_report_files,
            images=len(archive.paths),
            reports=found.num_report_files,
            refused=_by_reason(archive.refused),
        ),
        images=ImageCounts(with_report=with_report, without_report=num_images - with_report),
        reports=ReportCounts(
            read=paired + alone + sum(refused.values()),
            paired=paired,
            without_image=alone,
            refused=refused,
        ),
        scrubbed=dict(sorted(texts.scrubbed.items())),
    )


def _by_reason(refused: Iterable[Refusal]) -> dict[str, int]:
    return dict(sorted(Counter(refusal.reason.value for refusal in refused).items()))

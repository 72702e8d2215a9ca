"""A store, measured: each figure once, nothing decided.

Shapes: R rows, N images; images are told apart by their row, as people would look them up.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cache

import numpy as np
import numpy.typing as npt

from client.ingest.account import read_account
from client.ingest.quality import texts
from client.ingest.quality.duplicates import leaked, pairs_across, surplus, twins
from client.ingest.quality.figures import (
    NOT_GIVEN,
    Distribution,
    Duplicates,
    Images,
    Quality,
    Rows,
    Spread,
    Stages,
    Texts,
)
from client.ingest.quality.fingerprints import Prints, fingerprints
from client.ingest.quality.orientation import RADIOGRAPHS, suspects_of
from client.ingest.quality.pixels import blank, small
from client.ingest.rejected import count_rejected
from common.store import NO_IMAGE, Store
from common.store import Images as Pixels
from common.text.entities import entity_reader
from common.text.sections import split_sentences

COARSEST = 48
"""Pixels along the shorter side of a file's image, below which it shows nothing."""
MOST_PAIRS = 200
"""Pictures of several patients that are listed; all are counted."""

Numbers = npt.NDArray[np.int64]


def measure(store: Store) -> Quality:
    """Measure `store`.

    Time: 1 to 2 ms a row of a 128-pixel image and a report. Memory: 1 kB a row, besides the index.

    Raises:
        InputRefusedError: the account beside the store is of another version.
    """
    reports = texts.reports_of(
        store.column("study").tolist(), store.column("patient").tolist(), store.sections()
    )
    rows = np.flatnonzero(store.column("image") != NO_IMAGE)
    pixels = first_channel(store.images)
    empty = blank(pixels)
    prints = fingerprints(pixels)
    prints[empty] = 0
    return Quality(
        name=store.name,
        digest=store.digest(),
        stages=_stages(store, reports),
        images=_images(store, rows, pixels, prints, empty),
        duplicates=_duplicates(store, rows, pixels, prints, empty),
        texts=_texts(reports),
        spread=_spread(store, reports),
    )


def first_channel(images: Pixels) -> Pixels:
    """(N, S, S) of (N, C, S, S): the window that a person would look at first."""
    return images[:, 0]


def _stages(store: Store, reports: Sequence[texts.Report]) -> Stages:
    account = read_account(store.folder)
    has_report = np.array([bool(sections) for sections in store.sections()], bool)
    return Stages(
        files_seen=account.files.seen if account else None,
        files_decoded=account.files.images if account else None,
        files_opened=account.files.dicom if account else None,
        reports_read=account.reports.read if account else None,
        reports_paired=account.reports.paired if account else None,
        images=store.manifest.num_images,
        reports=len(reports),
        pairs=int((has_report & (store.column("image") != NO_IMAGE)).sum()),
        rows=len(store),
        patients=store.manifest.num_patients,
        rejected=count_rejected(store.folder),
        scrubbed=dict(account.scrubbed) if account else {},
    )


def _images(
    store: Store, rows: Numbers, pixels: Pixels, prints: Prints, empty: npt.NDArray[np.bool_]
) -> Images:
    kinds = list(zip(store.column("modality")[rows], store.column("view")[rows], strict=True))
    positions: dict[str, list[int]] = {}
    for image, position in suspects_of(prints, kinds).items():
        positions.setdefault(position.value, []).append(int(rows[image]))
    return Images(
        blank=_listed(rows[empty]),
        small=_listed(rows[(small(pixels) | _coarse(store)[rows]) & ~empty]),
        text_in_pixels=_listed(np.flatnonzero(_text_in_pixels(store))),
        radiographs=sum(modality in RADIOGRAPHS for modality, _ in kinds),
        positions={name: tuple(found) for name, found in positions.items()},
    )


def _coarse(store: Store) -> npt.NDArray[np.bool_]:
    """(R,) whether the file's own image was smaller than anybody could read."""
    return np.array(
        [
            marks is not None and min(marks["source_rows"], marks["source_columns"]) < COARSEST
            for marks in store.column("marks")
        ],
        bool,
    )


def _text_in_pixels(store: Store) -> npt.NDArray[np.bool_]:
    """(R,) whether text was found in the pixels, or announced by the header, and left in."""
    return np.array(
        [marks is not None and marks["burned_in"] in ("flagged", "found") for marks in store.column("marks")],
        bool,
    )


def _duplicates(
    store: Store, rows: Numbers, pixels: Pixels, prints: Prints, empty: npt.NDArray[np.bool_]
) -> Duplicates:
    found = twins(pixels, prints, empty)
    _, owners = np.unique(store.column("patient")[rows].astype(str), return_inverse=True)
    trained = store.column("split")[rows] == "train"
    _, copies_elsewhere = surplus(found.same, owners)
    own, elsewhere = surplus(found.alike, owners)
    return Duplicates(
        same_pixels=len(found.same) - len(np.unique(found.same)),
        same_pixels_other_patient=copies_elsewhere,
        same_picture=own,
        same_picture_other_patient=elsewhere,
        held_out=int((~trained).sum()),
        leaked=_listed(rows[leaked(found.alike, trained)]),
        across_patients=tuple(
            (int(one), int(other)) for one, other in rows[pairs_across(found.alike, owners)[:MOST_PAIRS]]
        ),
    )


def _texts(reports: Sequence[texts.Report]) -> Texts:
    repeated = texts.repeats(reports)
    languages = texts.languages(reports)
    distribution = counted(languages.values())
    most = next(iter(distribution), "")
    kinds: dict[str, list[int]] = {}
    for row, spans in texts.residual(reports).items():
        for kind in sorted({span.kind.value for span in spans}):
            kinds.setdefault(kind, []).append(row)
    return Texts(
        reports=len(reports),
        empty=tuple(report.row for report in reports if not report.text.strip()),
        words=dict(sorted(texts.word_counts(reports).items())),
        repeated=repeated.exact,
        repeated_form=repeated.normalised,
        template=repeated.template,
        languages=distribution,
        language_rows=_rows_by(languages, leave_out=most),
        identifier_suspects={kind: tuple(found) for kind, found in sorted(kinds.items())},
    )


def _rows_by(values: Mapping[int, str], *, leave_out: str) -> dict[str, Rows]:
    found: dict[str, list[int]] = {}
    for row, value in values.items():
        if value != leave_out:
            found.setdefault(value, []).append(row)
    return {value: tuple(found[value]) for value in sorted(found)}


def _spread(store: Store, reports: Sequence[texts.Report]) -> Spread:
    patients, splits = store.column("patient"), store.column("split")
    split_of = {
        (patient, split): row for row, (patient, split) in enumerate(zip(patients, splits, strict=True))
    }
    by_patient = Counter(patient for patient, _ in split_of)
    twice = {patient for patient, count in by_patient.items() if count > 1}
    first = {patient: row for row, patient in reversed(list(enumerate(patients))) if patient in twice}
    return Spread(
        modality=counted(store.column("modality")),
        view=counted(store.column("view")),
        split=counted(splits),
        patients=counted(split for _, split in split_of),
        entities=_entities(reports),
        patients_in_two_splits=tuple(sorted(first.values())),
    )


def _entities(reports: Sequence[texts.Report]) -> dict[str, tuple[int, int, int]]:
    """Per report, an entity is present if one sentence says so, else uncertain, else absent."""
    read = cache(entity_reader().read)
    ranks = {"present": 0, "uncertain": 1, "absent": 2}
    counts: dict[str, list[int]] = {}
    for report in reports:
        best: dict[str, int] = {}
        for sentence in split_sentences(report.text):
            for mention in read(sentence):
                rank = ranks[mention.polarity]
                best[mention.entity] = min(rank, best.get(mention.entity, rank))
        for entity, rank in best.items():
            counts.setdefault(entity, [0, 0, 0])[rank] += 1
    ordered = sorted(counts.items(), key=lambda item: (-sum(item[1]), item[0]))
    return {entity: (said[0], said[1], said[2]) for entity, said in ordered}


def counted(values: Iterable[str]) -> Distribution:
    """Value -> count, the most frequent first."""
    counts = Counter(value or NOT_GIVEN for value in values)
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _listed(rows: Numbers) -> Rows:
    return tuple(int(row) for row in rows)

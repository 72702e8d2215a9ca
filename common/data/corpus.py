"""The rows of one or more stores, ready to be drawn from: images on disc, reports as word pieces."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from common.data.meanings import Meanings, pool_meanings, read_meanings
from common.errors import InputRefusedError
from common.imaging.preparation import Preparation
from common.model.report_encoder import ReportEncoder
from common.model.tabular import code_of, sentence_of
from common.spec.model import MetadataField
from common.spec.run import Spec
from common.store import NO_IMAGE, Images, Split, Store
from common.text.entities import SILENT, EntityReader, Statement, entity_reader
from common.text.laterality import swap_laterality
from common.text.ontology import Ontology
from common.text.sections import split_sentences, trained_sections, training_text
from common.text.tokenizer import ReportTokenizer

T = TypeVar("T")

Pieces = tuple[int, ...]
"""Word pieces of one sentence, without [CLS] and [SEP]."""

LONGEST_SENTENCE = 512
"""Word pieces kept of one sentence; far beyond what any text tower reads."""


@dataclass(frozen=True)
class Corpus:
    """n rows; row i has image `place[i]` of `sources[source[i]]` and report `sentences[i]`, or lacks one."""

    sources: tuple[Images, ...]
    """Memory-mapped (N, C, S, S) uint8 arrays, one per store."""
    source: npt.NDArray[np.int64]
    place: npt.NDArray[np.int64]
    """(n,) NO_IMAGE where a report has no image."""
    sentences: tuple[tuple[Pieces, ...], ...]
    study: npt.NDArray[np.int64]
    """(n,) study number, unique over all stores."""
    findings: tuple[tuple[Statement, ...], ...] | None = None
    """What each sentence says of the ontology's entities; None where nobody asked."""
    reader: EntityReader | None = None
    """Who read `findings`."""
    sections: tuple[tuple[int, ...], ...] | None = None
    """For each sentence the number of its section in the report; None where nobody asked."""
    mirrored: tuple[tuple[Pieces | None, ...], ...] | None = None
    """Each sentence as it reads of the mirrored image, None where that is not certain; None where nobody
    asked."""
    meanings: Meanings | None = None
    """What a frozen encoder makes of each sentence; None where nobody asked."""
    metadata: npt.NDArray[np.int64] | None = None
    """(n, M) codes of the index's columns; None where nobody asked."""

    def __len__(self) -> int:
        return len(self.place)

    @cached_property
    def seen_of(self) -> dict[int, npt.NDArray[np.int64]]:
        """Study number -> its rows that have an image."""
        rows = np.flatnonzero(self.has_image)
        order = rows[np.argsort(self.study[rows], kind="stable")]
        numbers, starts = np.unique(self.study[order], return_index=True)
        return dict(zip(numbers.tolist(), np.split(order, starts[1:]), strict=True))

    @property
    def has_image(self) -> npt.NDArray[np.bool_]:
        """(n,)."""
        return np.not_equal(self.place, NO_IMAGE)

    def images(self, rows: npt.NDArray[np.int64]) -> Images:
        """(len(rows), C, S, S) grey values; zeros where a row has no image."""
        gathered = np.zeros((len(rows), *self.sources[0].shape[1:]), dtype=np.uint8)
        for slot, row in enumerate(rows):
            if self.place[row] != NO_IMAGE:
                gathered[slot] = self.sources[self.source[row]][self.place[row]]
        return gathered


@dataclass(frozen=True)
class Reading:
    """What a run wants to know of the rows beside their images and words."""

    reader: EntityReader | None = None
    """Reads findings in each sentence."""
    by_section: bool = False
    mirrored: bool = False
    told: tuple[MetadataField, ...] = ()
    """Columns told as one more sentence of the report."""
    coded: tuple[MetadataField, ...] = ()
    """Columns for the metadata tower."""
    buckets: int = 1
    encoder: ReportEncoder | None = None
    """Says how alike sentences are."""


PLAIN = Reading()
"""Images and words alone."""


def reading_of(spec: Spec, ontology: Ontology | None = None, encoder: ReportEncoder | None = None) -> Reading:
    """What `spec` wants to know of the rows; `ontology` and `encoder` are the project's, if it has them."""
    metadata = spec.model.metadata
    return Reading(
        reader=entity_reader(ontology) if spec.objectives.reads_findings else None,
        by_section=spec.data.section_share > 0,
        mirrored=spec.data.flip_share > 0,
        told=spec.data.metadata_text,
        coded=() if metadata is None else metadata.fields,
        buckets=1 if metadata is None else metadata.buckets,
        encoder=encoder,
    )


def read_corpus(
    store: Store,
    split: Split | None,
    tokenizer: ReportTokenizer,
    *,
    preparation: Preparation,
    reading: Reading = PLAIN,
) -> Corpus:
    """Tokenise the reports of `split` (all rows when None); the images stay on disc.

    Args:
        store: where the rows lie.
        split: which of them.
        tokenizer: the project's.
        preparation: the spec's.
        reading: what else is asked of them.

    Raises:
        InputRefusedError: the store's images were prepared otherwise.
    """
    require_preparation(store, preparation)
    rows = np.arange(len(store)) if split is None else store.rows(split)
    sections = store.sections()
    place = store.index.column("image").to_numpy().astype(np.int64)
    _, study = np.unique(store.column("study").astype(str), return_inverse=True)
    told = [store.column(field) for field in reading.told]
    prefixes = [sentence_of(reading.told, [str(column[row] or "") for column in told]) for row in rows]
    read = [
        _read(sections[row], prefix, tokenizer, reading) for row, prefix in zip(rows, prefixes, strict=True)
    ]
    return Corpus(
        sources=(store.images,),
        source=np.zeros(len(rows), dtype=np.int64),
        place=place[rows],
        sentences=tuple(tuple(sentence.pieces for sentence in report) for report in read),
        study=study[rows].astype(np.int64),
        findings=_each(read, lambda sentence: sentence.statement) if reading.reader is not None else None,
        reader=reading.reader,
        sections=_each(read, lambda sentence: sentence.section) if reading.by_section else None,
        mirrored=_each(read, lambda sentence: sentence.mirrored) if reading.mirrored else None,
        meanings=None if reading.encoder is None else _meanings(read, reading, reading.encoder, store.folder),
        metadata=_codes(store, rows, reading) if reading.coded else None,
    )


def pool(corpora: Sequence[Corpus]) -> Corpus:
    """All rows of `corpora`, in order, as one corpus; studies of different stores stay different."""
    source_start = np.cumsum([0, *(len(corpus.sources) for corpus in corpora)])
    study_start = np.cumsum([0, *(1 + int(corpus.study.max(initial=0)) for corpus in corpora)])
    return Corpus(
        sources=tuple(source for corpus in corpora for source in corpus.sources),
        source=np.concatenate(
            [c.source + start for c, start in zip(corpora, source_start[:-1], strict=True)]
        ),
        place=np.concatenate([corpus.place for corpus in corpora]),
        sentences=tuple(report for corpus in corpora for report in corpus.sentences),
        study=np.concatenate([c.study + start for c, start in zip(corpora, study_start[:-1], strict=True)]),
        findings=_chained([corpus.findings for corpus in corpora]),
        reader=corpora[0].reader,
        sections=_chained([corpus.sections for corpus in corpora]),
        mirrored=_chained([corpus.mirrored for corpus in corpora]),
        meanings=_pooled_meanings([corpus.meanings for corpus in corpora]),
        metadata=_stacked([corpus.metadata for corpus in corpora]),
    )


def _chained(parts: Sequence[tuple[T, ...] | None]) -> tuple[T, ...] | None:
    known = [part for part in parts if part is not None]
    return tuple(row for part in known for row in part) if len(known) == len(parts) else None


def _pooled_meanings(parts: Sequence[Meanings | None]) -> Meanings | None:
    known = [part for part in parts if part is not None]
    return pool_meanings(known) if len(known) == len(parts) else None


def _stacked(parts: Sequence[npt.NDArray[np.int64] | None]) -> npt.NDArray[np.int64] | None:
    known = [part for part in parts if part is not None]
    return np.concatenate(known) if len(known) == len(parts) else None


def require_preparation(store: Store, preparation: Preparation) -> None:
    """Refuse a store whose images were prepared otherwise than the spec asks.

    Raises:
        InputRefusedError: they were.
    """
    found = store.manifest.preparation
    if found == preparation:
        return
    if found.image_size != preparation.image_size:
        has, asked = (f"{size}x{size}" for size in (found.image_size, preparation.image_size))
        raise InputRefusedError(
            f"store {store.name} holds {has} images, but model.image_size is {preparation.image_size}; "
            f"ingest again with --image-size {preparation.image_size} or change the spec",
            outward=f"store holds {has} images, not {asked}",
        )
    theirs, ours = found.model_dump(mode="json"), preparation.model_dump(mode="json")
    key = next(key for key in ours if theirs[key] != ours[key])
    raise InputRefusedError(
        f"store {store.name} was made with data.images.{key} = {json.dumps(theirs[key])}, "
        f"but the spec says {json.dumps(ours[key])}; ingest again with --spec or change the spec",
        outward=f"store was made with another data.images.{key}",
    )


@dataclass(frozen=True)
class _Sentence:
    pieces: Pieces
    section: int
    statement: Statement
    mirrored: Pieces | None
    text: str
    turned: str | None
    """As `mirrored`, in words."""


def _read(
    sections: Mapping[str, str], prefix: str, tokenizer: ReportTokenizer, reading: Reading
) -> list[_Sentence]:
    """The report's sentences, after what metadata tell; one without any word is dropped."""
    parts = trained_sections(sections) if reading.by_section else [training_text(sections)]
    found = [(number, sentence) for number, part in enumerate(parts) for sentence in split_sentences(part)]
    if found and prefix:
        found.insert(0, (0, prefix))
    read = []
    for number, sentence in found:
        pieces = _pieces(sentence, tokenizer)
        if pieces:
            statement = SILENT if reading.reader is None else reading.reader.statement(sentence)
            turned = swap_laterality(sentence) if reading.mirrored else None
            mirrored = None if turned is None else _pieces(turned, tokenizer)
            read.append(_Sentence(pieces, number, statement, mirrored, sentence, turned))
    return read


def _each(
    reports: Sequence[Sequence[_Sentence]], told: Callable[[_Sentence], T]
) -> tuple[tuple[T, ...], ...]:
    return tuple(tuple(told(sentence) for sentence in report) for report in reports)


def _meanings(
    read: Sequence[Sequence[_Sentence]], reading: Reading, encoder: ReportEncoder, folder: Path
) -> Meanings:
    turned = _each(read, lambda sentence: sentence.turned) if reading.mirrored else None
    return read_meanings(_each(read, lambda sentence: sentence.text), turned, encoder, folder)


def _codes(store: Store, rows: npt.NDArray[np.int64], reading: Reading) -> npt.NDArray[np.int64]:
    columns = [store.column(field)[rows] for field in reading.coded]
    coded = [[code_of(str(value or ""), reading.buckets) for value in column] for column in columns]
    return np.array(coded, dtype=np.int64).reshape(len(columns), len(rows)).T.copy()


def _pieces(sentence: str, tokenizer: ReportTokenizer) -> Pieces:
    ids, _ = tokenizer.encode([sentence], max_tokens=LONGEST_SENTENCE + 2)
    return tuple(ids[0, 1:-1].tolist())

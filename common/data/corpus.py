"""The rows of one or more stores, ready to be drawn from: images on disc, reports as word pieces."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from common.errors import InputRefusedError
from common.imaging.preparation import Preparation
from common.spec.run import Spec
from common.store import NO_IMAGE, Images, Split, Store
from common.text.entities import EntityReader, entity_reader
from common.text.sections import split_sentences, training_text
from common.text.tokenizer import ReportTokenizer

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
    findings: tuple[tuple[frozenset[int], ...], ...] | None = None
    """For each sentence the places in the ontology of what it says is there; None where nobody asked."""

    def __len__(self) -> int:
        return len(self.place)

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


def read_corpus(
    store: Store,
    split: Split | None,
    tokenizer: ReportTokenizer,
    *,
    preparation: Preparation,
    reader: EntityReader | None = None,
) -> Corpus:
    """Tokenise the reports of `split` (all rows when None); the images stay on disc.

    Args:
        store: where the rows lie.
        split: which of them.
        tokenizer: the project's.
        preparation: the spec's.
        reader: reads findings in each sentence too; None where no objective asks for them.

    Raises:
        InputRefusedError: the store's images were prepared otherwise.
    """
    require_preparation(store, preparation)
    rows = np.arange(len(store)) if split is None else store.rows(split)
    sections = store.sections()
    place = store.index.column("image").to_numpy().astype(np.int64)
    _, study = np.unique(store.column("study").astype(str), return_inverse=True)
    reports = [split_sentences(training_text(sections[row])) for row in rows]
    read = [_read(report, tokenizer, reader) for report in reports]
    return Corpus(
        sources=(store.images,),
        source=np.zeros(len(rows), dtype=np.int64),
        place=place[rows],
        sentences=tuple(sentences for sentences, _ in read),
        study=study[rows].astype(np.int64),
        findings=None if reader is None else tuple(findings for _, findings in read),
    )


def reader_of(spec: Spec) -> EntityReader | None:
    """What reads findings in the reports, if an objective of `spec` asks for them."""
    contrastive = spec.objectives.global_contrastive
    asks = contrastive is not None and contrastive.targets == "entities"
    return entity_reader() if asks else None


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
        findings=_pool_findings(corpora),
    )


def _pool_findings(corpora: Sequence[Corpus]) -> tuple[tuple[frozenset[int], ...], ...] | None:
    pooled: list[tuple[frozenset[int], ...]] = []
    for corpus in corpora:
        if corpus.findings is None:
            return None
        pooled += corpus.findings
    return tuple(pooled)


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


def _read(
    report: Sequence[str], tokenizer: ReportTokenizer, reader: EntityReader | None
) -> tuple[tuple[Pieces, ...], tuple[frozenset[int], ...]]:
    """Word pieces and findings of each sentence; a sentence without any word is dropped."""
    pieces = [(sentence, _pieces(sentence, tokenizer)) for sentence in report]
    kept = [(sentence, found) for sentence, found in pieces if found]
    findings = () if reader is None else tuple(reader.stated(sentence) for sentence, _ in kept)
    return tuple(found for _, found in kept), findings


def _pieces(sentence: str, tokenizer: ReportTokenizer) -> Pieces:
    ids, _ = tokenizer.encode([sentence], max_tokens=LONGEST_SENTENCE + 2)
    return tuple(ids[0, 1:-1].tolist())

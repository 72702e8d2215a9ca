"""The rows that a variant is trained on, made from all of them."""

from dataclasses import replace
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from common.data.corpus import Corpus
from common.seeds import derive_seed
from common.store import NO_IMAGE
from simulations.pooled_study.plan import Rows

T = TypeVar("T")
Places = npt.NDArray[np.int64]


def chosen_rows(corpus: Corpus, rows: Rows, seed: int) -> Corpus:
    """What `rows` says of `corpus`; which studies are the half, and whose report is whose, goes by `seed`."""
    rng = np.random.default_rng(derive_seed(seed, "rows") % 2**32)
    order = rng.permutation(len(corpus))
    studies = rng.permutation(np.unique(corpus.study))
    kept = np.isin(corpus.study, studies[: len(studies) // 2])
    match rows:
        case "all":
            return corpus
        case "half":
            return taken(corpus, np.flatnonzero(kept))
        case "half_and_images":
            return _without_reports(corpus, ~kept)
        case "half_and_reports":
            return replace(corpus, place=np.where(kept, corpus.place, NO_IMAGE))
        case "others_reports":
            shuffled = taken(corpus, order)
            return replace(shuffled, source=corpus.source, place=corpus.place, study=corpus.study)
        case "others_metadata":
            return _with_first_sentences_of(corpus, order)


def taken(corpus: Corpus, rows: Places) -> Corpus:
    """The given rows, in that order, without what a frozen encoder makes of them."""

    def each(column: tuple[T, ...] | None) -> tuple[T, ...] | None:
        return None if column is None else tuple(column[row] for row in rows)

    return replace(
        corpus,
        source=corpus.source[rows],
        place=corpus.place[rows],
        sentences=tuple(corpus.sentences[row] for row in rows),
        study=corpus.study[rows],
        findings=each(corpus.findings),
        sections=each(corpus.sections),
        mirrored=each(corpus.mirrored),
        meanings=None,
        metadata=None if corpus.metadata is None else corpus.metadata[rows],
    )


def _without_reports(corpus: Corpus, bare: npt.NDArray[np.bool_]) -> Corpus:
    """`corpus` where the rows `bare` (n,) have an image alone."""

    def each(column: tuple[tuple[T, ...], ...] | None) -> tuple[tuple[T, ...], ...] | None:
        return (
            None
            if column is None
            else tuple(() if gone else row for row, gone in zip(column, bare, strict=True))
        )

    return replace(
        corpus,
        sentences=tuple(() if gone else row for row, gone in zip(corpus.sentences, bare, strict=True)),
        findings=each(corpus.findings),
        sections=each(corpus.sections),
        mirrored=each(corpus.mirrored),
        meanings=None,
    )


def _with_first_sentences_of(corpus: Corpus, others: Places) -> Corpus:
    """`corpus` where the first sentence of each report, what metadata tell, is that of row `others` (n,)."""
    told = [corpus.sentences[other][:1] for other in others]
    sentences = tuple((*first, *row[1:]) for first, row in zip(told, corpus.sentences, strict=True))
    return replace(corpus, sentences=sentences)

"""Rows laid out as the tensors of a batch, with the masks and draws that the spec's objectives need.

Shapes: B rows, C channels, S pixels a side, T word pieces, N patches, K visible ones, V vocabulary.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from common.data.batch import Batch, Entities
from common.data.corpus import Corpus, Pieces
from common.model.encoders import patch_pixels
from common.spec.run import Spec
from common.text.entities import OBSERVED, EntityReader, Statement, together
from common.text.ontology import sentences as ontology_sentences
from common.text.tokenizer import CLS, PAD, SEP, ReportTokenizer, mask_tokens


@dataclass(frozen=True)
class Shown:
    """What is read of one row's report."""

    sentences: Sequence[int]
    """By number, in the order in which they are read."""
    mirrored: bool = False
    """Whether left and right have changed places."""


def build_batch(
    spec: Spec,
    tokenizer: ReportTokenizer,
    corpus: Corpus,
    rows: npt.NDArray[np.int64],
    images: Tensor,
    shown: Sequence[Shown],
    chance: torch.Generator,
) -> Batch:
    """Lay `rows` out as tensors and draw the masks that the spec's objectives need.

    Args:
        spec: of the run.
        tokenizer: the project's.
        corpus: where the rows lie.
        rows: (B,) which of them.
        images: (B, C, S, S) what is seen of them.
        shown: what is read of their reports.
        chance: source of the masks.
    """
    tokens, token_mask = read_reports(spec, corpus, rows, shown)
    told = told_of(corpus, rows, shown)
    batch = Batch(
        images=images,
        has_image=torch.from_numpy(corpus.has_image[rows]),
        tokens=tokens,
        token_mask=token_mask,
        has_text=torch.tensor([bool(read.sentences) for read in shown]),
        study=torch.from_numpy(corpus.study[rows]),
        words=word_vectors(tokens, tokenizer) if spec.objectives.compares_reports else None,
        meanings=_meanings(corpus, rows, shown) if spec.objectives.compares_meanings else None,
        metadata=None if corpus.metadata is None else torch.from_numpy(corpus.metadata[rows]),
        **({} if told is None else told._asdict()),
    )
    if spec.objectives.knowledge is not None and corpus.reader is not None:
        batch = replace(batch, entities=entities_of(corpus.reader, tokenizer))
    batch = _with_hidden_patches(batch, spec, chance)
    batch = _with_hidden_words(batch, spec, tokenizer, chance)
    if spec.objectives.image_text_matching is not None:
        batch = replace(batch, lots=torch.rand(len(rows), 2, generator=chance))
    return batch


def _with_hidden_patches(batch: Batch, spec: Spec, chance: torch.Generator) -> Batch:
    """`batch` with what masked image modelling sees, if the spec asks for it."""
    masked = spec.objectives.masked_image
    if masked is None:
        return batch
    rows = every_few(len(batch), masked.row_share)
    shown = visible_patches(spec, len(rows), masked.ratio, chance)
    return replace(batch, masked_images=rows, visible_patches=shown)


def _with_hidden_words(
    batch: Batch, spec: Spec, tokenizer: ReportTokenizer, chance: torch.Generator
) -> Batch:
    """`batch` with what masked language modelling reads, if the spec asks for it."""
    masked = spec.objectives.masked_language
    if masked is None:
        return batch
    rows = every_few(len(batch), masked.row_share)
    tokens, labels = mask_tokens(
        batch.tokens[rows],
        batch.token_mask[rows],
        ratio=masked.ratio,
        tokenizer=tokenizer,
        generator=chance,
        random_share=masked.random_share,
        kept_share=masked.kept_share,
    )
    return replace(batch, masked_reports=rows, masked_tokens=tokens, token_labels=labels)


def read_reports(
    spec: Spec, corpus: Corpus, rows: npt.NDArray[np.int64], shown: Sequence[Shown]
) -> tuple[Tensor, Tensor]:
    """(B, T) word pieces of what is shown of `rows`, and their (B, T) bool mask."""
    read = []
    for row, part in zip(rows, shown, strict=True):
        sentences: Sequence[Pieces | None] = corpus.sentences[row]
        if part.mirrored:
            assert corpus.mirrored is not None
            sentences = corpus.mirrored[row]
        read.append(tuple(pieces for i in part.sentences if (pieces := sentences[i]) is not None))
    return lay_out(read, max_tokens=spec.model.text.max_tokens)


def _meanings(corpus: Corpus, rows: npt.NDArray[np.int64], shown: Sequence[Shown]) -> Tensor:
    """(B, D) what the shown sentences mean together."""
    known = corpus.meanings
    assert known is not None, "the corpus was read without the project's encoder"
    return torch.stack(
        [
            known.of(row, part.sentences, mirrored=part.mirrored)
            for row, part in zip(rows.tolist(), shown, strict=True)
        ]
    )


class Told(NamedTuple):
    """What the shown sentences say of the F entities: fields of `Batch`, which says what they are."""

    findings: Tensor
    doubted: Tensor
    denied: Tensor
    sides: Tensor
    whole_report: Tensor


def told_of(corpus: Corpus, rows: npt.NDArray[np.int64], shown: Sequence[Shown]) -> Told | None:
    """What the shown sentences say; None where nobody read findings. A whole report that names nothing says
    "normal study"."""
    if corpus.findings is None or corpus.reader is None:
        return None
    normal, shape = corpus.reader.normal, (len(rows), corpus.reader.width)
    flags = [torch.zeros(shape, dtype=torch.bool) for _ in Statement._fields]
    whole = torch.zeros(len(rows), dtype=torch.bool)
    for slot, (row, part) in enumerate(zip(rows, shown, strict=True)):
        report = corpus.findings[row]
        said = together(report[i] for i in part.sentences)
        whole[slot] = bool(report) and len(part.sentences) == len(report)
        named = said.stated - {normal}
        if not named and whole[slot] and normal is not None:
            named = frozenset([normal])
        said = said._replace(stated=named)
        for flag, places in zip(flags, said.mirrored if part.mirrored else said, strict=True):
            flag[slot, list(places)] = True
    stated, doubted, denied, left, right = flags
    return Told(stated, doubted, denied, torch.stack([left, right], dim=-1), whole)


def lay_out(reports: Sequence[tuple[Pieces, ...]], *, max_tokens: int) -> tuple[Tensor, Tensor]:
    """[CLS] sentence sentence ... [SEP], padded to the longest; a missing report is [CLS] [SEP].

    Returns:
        (B, T) int64 word pieces and their (B, T) bool mask, T <= max_tokens.
    """
    joined = [[piece for sentence in report for piece in sentence][: max_tokens - 2] for report in reports]
    longest = max(len(report) for report in joined) + 2
    tokens = torch.tensor([[CLS, *report, SEP] + [PAD] * (longest - 2 - len(report)) for report in joined])
    return tokens, tokens != PAD


def grey_values(images: npt.NDArray[np.uint8]) -> Tensor:
    """(B, C, S, S) uint8 -> the same as float32 in 0..1."""
    return torch.from_numpy(images).float() / 255


def every_few(rows: int, share: float) -> Tensor:
    """(R,) indices spread evenly over `rows`, R = max(1, round(share * rows))."""
    count = max(1, round(share * rows))
    return torch.arange(count) * rows // count


def visible_patches(spec: Spec, rows: int, ratio: float, chance: torch.Generator) -> Tensor:
    """(B, K) a random choice of patches to see, ascending; K = round((1 - ratio) N) within 1..N - 1."""
    total = (spec.model.image_size // patch_pixels(spec.model.image)) ** 2
    seen = max(1, min(total - 1, round((1 - ratio) * total)))
    return torch.rand(rows, total, generator=chance).argsort(dim=1)[:, :seen].sort(dim=1).values


def word_vectors(tokens: Tensor, tokenizer: ReportTokenizer) -> Tensor:
    """(B, T) word pieces -> (B, V) TF-IDF vectors of length one; zeros where no piece is known to public
    text.

    How telling a piece is comes from the ontology's public sentences, so one hospital's vectors say nothing
    of another row. Source: Salton and Buckley 1988, doi:10.1016/0306-4573(88)90021-0.
    """
    counts = torch.zeros(len(tokens), tokenizer.vocabulary_size)
    counts = counts.scatter_add(1, tokens, torch.ones(tokens.shape))
    return F.normalize(counts * _public_rarity(tokenizer), dim=1)


@lru_cache(maxsize=4)
def _public_rarity(tokenizer: ReportTokenizer) -> Tensor:
    """(V,) inverse document frequency among the ontology's sentences; 0 for what is not in any."""
    among = torch.zeros(tokenizer.vocabulary_size)
    total = 0
    for sentence in ontology_sentences():
        ids, _ = tokenizer.encode([sentence], max_tokens=512)
        among[sorted(set(ids[0, 1:-1].tolist()))] += 1
        total += 1
    return torch.where(among > 0, (total / among.clamp(min=1)).log(), 0.0)


@lru_cache(maxsize=4)
def entities_of(reader: EntityReader, tokenizer: ReportTokenizer) -> Entities:
    """The reader's ontology as tensors."""
    told = [f"{entity.name}: {entity.definition}" for entity in reader.ontology.entities]
    pieces = [tokenizer.encode([text], max_tokens=64)[0][0] for text in told]
    neighbours = torch.zeros(reader.width, reader.width)
    for place, others in enumerate(reader.ontology.links()):
        neighbours[place, list(others)] = 1 / max(1, len(others))
    observed = [at for at, entity in enumerate(reader.ontology.entities) if entity.kind in OBSERVED]
    return Entities(
        pad_sequence(pieces, batch_first=True, padding_value=PAD), neighbours, torch.tensor(observed)
    )

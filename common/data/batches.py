"""From a corpus to the batches of one hospital: private pairs, public anchors, masks, all by seed and step.

Shapes: B rows, C channels, S pixels a side, T word pieces, N patches, K visible ones.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from common.data.augment import augment
from common.data.batch import Batch
from common.data.corpus import Corpus, Pieces, pool
from common.data.sampling import rows_at
from common.model.encoders import patch_pixels
from common.seeds import generator
from common.spec.run import Spec
from common.text.entities import entity_reader
from common.text.tokenizer import CLS, PAD, SEP, ReportTokenizer, mask_tokens


@dataclass(frozen=True)
class Batches:
    """An endless sequence of training batches; batch i is a function of the spec, the site's name and i."""

    spec: Spec
    tokenizer: ReportTokenizer
    private: Corpus
    anchors: Corpus | None
    """The public bank, the same at every site; None when the spec mixes in no anchors."""
    site: str
    """Names the random streams; two hospitals with the same rows still see them in different orders."""

    @property
    def private_rows(self) -> int:
        """Private rows in a batch."""
        return self.spec.data.batch_size - self.spec.data.anchor_pairs

    def at(self, step: int) -> Batch:
        """The batch of global step `step`."""
        chance = generator(self.spec.seed, "batch", self.site, step)
        private = self._draw(self.private, step, self.private_rows, self.site)
        if self.anchors is None or not self.spec.data.anchor_pairs:
            return self._assemble(self.private, private, chance)
        public = self._draw(self.anchors, step, self.spec.data.anchor_pairs, f"anchors of {self.site}")
        rows = np.concatenate([private, public + len(self.private)])
        return self._assemble(self._all_rows, rows, chance)

    def unit(self, rows: npt.NDArray[np.int64], chance: torch.Generator) -> Batch:
        """A batch of the private `rows` and, if the spec mixes in anchors, so many drawn by `chance`.

        A function of its arguments and of the public bank: no other private row has a part in it.
        """
        if self.anchors is None or not self.spec.data.anchor_pairs:
            return self._assemble(self.private, rows, chance)
        public = torch.randint(len(self.anchors), (self.spec.data.anchor_pairs,), generator=chance).numpy()
        return self._assemble(self._all_rows, np.concatenate([rows, public + len(self.private)]), chance)

    @cached_property
    def _all_rows(self) -> Corpus:
        assert self.anchors is not None
        return pool([self.private, self.anchors])

    def _draw(self, corpus: Corpus, step: int, count: int, purpose: str) -> npt.NDArray[np.int64]:
        return rows_at(step * count, count, num_rows=len(corpus), seed=self.spec.seed, purpose=purpose)

    def _assemble(self, corpus: Corpus, rows: npt.NDArray[np.int64], chance: torch.Generator) -> Batch:
        images = grey_values(corpus.images(rows))
        if self.spec.data.augment:
            images = augment(images, chance)
        shown = [self._sample_sentences(len(corpus.sentences[row]), chance) for row in rows]
        return build_batch(self.spec, self.tokenizer, corpus, rows, images, shown, chance)

    def _sample_sentences(self, sentences: int, chance: torch.Generator) -> Sequence[int]:
        """One sentence of the report, or all of them in a new order: their order says nothing."""
        if sentences < 2:
            return range(sentences)
        order: list[int] = torch.randperm(sentences, generator=chance).tolist()
        alone = torch.rand((), generator=chance).item() < self.spec.data.sentence_share
        return order[:1] if alone else order


def fixed_batches(spec: Spec, tokenizer: ReportTokenizer, corpus: Corpus, *, purpose: str) -> list[Batch]:
    """Every row of `corpus` once, in order, whole reports, no augmentation; masks by seed: for validation."""
    size = spec.data.batch_size
    parts = [np.arange(start, min(start + size, len(corpus))) for start in range(0, len(corpus), size)]
    return [
        build_batch(
            spec,
            tokenizer,
            corpus,
            rows,
            grey_values(corpus.images(rows)),
            [range(len(corpus.sentences[row])) for row in rows],
            generator(spec.seed, purpose, part),
        )
        for part, rows in enumerate(parts)
    ]


def build_batch(
    spec: Spec,
    tokenizer: ReportTokenizer,
    corpus: Corpus,
    rows: npt.NDArray[np.int64],
    images: Tensor,
    shown: Sequence[Sequence[int]],
    chance: torch.Generator,
) -> Batch:
    """Lay `rows` out as tensors and draw the masks that the spec's objectives need.

    Args:
        spec: of the run.
        tokenizer: the project's.
        corpus: where the rows lie.
        rows: (B,) which of them.
        images: (B, C, S, S) what is seen of them.
        shown: for each row its report's sentences, by number, in the order in which they are read.
        chance: source of the masks.
    """
    read = [tuple(corpus.sentences[row][i] for i in order) for row, order in zip(rows, shown, strict=True)]
    tokens, token_mask = lay_out(read, max_tokens=spec.model.text.max_tokens)
    masked_image, masked_language = spec.objectives.masked_image, spec.objectives.masked_language
    masked_images = shown_patches = masked_reports = masked_tokens = token_labels = None
    if masked_image is not None:
        masked_images = every_few(len(rows), masked_image.row_share)
        shown_patches = visible_patches(spec, len(masked_images), masked_image.ratio, chance)
    if masked_language is not None:
        masked_reports = every_few(len(rows), masked_language.row_share)
        masked_tokens, token_labels = mask_tokens(
            tokens[masked_reports],
            token_mask[masked_reports],
            ratio=masked_language.ratio,
            tokenizer=tokenizer,
            generator=chance,
        )
    return Batch(
        images=images,
        has_image=torch.from_numpy(corpus.has_image[rows]),
        tokens=tokens,
        token_mask=token_mask,
        has_text=torch.tensor([bool(report) for report in read]),
        study=torch.from_numpy(corpus.study[rows]),
        findings=_stated(corpus, rows, shown),
        masked_images=masked_images,
        visible_patches=shown_patches,
        masked_reports=masked_reports,
        masked_tokens=masked_tokens,
        token_labels=token_labels,
    )


def _stated(corpus: Corpus, rows: npt.NDArray[np.int64], shown: Sequence[Sequence[int]]) -> Tensor | None:
    """(B, F) what the shown sentences say is there; a whole report that names nothing says "normal study"."""
    if corpus.findings is None:
        return None
    reader = entity_reader()
    stated = torch.zeros(len(rows), reader.width, dtype=torch.bool)
    for slot, (row, order) in enumerate(zip(rows, shown, strict=True)):
        report = corpus.findings[row]
        named = frozenset[int]().union(*(report[i] for i in order)) - {reader.normal}
        if not named and report and len(order) == len(report) and reader.normal is not None:
            named = frozenset([reader.normal])
        stated[slot, list(named)] = True
    return stated


def lay_out(reports: Sequence[tuple[Pieces, ...]], *, max_tokens: int) -> tuple[Tensor, Tensor]:
    """[CLS] sentence sentence ... [SEP], padded to the longest; a missing report is [CLS] [SEP].

    Returns:
        (B, T) int64 word pieces and their (B, T) bool mask, T <= max_tokens.
    """
    joined = [[piece for sentence in report for piece in sentence][: max_tokens - 2] for report in reports]
    longest = max(len(report) for report in joined) + 2
    tokens = torch.full((len(joined), longest), PAD, dtype=torch.int64)
    for row, report in enumerate(joined):
        tokens[row, : len(report) + 2] = torch.tensor([CLS, *report, SEP])
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

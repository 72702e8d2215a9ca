"""From a corpus to the batches of one hospital: private pairs, public anchors, masks, all by seed and step.

Shapes: B rows, P public pairs, C channels, S pixels a side.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from common.data.augment import augment
from common.data.batch import Batch, PublicPairs, SecondViews
from common.data.corpus import Corpus, pool
from common.data.layout import Shown, build_batch, grey_values, read_reports, told_of
from common.data.sampling import rows_at
from common.seeds import generator
from common.spec.run import Spec
from common.text.tokenizer import ReportTokenizer

LONGEST_SNIPPET = 3
"""Sentences of a snippet at most."""


@dataclass(frozen=True)
class Batches:
    """An endless sequence of training batches; batch i is a function of the spec, the site's name and i."""

    spec: Spec
    tokenizer: ReportTokenizer
    private: Corpus
    anchors: Corpus | None
    """The public bank, the same at every site; None when the spec uses none."""
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
            batch = self._assemble(self.private, private, chance)
        else:
            public = self._draw(self.anchors, step, self.spec.data.anchor_pairs, f"anchors of {self.site}")
            rows = np.concatenate([private, public + len(self.private)])
            batch = self._assemble(self._all_rows, rows, chance)
        return replace(batch, public=self.public_at(step)) if self.spec.data.public_negatives else batch

    def public_at(self, step: int) -> PublicPairs:
        """What every private row of step `step` is told from: a function of the bank alone."""
        assert self.anchors is not None
        wanted = self.spec.data.public_negatives
        complete = np.array([bool(report) for report in self.anchors.sentences]) & self.anchors.has_image
        pairs = np.flatnonzero(complete)
        drawn = rows_at(step * wanted, wanted, num_rows=len(pairs), seed=self.spec.seed, purpose="negatives")
        rows = pairs[drawn]
        shown = whole_reports(self.anchors, rows)
        tokens, mask = read_reports(self.spec, self.anchors, rows, shown)
        pairs_shown = PublicPairs(grey_values(self.anchors.images(rows)), tokens, mask)
        told = told_of(self.anchors, rows, shown)
        if told is None:
            return pairs_shown
        return replace(pairs_shown, findings=told.findings, denied=told.denied, sides=told.sides)

    def unit(self, rows: npt.NDArray[np.int64], chance: torch.Generator) -> Batch:
        """A batch of the private `rows` and, if the spec mixes in anchors, so many drawn by `chance`.

        A function of its arguments and of the public bank: no other private row has a part in it.
        """
        if self.anchors is None or not self.spec.data.anchor_pairs:
            return self._assemble(self.private, rows, chance)
        drawn = torch.randint(len(self.anchors), (self.spec.data.anchor_pairs,), generator=chance)
        every = np.concatenate([rows, drawn.numpy() + len(self.private)])
        return self._assemble(self._all_rows, every, chance)

    def draw_public(self, chance: torch.Generator) -> PublicPairs | None:
        """What every unit of one private step is told from, drawn by `chance`; None if there is nothing.

        A function of its argument and of the public bank alone.
        """
        if not self.spec.data.public_negatives:
            return None
        return self.public_at(int(torch.randint(2**31, (), generator=chance)))

    @cached_property
    def _all_rows(self) -> Corpus:
        assert self.anchors is not None
        return pool([self.private, self.anchors])

    def _draw(self, corpus: Corpus, step: int, count: int, purpose: str) -> npt.NDArray[np.int64]:
        return rows_at(step * count, count, num_rows=len(corpus), seed=self.spec.seed, purpose=purpose)

    def _assemble(self, corpus: Corpus, rows: npt.NDArray[np.int64], chance: torch.Generator) -> Batch:
        images = self._show(corpus, rows, chance)
        shown = [self._sample(corpus, row, chance) for row in rows]
        images, shown = self._mirror(corpus, rows, images, shown, chance)
        batch = build_batch(self.spec, self.tokenizer, corpus, rows, images, shown, chance)
        if self.spec.objectives.two_views is None:
            return batch
        return replace(batch, second=self._second_views(corpus, rows, shown, chance))

    def _show(self, corpus: Corpus, rows: npt.NDArray[np.int64], chance: torch.Generator) -> Tensor:
        images = grey_values(corpus.images(rows))
        return augment(images, chance) if self.spec.data.augment else images

    def _sample(self, corpus: Corpus, row: int, chance: torch.Generator) -> Shown:
        """A sentence, a section, a snippet, or all sentences in a new order, which says nothing."""
        sentences, data = len(corpus.sentences[row]), self.spec.data
        if sentences < 2:
            return Shown(range(sentences))
        order: list[int] = torch.randperm(sentences, generator=chance).tolist()
        lot = torch.rand((), generator=chance).item()
        if lot < data.sentence_share:
            return Shown(order[:1])
        if lot < data.sentence_share + data.section_share:
            assert corpus.sections is not None
            section = corpus.sections[row]
            return Shown([i for i in range(sentences) if section[i] == section[order[0]]])
        if lot < data.sentence_share + data.section_share + data.snippet_share:
            return Shown(range(order[0], min(order[0] + LONGEST_SNIPPET, sentences)))
        return Shown(order)

    def _mirror(
        self,
        corpus: Corpus,
        rows: npt.NDArray[np.int64],
        images: Tensor,
        shown: list[Shown],
        chance: torch.Generator,
    ) -> tuple[Tensor, list[Shown]]:
        """Mirror some rows, image and words together; one with a word that cannot be turned stays.

        A row of which a second view is shown is mirrored in both, or stays.
        """
        if not self.spec.data.flip_share:
            return images, shown
        assert corpus.mirrored is not None
        chosen = torch.rand(len(rows), generator=chance) < self.spec.data.flip_share
        for slot, (row, part) in enumerate(zip(rows, shown, strict=True)):
            read = (
                part.sentences if self.spec.objectives.two_views is None else range(len(corpus.mirrored[row]))
            )
            chosen[slot] &= all(corpus.mirrored[row][i] is not None for i in read)
        turned = torch.where(chosen[:, None, None, None], images.flip(-1), images)
        return turned, [
            replace(part, mirrored=bool(mirrored)) for part, mirrored in zip(shown, chosen, strict=True)
        ]

    def _second_views(
        self, corpus: Corpus, rows: npt.NDArray[np.int64], first: Sequence[Shown], chance: torch.Generator
    ) -> SecondViews:
        """Another image of each row's study if it has one, and a text of its report drawn anew; both mirrored
        where the first are."""
        lots = torch.rand(len(rows), generator=chance)
        others = np.array(
            [self._sibling(corpus, row, lot) for row, lot in zip(rows, lots.tolist(), strict=True)]
        )
        images = self._show(corpus, others, chance)
        mirrored = torch.tensor([part.mirrored for part in first])
        shown = [
            replace(self._sample(corpus, row, chance), mirrored=part.mirrored)
            for row, part in zip(rows, first, strict=True)
        ]
        tokens, mask = read_reports(self.spec, corpus, rows, shown)
        return SecondViews(torch.where(mirrored[:, None, None, None], images.flip(-1), images), tokens, mask)

    def _sibling(self, corpus: Corpus, row: int, lot: float) -> int:
        if not corpus.has_image[row]:
            return row
        others = [other for other in corpus.seen_of[int(corpus.study[row])] if other != row]
        return int(others[int(lot * len(others))]) if others else row


def fixed_batches(spec: Spec, tokenizer: ReportTokenizer, corpus: Corpus, *, purpose: str) -> list[Batch]:
    """Every row of `corpus` once, in order, whole reports, no augmentation; masks by seed: for validation.

    Objectives that need public pairs or second views are not validated: these belong to training alone.
    """
    size = spec.data.batch_size
    parts = [np.arange(start, min(start + size, len(corpus))) for start in range(0, len(corpus), size)]
    return [
        build_batch(
            spec,
            tokenizer,
            corpus,
            rows,
            grey_values(corpus.images(rows)),
            whole_reports(corpus, rows),
            generator(spec.seed, purpose, part),
        )
        for part, rows in enumerate(parts)
    ]


def whole_reports(corpus: Corpus, rows: npt.NDArray[np.int64]) -> Sequence[Shown]:
    """All sentences of each row's report, in their order."""
    return [Shown(range(len(corpus.sentences[row]))) for row in rows]

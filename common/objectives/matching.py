"""Image-text matching: does this report belong to this image?

Source: Li et al. 2021 (ALBEF), arXiv:2107.07651, section 3.2. Shapes: B rows, n pairs, W fusion width.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from common.data.batch import Batch
from common.objectives.base import Loss, Objective, Views
from common.objectives.targets import said_by, same_findings, same_study, same_text
from common.spec.objectives import ImageTextMatchingSpec


class ImageTextMatching(Objective):
    """Two classes on the fused pair: one true pair, one with a false report, one with a false image."""

    needs = frozenset({"image", "text"})
    couples_rows = True

    def __init__(self, spec: ImageTextMatchingSpec, fusion_width: int) -> None:
        super().__init__()
        self.spec = spec
        self.judge = nn.Sequential(
            nn.Linear(2 * fusion_width, fusion_width), nn.Tanh(), nn.Linear(fusion_width, 1)
        )

    def loss(self, views: Views, batch: Batch) -> Loss | None:
        """Over the paired rows that have some other row's report or image that is surely false for them."""
        assert batch.lots is not None
        rows = batch.paired.nonzero()[:, 0]
        false = may_be_false(batch, rows)
        rows_told = false.any(dim=1)
        if not bool(rows_told.any()) or views.image_embedding is None or views.text_embedding is None:
            return None
        similarity = (
            views.image_embedding[rows].detach().float() @ views.text_embedding[rows].detach().float().T
        )
        if not self.spec.hard_negatives:
            similarity = torch.zeros_like(similarity)
        likely = similarity / self.spec.temperature
        reports = draw_false(likely, false, batch.lots[rows, 0])[rows_told]
        images = draw_false(likely.T, false, batch.lots[rows, 1])[rows_told]
        own = rows[rows_told]
        seen = torch.cat([own, own, rows[images]])
        read = torch.cat([own, rows[reports], own])
        logits = self.score(views, batch, seen, read)
        truth = torch.zeros_like(logits)
        truth[: len(own)] = 1
        return Loss(F.binary_cross_entropy_with_logits(logits.float(), truth.float()), len(own))

    def score(self, views: Views, batch: Batch, seen: Tensor, read: Tensor) -> Tensor:
        """(n,) log odds that image `seen` (n,) and report `read` (n,), rows of the batch, are one pair."""
        assert views.image is not None
        assert views.text is not None
        assert views.fusion is not None
        fused = views.fusion(
            views.image.of(seen), views.text.of(read), batch.has_image[seen], batch.has_text[read]
        )
        odds: Tensor = self.judge(fused.pooled)[:, 0]
        return odds


def may_be_false(batch: Batch, rows: Tensor) -> Tensor:
    """(n, n) bool, which of `rows` (n,) are no partners: not of one text, one study, or the same findings."""
    positive = same_text(batch.tokens[rows]) | same_study(batch.study[rows])
    if batch.findings is not None:
        positive = positive | same_findings(said_by(batch, rows))
    return ~positive


def draw_false(likely: Tensor, false: Tensor, lots: Tensor) -> Tensor:
    """(n,) for each row one column where `false` holds, as likely as the softmax of `likely` makes it.

    Args:
        likely: (n, n) logits.
        false: (n, n) bool; a row without any gives a column that means nothing.
        lots: (n,) uniform draws in 0..1.
    """
    chances = likely.masked_fill(~false, float("-inf")).softmax(dim=1).nan_to_num()
    steps = chances.double().cumsum(dim=1)
    mark = lots[:, None].double() * steps[:, -1:]
    # A column beyond the mark has a chance of its own; rounding may leave none beyond.
    beyond = (steps > mark) & false
    last = false.shape[1] - 1 - false.flip(1).float().argmax(dim=1)
    return torch.where(beyond.any(dim=1), beyond.float().argmax(dim=1), last)

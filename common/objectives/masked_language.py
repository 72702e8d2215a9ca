"""Masked language modelling that may look at the image to guess the hidden words.

Source: Zhou et al. 2023 (MRM), arXiv:2301.13155: the image vector is added to every word vector of a light
decoder. Shapes: Q reports, T word pieces, D text width, V vocabulary.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from common.data.batch import Batch
from common.model.encoders import Block
from common.objectives.base import Loss, Objective, View, Views
from common.spec.model import ModelSpec
from common.spec.objectives import MaskedLanguageSpec


class MaskedLanguage(Objective):
    """A decoder guesses hidden word pieces from their neighbours and, if asked, from the image."""

    couples_rows = False

    def __init__(
        self, spec: MaskedLanguageSpec, model: ModelSpec, image_width: int, text_width: int, vocabulary: int
    ) -> None:
        super().__init__()
        self.condition = spec.condition
        needs: set[View] = {"text_masked"} if spec.condition == "none" else {"image", "text_masked"}
        self.needs = frozenset(needs)
        if spec.condition == "image":
            self.look = nn.Linear(image_width, text_width)
        elif spec.condition == "fusion":
            assert model.fusion is not None
            self.leave = nn.Linear(model.fusion.width, text_width)
        self.blocks = nn.ModuleList(Block(text_width, model.text.heads) for _ in range(spec.decoder_depth))
        self.norm = nn.LayerNorm(text_width)
        self.bias = nn.Parameter(torch.zeros(vocabulary))

    def loss(self, views: Views, batch: Batch) -> Loss | None:
        """Cross-entropy per hidden word piece; a report without an image is guessed from its words alone."""
        rows = batch.masked_reports
        if rows is None or batch.token_labels is None or views.text_masked is None:
            return None
        hidden = _hidden(batch.token_labels, batch.has_text[rows])
        if not bool(hidden.any()):
            return None
        x = self._seen_beside(views, batch, rows)
        for block in self.blocks:
            x = block(x, views.text_masked.mask)
        logits = F.linear(self.norm(x[hidden]), views.vocabulary, self.bias)
        mean = F.cross_entropy(logits.float(), batch.token_labels[hidden])
        return Loss(mean, int(hidden.any(dim=1).sum()))

    def units(self, batch: Batch) -> int:
        """Hidden word pieces."""
        if batch.masked_reports is None or batch.token_labels is None:
            return 0
        return int(_hidden(batch.token_labels, batch.has_text[batch.masked_reports]).sum())

    def _seen_beside(self, views: Views, batch: Batch, rows: Tensor) -> Tensor:
        """(Q, T, D) the words around, with what the image adds to them."""
        text, image = views.text_masked, views.image
        assert text is not None
        around: Tensor = text.x
        if self.condition == "none":
            return around
        assert image is not None
        if self.condition == "image":
            seen: Tensor = self.look(image.pooled[rows]) * batch.has_image[rows, None]
            return around + seen[:, None]
        assert views.fusion is not None
        fused = views.fusion(image.of(rows), text, batch.has_image[rows], batch.has_text[rows])
        beside: Tensor = self.leave(fused.text.x)
        return around + beside


def _hidden(labels: Tensor, has_text: Tensor) -> Tensor:
    """(Q, T) word pieces to guess, of (Q,) reports that are there."""
    return (labels >= 0) & has_text[:, None]

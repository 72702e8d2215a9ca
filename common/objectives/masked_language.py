"""Masked language modelling that may look at the image to guess the hidden words.

Source: Zhou et al. 2023 (MRM), arXiv:2301.13155: the image vector is added to every word vector of a light
decoder. Shapes: Q reports, T word pieces, D text width, V vocabulary.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from common.data.batch import Batch
from common.model.encoders import Block, Tokens
from common.objectives.base import Loss, Objective, Views
from common.spec.model import ModelSpec
from common.spec.objectives import MaskedLanguageSpec


class MaskedLanguage(Objective):
    """A decoder guesses hidden word pieces from their neighbours and from the image."""

    needs = frozenset({"image", "text_masked"})
    couples_rows = False

    def __init__(self, spec: MaskedLanguageSpec, model: ModelSpec, vocabulary_size: int) -> None:
        super().__init__()
        self.look = nn.Linear(model.image.width, model.text.width)
        self.blocks = nn.ModuleList(
            Block(model.text.width, model.text.heads) for _ in range(spec.decoder_depth)
        )
        self.norm = nn.LayerNorm(model.text.width)
        self.bias = nn.Parameter(torch.zeros(vocabulary_size))

    def loss(self, views: Views, batch: Batch) -> Loss | None:
        """Cross-entropy per hidden word piece; a report without an image is guessed from its words alone."""
        rows = batch.masked_reports
        if rows is None or batch.token_labels is None or views.text_masked is None or views.image is None:
            return None
        hidden = _hidden(batch.token_labels, batch.has_text[rows])
        if not bool(hidden.any()):
            return None
        seen = self.look(views.image.pooled[rows]) * batch.has_image[rows, None]
        logits = self._guess(views.text_masked, seen, views.vocabulary, hidden)
        mean = F.cross_entropy(logits.float(), batch.token_labels[hidden])
        return Loss(mean, int(hidden.any(dim=1).sum()))

    def units(self, batch: Batch) -> int:
        """Hidden word pieces."""
        if batch.masked_reports is None or batch.token_labels is None:
            return 0
        return int(_hidden(batch.token_labels, batch.has_text[batch.masked_reports]).sum())

    def _guess(self, text: Tokens, seen: Tensor, vocabulary: Tensor, hidden: Tensor) -> Tensor:
        """(number of hidden pieces, V) logits from the words around and the (Q, D) images beside."""
        x = text.x + seen[:, None]
        for block in self.blocks:
            x = block(x, text.mask)
        return F.linear(self.norm(x[hidden]), vocabulary, self.bias)


def _hidden(labels: Tensor, has_text: Tensor) -> Tensor:
    """(Q, T) word pieces to guess, of (Q,) reports that are there."""
    return (labels >= 0) & has_text[:, None]

"""Captioning: write the report word by word, looking at the image.

Source: Yu et al. 2022 (CoCa), arXiv:2205.01917; the decoder is light. Shapes: B rows, T word pieces, D text
width.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from common.data.batch import Batch
from common.model.encoders import Tokens
from common.model.fusion import CrossBlock
from common.objectives.base import Loss, Objective, Views
from common.spec.model import ModelSpec
from common.spec.objectives import CaptioningSpec


class Captioning(Objective):
    """A causal decoder over the words so far that attends to the image's tokens."""

    needs = frozenset({"image"})
    couples_rows = False

    def __init__(
        self, spec: CaptioningSpec, model: ModelSpec, vocabulary_size: int, image_width: int, text_width: int
    ) -> None:
        super().__init__()
        heads = model.text.heads
        self.look = nn.Linear(image_width, text_width)
        self.positions = nn.Parameter(torch.randn(model.text.max_tokens, text_width) * 0.02)
        self.blocks = nn.ModuleList(CrossBlock(text_width, heads) for _ in range(spec.decoder_depth))
        self.norm = nn.LayerNorm(text_width)
        self.bias = nn.Parameter(torch.zeros(vocabulary_size))

    def loss(self, views: Views, batch: Batch) -> Loss | None:
        """Cross-entropy per next word piece, over the rows that have both image and report."""
        paired = batch.paired
        if views.image is None or not bool(paired.any()):
            return None
        tokens, mask = batch.tokens[paired], batch.token_mask[paired]
        image = views.image.of(paired)
        following = mask[:, 1:]
        logits = self.next_words(tokens[:, :-1], mask[:, :-1], image, views.vocabulary)[following]
        return Loss(F.cross_entropy(logits.float(), tokens[:, 1:][following]), int(paired.sum()))

    def units(self, batch: Batch) -> int:
        """Word pieces to write."""
        return int(batch.token_mask[batch.paired, 1:].sum())

    def next_words(self, tokens: Tensor, mask: Tensor, image: Tokens, vocabulary: Tensor) -> Tensor:
        """(B, T) word pieces so far, (B, T) their mask -> (B, T, V) logits of the piece after each."""
        length = tokens.shape[1]
        x = F.embedding(tokens, vocabulary) + self.positions[:length]
        before = torch.ones(length, length, dtype=torch.bool, device=tokens.device).tril()
        allowed = before[None] & (mask[:, None] | torch.eye(length, dtype=torch.bool, device=tokens.device))
        seen = self.look(image.x)
        for block in self.blocks:
            x = block(x, allowed, seen, image.mask)
        return F.linear(self.norm(x), vocabulary, self.bias)

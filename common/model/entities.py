"""The entity encoder: what the ontology's entities mean, from their words and their neighbours.

Shapes: F entities, L word pieces of one, V vocabulary, D text width.
"""

import torch
from torch import Tensor, nn

from common.data.batch import Entities
from common.text.tokenizer import SPECIAL_TOKENS


class EntityEncoder(nn.Module):
    """The mean of an entity's word vectors, and rounds in which it hears the mean of its neighbours.

    Neighbours are broader and narrower entities and where things are found (Hamilton et al. 2017, GraphSAGE,
    arXiv:1706.02216). Word vectors are the text tower's own, so no pass of the tower is spent on entities.
    """

    def __init__(self, width: int, rounds: int) -> None:
        super().__init__()
        self.enter = nn.Linear(width, width)
        self.rounds = nn.ModuleList(nn.Linear(2 * width, width) for _ in range(rounds))
        self.norm = nn.LayerNorm(width)

    def forward(self, entities: Entities, vocabulary: Tensor) -> Tensor:
        """The ontology and (V, D) the vectors of word pieces -> (F, D)."""
        real = (entities.pieces >= len(SPECIAL_TOKENS))[..., None]
        words = nn.functional.embedding(entities.pieces, vocabulary)
        x = self.enter((words * real).sum(dim=1) / real.sum(dim=1).clamp(min=1))
        near = entities.neighbours.to(x.dtype)
        for listen in self.rounds:
            x = x + nn.functional.gelu(listen(torch.cat([x, near @ x], dim=-1)))
        normed: Tensor = self.norm(x)
        return normed

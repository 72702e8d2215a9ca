"""Prototypes: image and report of a pair choose the same of some learned directions.

Source: Wang et al. 2022 (MGCA), arXiv:2210.06044, section 3.3, after Caron et al. 2020, arXiv:2006.09882.
Shapes: B pairs, K prototypes, E embedding width.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from common.data.batch import Batch
from common.objectives.base import Loss, Objective, Views
from common.spec.objectives import PrototypesSpec


class Prototypes(Objective):
    """Each side predicts the balanced choice of the other."""

    needs = frozenset({"image", "text"})
    couples_rows = True
    reads_tokens = False

    def __init__(self, spec: PrototypesSpec, embedding_width: int) -> None:
        super().__init__()
        self.spec = spec
        self.directions = nn.Parameter(F.normalize(torch.randn(spec.prototypes, embedding_width), dim=-1))

    def loss(self, views: Views, batch: Batch) -> Loss | None:
        """Over the rows that have both image and report; one pair alone cannot be balanced."""
        paired = batch.paired
        pairs = int(paired.sum())
        if pairs < 2 or views.image_embedding is None or views.text_embedding is None:
            return None
        with torch.autocast(paired.device.type, enabled=False):
            directions = F.normalize(self.directions, dim=-1)
            image = views.image_embedding[paired].float() @ directions.T
            report = views.text_embedding[paired].float() @ directions.T
            codes = [
                sinkhorn(scores.detach(), self.spec.sinkhorn_epsilon, self.spec.sinkhorn_iterations)
                for scores in (image, report)
            ]
            mean = F.cross_entropy(image / self.spec.temperature, codes[1])
            mean = mean + F.cross_entropy(report / self.spec.temperature, codes[0])
        return Loss(mean / 2, pairs)

    def after_step(self) -> None:
        """Keep the directions of length one."""
        with torch.no_grad():
            self.directions.copy_(F.normalize(self.directions, dim=-1))


def sinkhorn(scores: Tensor, epsilon: float, iterations: int) -> Tensor:
    """(B, K) scores -> (B, K) shares: rows sum to one, columns nearly to B / K.

    Source: Cuturi 2013, arXiv:1306.0895; in logarithms, so that no score overflows.

    Args:
        scores: cosines with the prototypes.
        epsilon: the smaller, the harder the choice.
        iterations: rounds of balancing columns, then rows.
    """
    log_shares = scores / epsilon
    for _ in range(iterations):
        log_shares = log_shares - log_shares.logsumexp(dim=0, keepdim=True)
        log_shares = log_shares - log_shares.logsumexp(dim=1, keepdim=True)
    return log_shares.exp()

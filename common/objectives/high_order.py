"""High-order contrastive learning: what image, report and metadata say only together.

Shapes: B rows, E embedding width, m modalities.
"""

import math
from collections.abc import Sequence
from itertools import combinations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from common.data.batch import Batch
from common.objectives.base import Loss, Objective, Views
from common.objectives.contrastive import clamp_scale, contrastive_loss
from common.spec.objectives import HighOrderSpec


class HighOrder(Objective):
    """Symile's multilinear loss over all modalities, or the contrastive loss of every pair of them."""

    needs = frozenset({"image", "text", "metadata"})
    couples_rows = True
    reads_tokens = False

    def __init__(self, spec: HighOrderSpec) -> None:
        super().__init__()
        self.kind = spec.kind
        self.log_scale = nn.Parameter(torch.tensor([-math.log(spec.initial_temperature)]))

    def loss(self, views: Views, batch: Batch) -> Loss | None:
        """Over the rows that have every modality (`multilinear`), or the two of a pair (`pairwise`)."""
        assert batch.metadata is not None
        has_metadata = (batch.metadata > 0).any(dim=1)
        modalities = [
            (views.image_embedding, batch.has_image),
            (views.text_embedding, batch.has_text),
            (views.metadata_embedding, has_metadata),
        ]
        groups = [modalities] if self.kind == "multilinear" else list(combinations(modalities, 2))
        terms, used = [], torch.zeros_like(has_metadata)
        for group in groups:
            rows = torch.stack([present for _, present in group]).all(dim=0)
            if int(rows.sum()) < 2:
                continue
            embeddings = [embedding[rows] for embedding, _ in group if embedding is not None]
            if len(embeddings) == 2:
                target = torch.eye(int(rows.sum()), device=rows.device)
                terms.append(contrastive_loss(embeddings[0], embeddings[1], self.log_scale, target))
            else:
                terms.append(multilinear_loss(embeddings, self.log_scale))
            used = used | rows
        if not terms:
            return None
        return Loss(torch.stack(terms).mean(), int(used.sum()))

    def after_step(self) -> None:
        """Keep the logit scale within [1, 100]."""
        clamp_scale(self.log_scale)


def multilinear_loss(embeddings: Sequence[Tensor], log_scale: Tensor) -> Tensor:
    """Each modality in turn finds its row among those of all the others taken together.

    Source: Saporta et al. 2024 (Symile), arXiv:2411.01053, section 3. The multilinear inner product of m unit
    vectors shrinks as E^(1 - m/2); it is scaled back, so that one temperature serves every m.

    Args:
        embeddings: m >= 2 tensors (B, E) of unit rows.
        log_scale: (1,) logarithm of the inverse temperature.

    Returns:
        () nats; log(B) when the embeddings carry no information; with two modalities the contrastive loss.
    """
    with torch.autocast(embeddings[0].device.type, enabled=False):
        rows, width = embeddings[0].shape
        rescale = width ** (len(embeddings) / 2 - 1)
        truth = torch.arange(rows, device=embeddings[0].device)
        terms = []
        for place, asking in enumerate(embeddings):
            others = torch.ones(1, device=asking.device)
            for other in [*embeddings[:place], *embeddings[place + 1 :]]:
                others = others * other.float()
            logits = log_scale.exp() * rescale * asking.float() @ others.T
            terms.append(F.cross_entropy(logits, truth))
        return torch.stack(terms).mean()

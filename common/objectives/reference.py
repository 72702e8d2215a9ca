"""Objectives that look at another model: agree with it, or stay near it.

Shapes: B rows, E embedding width.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from common.data.batch import Batch
from common.objectives.base import Loss, Objective, Views
from common.spec.objectives import AnchorSpec, DistillationSpec


class Distillation(Objective):
    """The student's choice among the pairs of a batch follows the teacher's.

    Source: Hinton et al. 2015, arXiv:1503.02531, on the contrastive logits (Wu et al. 2023, TinyCLIP,
    arXiv:2309.12314, section 3.1).
    """

    couples_rows = True
    reads_tokens = False

    def __init__(self, spec: DistillationSpec) -> None:
        super().__init__()
        self.needs = frozenset({"image", "text", "reference" if spec.teacher is None else "teacher"})
        self.temperature = spec.temperature

    def loss(self, views: Views, batch: Batch) -> Loss | None:
        """Over the rows that have both image and report; one pair alone leaves no choice."""
        paired = batch.paired
        pairs = int(paired.sum())
        taught = views.teacher or views.reference
        if pairs < 2 or taught is None:
            return None
        assert views.image_embedding is not None
        assert views.text_embedding is not None
        with torch.autocast(paired.device.type, enabled=False):
            student = views.image_embedding[paired].float() @ views.text_embedding[paired].float().T
            teacher = taught.image_embedding[paired].float() @ taught.text_embedding[paired].float().T
            mean = distillation_loss(student / self.temperature, teacher / self.temperature)
        return Loss(mean, pairs)


class FeatureAnchor(Objective):
    """The embeddings stay near those of the global model (FedDRA, arXiv:2404.03854)."""

    needs = frozenset({"image", "text", "reference"})
    couples_rows = False
    reads_tokens = False

    def loss(self, views: Views, batch: Batch) -> Loss | None:
        """Mean squared distance, over the rows with an image and over those with a report."""
        if views.reference is None:
            return None
        terms = [
            (now[rows].float() - then[rows].float()).square().sum(dim=-1).mean()
            for now, then, rows in (
                (views.image_embedding, views.reference.image_embedding, batch.has_image),
                (views.text_embedding, views.reference.text_embedding, batch.has_text),
            )
            if now is not None and bool(rows.any())
        ]
        if not terms:
            return None
        return Loss(torch.stack(terms).sum(), int((batch.has_image | batch.has_text).sum()))


class ProximalAnchor(Objective):
    """The weights stay near those of the global model (Li et al. 2020, FedProx, arXiv:1812.06127)."""

    needs = frozenset({"drift"})
    couples_rows = False
    reads_tokens = False

    def loss(self, views: Views, batch: Batch) -> Loss | None:
        """Half the squared distance, whatever the rows."""
        if views.drift is None:
            return None
        return Loss(views.drift.mean() / 2, len(batch))


def build_anchor(spec: AnchorSpec) -> Objective:
    """The anchor of the spec's kind."""
    return FeatureAnchor() if spec.kind == "features" else ProximalAnchor()


def distillation_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """() nats: Kullback-Leibler divergence of (B, B) logits, both directions; 0 when they agree."""
    ways = [
        F.kl_div(mine.log_softmax(dim=1), theirs.log_softmax(dim=1), reduction="batchmean", log_target=True)
        for mine, theirs in ((student, teacher), (student.T, teacher.T))
    ]
    return (ways[0] + ways[1]) / 2

"""Global contrastive learning: each image finds its report, and each report its image.

Shapes: B pairs in a batch, E embedding width, T word pieces.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from common.data.batch import Batch
from common.objectives.base import Loss, Objective, Views
from common.spec.objectives import GlobalContrastiveSpec

MAX_LOG_SCALE = math.log(100)
"""CLIP's bound on the logit scale (Radford et al. 2021, arXiv:2103.00020, section 2.5)."""


class GlobalContrastive(Objective):
    """Softmax contrastive loss with a learned temperature."""

    needs = frozenset({"image", "text"})
    couples_rows = True
    reads_tokens = False

    def __init__(self, spec: GlobalContrastiveSpec) -> None:
        super().__init__()
        self.targets = spec.targets
        self.entity_share = spec.entity_share
        self.log_scale = nn.Parameter(torch.tensor([-math.log(spec.initial_temperature)]))

    def loss(self, views: Views, batch: Batch) -> Loss | None:
        """Over the rows that have both image and report; one pair alone has nothing to be told from."""
        paired = batch.has_image & batch.has_text
        pairs = int(paired.sum())
        if pairs < 2 or views.image_embedding is None or views.text_embedding is None:
            return None
        target = torch.eye(pairs)
        if self.targets != "identity":
            target = shared_text_or_study(batch.tokens[paired], batch.study[paired])
        if self.targets == "entities" and batch.findings is not None:
            target = mix_targets(target, shared_findings(batch.findings[paired]), self.entity_share)
        mean = contrastive_loss(
            views.image_embedding[paired], views.text_embedding[paired], self.log_scale, target
        )
        return Loss(mean, pairs)

    def after_step(self) -> None:
        """Keep the logit scale within [1, 100]."""
        with torch.no_grad():
            self.log_scale.clamp_(0, MAX_LOG_SCALE)


def contrastive_loss(image: Tensor, report: Tensor, log_scale: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy of both directions against the given partners.

    Source: Radford et al. 2021, arXiv:2103.00020, figure 3; several positives as in Khosla et al. 2020,
    arXiv:2004.11362.

    Args:
        image: (B, E) unit rows.
        report: (B, E) unit rows.
        log_scale: (1,) logarithm of the inverse temperature.
        target: (B, B) symmetric, positive where row i and column j belong together; rows are normalised here.

    Returns:
        () nats; log(B) when the embeddings carry no information and each pair has one partner.
    """
    with torch.autocast(image.device.type, enabled=False):  # cosines are told apart in float32 only
        logits = log_scale.exp() * image.float() @ report.float().T
    partners = target / target.sum(dim=1, keepdim=True)
    return (F.cross_entropy(logits, partners) + F.cross_entropy(logits.T, partners)) / 2


def shared_text_or_study(tokens: Tensor, study: Tensor) -> Tensor:
    """(B, B) one where two pairs show the same text or come from one study: calling them negatives is false.

    Args:
        tokens: (B, T) word pieces, padded alike.
        study: (B,) study numbers.
    """
    same_text = (tokens[:, None] == tokens[None]).all(dim=-1)
    return (same_text | (study[:, None] == study[None])).float()


def shared_findings(findings: Tensor) -> Tensor:
    """(B, B) Jaccard overlap of what two reports state, 0..1; 0 where one of them states nothing.

    Against false negatives: two patients with the same findings are no counterexamples to each other (Wang et
    al. 2022, arXiv:2210.10163).

    Args:
        findings: (B, F) bool, what each report says is there.
    """
    stated = findings.float()
    both = stated @ stated.T
    either = stated.sum(dim=1)[:, None] + stated.sum(dim=1)[None] - both
    return both / either.clamp(min=1)


def mix_targets(partners: Tensor, alike: Tensor, share: float) -> Tensor:
    """(B, B) rows that sum to one: `share` of each by `alike`, the rest by `partners`.

    A row of nothing but zeros in `alike` keeps its partners alone.
    """
    own = partners / partners.sum(dim=1, keepdim=True)
    total = alike.sum(dim=1, keepdim=True)
    mixed = (1 - share) * own + share * alike / total.clamp(min=1e-9)
    return torch.where(total > 0, mixed, own)

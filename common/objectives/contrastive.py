"""Global contrastive learning: each image finds its report, and each report its image.

Shapes: B pairs in a batch, E embedding width.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from common.data.batch import Batch
from common.objectives.base import Loss, Objective, Views
from common.objectives.targets import negative_weights, positives_of, target_of
from common.spec.objectives import GlobalContrastiveSpec

MAX_LOG_SCALE = math.log(100)
"""CLIP's bound on the logit scale (Radford et al. 2021, arXiv:2103.00020, section 2.5)."""

SIGMOID_BIAS = -10.0
"""Where SigLIP's bias starts: most pairs do not belong together (Zhai et al. 2023, arXiv:2303.15343)."""


class GlobalContrastive(Objective):
    """CLIP's, SigLIP's or the decoupled loss with a learned temperature."""

    needs = frozenset({"image", "text"})
    couples_rows = True
    reads_tokens = False

    def __init__(self, spec: GlobalContrastiveSpec) -> None:
        super().__init__()
        self.kind = spec.kind
        self.targets = spec.targets
        self.log_scale = nn.Parameter(torch.tensor([-math.log(spec.start_temperature)]))
        if spec.kind == "sigmoid":
            bias = SIGMOID_BIAS if spec.initial_bias is None else spec.initial_bias
            self.bias = nn.Parameter(torch.tensor([bias]))

    def loss(self, views: Views, batch: Batch) -> Loss | None:
        """Over the rows that have both image and report; one pair alone has nothing to be told from."""
        paired = batch.paired
        pairs = int(paired.sum())
        if pairs < 2 or views.image_embedding is None or views.text_embedding is None:
            return None
        image, report = views.image_embedding[paired], views.text_embedding[paired]
        target = target_of(self.targets, batch, paired)
        weights = negative_weights(self.targets, batch, paired)
        match self.kind:
            case "softmax":
                mean = contrastive_loss(image, report, self.log_scale, target, weights)
            case "decoupled":
                positives = positives_of(self.targets, batch, paired)
                mean = decoupled_loss(image, report, self.log_scale, target, positives, weights)
            case "sigmoid":
                mean = sigmoid_loss(image, report, self.log_scale, self.bias, target, weights)
        return Loss(mean, pairs)

    def after_step(self) -> None:
        """Keep the logit scale within [1, 100]."""
        clamp_scale(self.log_scale)


def contrastive_loss(
    image: Tensor, report: Tensor, log_scale: Tensor, target: Tensor, weights: Tensor | None = None
) -> Tensor:
    """Cross-entropy of both directions against the given partners.

    Source: Radford et al. 2021, arXiv:2103.00020, figure 3; several positives as in Khosla et al. 2020,
    arXiv:2004.11362.

    Args:
        image: (B, E) unit rows.
        report: (B, E) unit rows.
        log_scale: (1,) logarithm of the inverse temperature.
        target: (B, B) how much row i and column j belong together; rows are normalised here.
        weights: (B, B) symmetric, > 0, how often a pair counts in the denominators; None: once.

    Returns:
        () nats; log(B) when the embeddings carry no information and each pair has one partner.
    """
    return matching_loss(scaled_cosines(image, report, log_scale), target, weights)


def matching_loss(logits: Tensor, target: Tensor, weights: Tensor | None = None) -> Tensor:
    """() the cross-entropy of (B, B) `logits` in both directions; see `contrastive_loss`."""
    if weights is not None:
        logits = logits + weights.log()
    partners = target / target.sum(dim=1, keepdim=True)
    return (F.cross_entropy(logits, partners) + F.cross_entropy(logits.T, partners)) / 2


def decoupled_loss(
    image: Tensor,
    report: Tensor,
    log_scale: Tensor,
    target: Tensor,
    positives: Tensor,
    weights: Tensor | None = None,
) -> Tensor:
    """The contrastive loss whose denominator holds negatives only, so that small batches teach as well.

    Source: Yeh et al. 2022, arXiv:2110.06848, equation 6. Arguments as of `contrastive_loss`, and `positives`
    (B, B) bool, symmetric: the pairs that no denominator holds.

    Returns:
        () nats; log(B - 1) when the embeddings carry no information and each pair has one partner; a pair
        whose whole batch are its positives has nothing to be told from and counts nothing.
    """
    logits = scaled_cosines(image, report, log_scale)
    partners = target / target.sum(dim=1, keepdim=True)
    told = ~positives.all(dim=1)
    if not bool(told.any()):
        return (image.sum() + report.sum()) * 0
    weighed = logits if weights is None else logits + weights.log()

    def one_way(attracted: Tensor, repelled: Tensor) -> Tensor:
        pull = (partners * attracted).sum(dim=1)
        push = repelled.masked_fill(positives, float("-inf"))[told].logsumexp(dim=1)
        return (push - pull[told]).mean()

    return (one_way(logits, weighed) + one_way(logits.T, weighed.T)) / 2


def sigmoid_loss(
    image: Tensor,
    report: Tensor,
    log_scale: Tensor,
    bias: Tensor,
    target: Tensor,
    weights: Tensor | None = None,
) -> Tensor:
    """Each pair of image and report by itself: do they belong together?

    Source: Zhai et al. 2023, arXiv:2303.15343, algorithm 1. Arguments as of `contrastive_loss`, and `bias`
    (1,). Partners are positives outright where the target gives them as much as the pair itself; where it
    gives less, the answer sought lies between.

    Returns:
        () nats, summed over the partners of a pair and averaged over pairs.
    """
    logits = scaled_cosines(image, report, log_scale) + bias
    wanted = target / target.diagonal()[:, None]
    wanted = ((wanted + wanted.T) / 2).clamp(max=1)
    each = F.binary_cross_entropy_with_logits(logits, wanted, weight=weights, reduction="sum")
    return each / len(image)


def scaled_cosines(image: Tensor, report: Tensor, log_scale: Tensor) -> Tensor:
    """(B, E) and (B', E) unit rows -> (B, B') cosines over the temperature, told apart in float32 only."""
    with torch.autocast(image.device.type, enabled=False):
        logits: Tensor = log_scale.exp() * image.float() @ report.float().T
    return logits


def clamp_scale(log_scale: Tensor) -> None:
    """Put the logit scale back into [1, 100]."""
    with torch.no_grad():
        log_scale.clamp_(0, MAX_LOG_SCALE)

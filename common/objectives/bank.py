"""Contrastive learning against a public bank: each private pair is told from public pairs, never from
another's.

The loss is a sum over private pairs, which is what patient-level differential privacy needs. The bank's
embeddings are constants of a step. Shapes: B private pairs, P public pairs, E embedding width.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from common.data.batch import Batch
from common.objectives.base import Loss, Objective, Views
from common.objectives.targets import entity_overlap, label_cosine, said_by
from common.spec.objectives import BankContrastiveSpec


class BankContrastive(Objective):
    """Find the own partner among the bank's pairs, or those of them whose reports agree with the own."""

    needs = frozenset({"image", "text"})
    couples_rows = False
    reads_tokens = False

    def __init__(self, spec: BankContrastiveSpec) -> None:
        super().__init__()
        self.spec = spec

    def loss(self, views: Views, batch: Batch) -> Loss | None:
        """Over the rows that have both image and report; the temperature is fixed."""
        paired = batch.paired
        if not bool(paired.any()) or batch.public is None:
            return None
        assert views.image_embedding is not None
        assert views.text_embedding is not None
        assert batch.public.image_embedding is not None
        assert batch.public.text_embedding is not None
        found = (
            views.image_embedding[paired],
            views.text_embedding[paired],
            batch.public.image_embedding,
            batch.public.text_embedding,
        )
        if self.spec.partner == "own":
            same = same_rows(batch.tokens[paired], batch.public.tokens)
            return Loss(bank_loss(*found, same, self.spec.temperature), int(paired.sum()))
        target, known = self._agreeing(batch, paired)
        if not bool(known.any()):
            return None
        image, report = (embedding[known] for embedding in found[:2])
        mean = agreement_loss(image, report, *found[2:], target[known], self.spec.temperature)
        return Loss(mean, int(known.sum()))

    def _agreeing(self, batch: Batch, paired: Tensor) -> tuple[Tensor, Tensor]:
        """(B, P) rows that sum to one, how far the bank's reports agree; (B,) bool, whether any does."""
        assert batch.public is not None
        every = torch.ones(len(batch.public.tokens), dtype=torch.bool, device=paired.device)
        ours, theirs = said_by(batch, paired), said_by(batch.public, every)
        compare = label_cosine if self.spec.partner == "label_cosine" else entity_overlap
        agreement = compare(ours, theirs)
        known = (agreement > 0).any(dim=1)
        if self.spec.partner_temperature is not None:
            return (agreement / self.spec.partner_temperature).softmax(dim=1), known
        shares = agreement.clamp(min=0)
        return shares / shares.sum(dim=1, keepdim=True).clamp(min=1e-9), known

    def units(self, batch: Batch) -> int:
        """Pairs that have something to find."""
        if self.spec.partner == "own" or batch.public is None:
            return int(batch.paired.sum())
        return int(self._agreeing(batch, batch.paired)[1].sum())


def bank_loss(
    image: Tensor,
    report: Tensor,
    bank_image: Tensor,
    bank_report: Tensor,
    same_text: Tensor,
    temperature: float,
) -> Tensor:
    """The mean over pairs of how surely each finds its partner among the bank's.

    Args:
        image: (B, E) unit rows.
        report: (B, E) unit rows.
        bank_image: (P, E) unit rows.
        bank_report: (P, E) unit rows.
        same_text: (B, P) bool, public pairs that a pair is not to be told from.
        temperature: > 0.

    Returns:
        () nats; log(P + 1) when the embeddings carry no information.
    """
    with torch.autocast(image.device.type, enabled=False):
        image, report = image.float(), report.float()
        own = (image * report).sum(dim=1, keepdim=True)
        ways = [
            torch.cat([own, (asks @ bank.T).masked_fill(same_text, -math.inf)], dim=1) / temperature
            for asks, bank in ((image, bank_report), (report, bank_image))
        ]
        first = torch.zeros(len(image), dtype=torch.long, device=image.device)
        return (F.cross_entropy(ways[0], first) + F.cross_entropy(ways[1], first)) / 2


def agreement_loss(
    image: Tensor,
    report: Tensor,
    bank_image: Tensor,
    bank_report: Tensor,
    target: Tensor,
    temperature: float,
) -> Tensor:
    """The mean over pairs of how surely image and report each find the bank's pairs that agree.

    Args:
        image: (B, E) unit rows.
        report: (B, E) unit rows.
        bank_image: (P, E) unit rows.
        bank_report: (P, E) unit rows.
        target: (B, P) rows that sum to one.
        temperature: > 0.

    Returns:
        () nats above the entropy of the target: 0 when the target is met.
    """
    with torch.autocast(image.device.type, enabled=False):
        ways = [
            asks.float() @ bank.T / temperature for asks, bank in ((image, bank_report), (report, bank_image))
        ]
        needless = torch.xlogy(target, target).sum(dim=1).mean()
        return needless + (F.cross_entropy(ways[0], target) + F.cross_entropy(ways[1], target)) / 2


def same_rows(tokens: Tensor, others: Tensor) -> Tensor:
    """(B, T) and (P, T') word pieces, 0 on padding -> (B, P) bool, whether two texts are the same."""
    length = max(tokens.shape[1], others.shape[1])
    tokens = F.pad(tokens, (0, length - tokens.shape[1]))
    others = F.pad(others, (0, length - others.shape[1]))
    return (tokens[:, None] == others[None]).all(dim=-1)

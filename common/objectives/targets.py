"""Who belongs to whom in a batch: the pair itself, pairs that share text or study, pairs whose reports are
alike.

Against false negatives: two patients with the same findings are no counterexamples to each other (Wang et al.
2022, MedCLIP, arXiv:2210.10163). The same finding on the left of one and on the right of the other is two
findings, which overlap by half: they share what it is, and not where. Shapes: B pairs, B' others, T word
pieces, F entities, W words.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from common.data.batch import Batch, PublicPairs
from common.spec.objectives import TargetsSpec


class Said(NamedTuple):
    """What B reports say of the ontology's F entities."""

    stated: Tensor
    """(B, F) bool, what is there."""
    denied: Tensor
    """(B, F) bool, what is not."""
    sides: Tensor
    """(B, F, 2) bool, whether it says so of the left, and of the right."""

    @property
    def labels(self) -> Tensor:
        """(B, F) rows of length one: above 0 where stated, below where denied, 0 where silent."""
        return F.normalize(self.stated.float() - self.denied.float(), dim=1)


def target_of(spec: TargetsSpec, batch: Batch, rows: Tensor) -> Tensor:
    """(n, n) rows that sum to one: how much each of the pairs `rows` (B,) bool belongs to each other one."""
    partners = positives_of(spec, batch, rows).float()
    own = partners / partners.sum(dim=1, keepdim=True)
    alike = _alike(spec, batch, rows)
    return own if alike is None else mix_targets(own, alike, spec.alike_share, spec.alike_temperature)


def positives_of(spec: TargetsSpec, batch: Batch, rows: Tensor) -> Tensor:
    """(n, n) bool, the pairs that are positives of each other outright; each of itself."""
    positive = torch.eye(int(rows.sum()), dtype=torch.bool, device=rows.device)
    if "same_text" in spec.positives:
        positive = positive | same_text(batch.tokens[rows])
    if "same_study" in spec.positives:
        positive = positive | same_study(batch.study[rows])
    return positive


def negative_weights(spec: TargetsSpec, batch: Batch, rows: Tensor) -> Tensor | None:
    """(n, n) how often each pair counts in a denominator: more where reports say the opposite of each other.

    Positives count once. None when all count alike.
    """
    if spec.hard_negative_weight == 1:
        return None
    hard = opposed(said_by(batch, rows)) & ~positives_of(spec, batch, rows)
    return torch.where(hard, spec.hard_negative_weight, 1.0)


def same_text(tokens: Tensor) -> Tensor:
    """(B, T) word pieces, padded alike -> (B, B) bool, whether two pairs show the same text."""
    return (tokens[:, None] == tokens[None]).all(dim=-1)


def same_study(study: Tensor) -> Tensor:
    """(B,) study numbers -> (B, B) bool."""
    return study[:, None] == study[None]


def same_findings(said: Said) -> Tensor:
    """(B, B) bool, whether two reports state the same, or both nothing."""
    stated = said.stated.float()
    shared, each = _shared(stated, stated, said.sides, said.sides), stated.sum(dim=1)
    return (shared == each[:, None]) & (shared == each[None])


def opposed(said: Said) -> Tensor:
    """(B, B) bool, whether one report states what the other denies."""
    contradicts = _shared(said.stated.float(), said.denied.float(), said.sides, said.sides) > 0
    return contradicts | contradicts.T


def entity_overlap(ours: Said, theirs: Said) -> Tensor:
    """(B, B') Jaccard overlap of what two reports state, 0..1; 0 where one of them states nothing.

    A finding is what it is and where it is: one on the left and one on the right share the half of it, 1 of 3
    halves in all, and are so more alike than two that share a broader entity or nothing.
    """
    stated, others = ours.stated.float(), theirs.stated.float()
    both = (_shared(stated, others, ours.sides, theirs.sides) + stated @ others.T) / 2
    either = stated.sum(dim=1)[:, None] + others.sum(dim=1)[None] - both
    return both / either.clamp(min=1)


def label_cosine(ours: Said, theirs: Said) -> Tensor:
    """(B, B') cosine of the reports' labels, 1 stated, -1 denied, 0 silent; 0 where one of them is silent."""
    return _shared(ours.labels, theirs.labels, ours.sides, theirs.sides)


def report_similarity(reports: Tensor) -> Tensor:
    """(B, W) TF-IDF vectors -> (B, B) cosines, 0..1; -1..1 of (B, D) vectors of a frozen encoder."""
    unit = F.normalize(reports, dim=1)
    return unit @ unit.T


def mix_targets(partners: Tensor, alike: Tensor, share: float, temperature: float | None = None) -> Tensor:
    """(B, B) rows that sum to one: `share` of each by `alike`, the rest by `partners`.

    A row that is not even like itself (a report that says nothing) keeps its partners alone, and gets nothing
    from others.

    Args:
        partners: (B, B) not negative, with a positive diagonal.
        alike: (B, B) similarities, -1..1.
        share: 0..1.
        temperature: of a softmax over the similarities; None for shares in proportion to the positive ones.
    """
    own = partners / partners.sum(dim=1, keepdim=True)
    known = alike.diagonal() > 0
    if temperature is None:
        shares = alike.clamp(min=0)
        shares = shares / shares.sum(dim=1, keepdim=True).clamp(min=1e-9)
    else:
        shares = (alike / temperature).masked_fill(~known[None], float("-inf")).softmax(dim=1)
    return torch.where(known[:, None], (1 - share) * own + share * shares, own)


def _alike(spec: TargetsSpec, batch: Batch, rows: Tensor) -> Tensor | None:
    match spec.alike:
        case "entity_overlap":
            said = said_by(batch, rows)
            return entity_overlap(said, said)
        case "label_cosine":
            said = said_by(batch, rows)
            return label_cosine(said, said)
        case "report_similarity" if batch.words is not None:
            return report_similarity(batch.words[rows])
        case "encoder_similarity" if batch.meanings is not None:
            return report_similarity(batch.meanings[rows])
        case "none":
            return None
    raise AssertionError(f"the batch was built without what {spec.alike} compares")


def said_by(batch: Batch | PublicPairs, rows: Tensor) -> Said:
    """What the reports of the chosen rows say; they must have been read for findings."""
    assert batch.findings is not None, "the batch was built without what reports state"
    assert batch.denied is not None
    assert batch.sides is not None
    return Said(batch.findings[rows], batch.denied[rows], batch.sides[rows])


def _shared(one: Tensor, other: Tensor, sides: Tensor, others: Tensor) -> Tensor:
    """(B, F) and (B', F) -> (B, B') products summed over the entities, but for an entity that one report has
    on the left alone and the other on the right alone.

    Args:
        one: of the rows.
        other: of the columns.
        sides: (B, F, 2) bool, of the rows.
        others: (B', F, 2) bool, of the columns.
    """
    left, right = _one_sided(sides)
    their_left, their_right = _one_sided(others)
    return (
        (one * ~(left | right)) @ other.T
        + (one * left) @ (other * ~their_right).T
        + (one * right) @ (other * ~their_left).T
    )


def _one_sided(sides: Tensor) -> tuple[Tensor, Tensor]:
    """(B, F, 2) bool -> (B, F) bool twice, left alone and right alone."""
    left, right = sides.unbind(dim=-1)
    return left & ~right, right & ~left

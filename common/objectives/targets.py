"""Who belongs to whom in a batch: the pair itself, pairs that share text or study, pairs whose reports are
alike.

Against false negatives: two patients with the same findings are no counterexamples to each other (Wang et al.
2022, MedCLIP, arXiv:2210.10163). The same finding on the left of one and on the right of the other is two
findings, which overlap by half: they share what it is, and not where. Shapes: B pairs, T word pieces,
F entities, W words.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from common.data.batch import Batch
from common.spec.objectives import TargetsSpec


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
    stated, denied, sides = _findings(batch, rows)
    hard = opposed(stated, denied, sides) & ~positives_of(spec, batch, rows)
    return torch.where(hard, spec.hard_negative_weight, 1.0)


def same_text(tokens: Tensor) -> Tensor:
    """(B, T) word pieces, padded alike -> (B, B) bool, whether two pairs show the same text."""
    return (tokens[:, None] == tokens[None]).all(dim=-1)


def same_study(study: Tensor) -> Tensor:
    """(B,) study numbers -> (B, B) bool."""
    return study[:, None] == study[None]


def same_findings(stated: Tensor, sides: Tensor) -> Tensor:
    """(B, F) and (B, F, 2) bool -> (B, B) bool, whether two reports state the same, or both nothing."""
    shared, each = _shared(stated.float(), stated.float(), sides), stated.sum(dim=1)
    return (shared == each[:, None]) & (shared == each[None])


def opposed(stated: Tensor, denied: Tensor, sides: Tensor) -> Tensor:
    """(B, F), (B, F) and (B, F, 2) bool -> (B, B) bool, whether one report states what the other denies."""
    contradicts = _shared(stated.float(), denied.float(), sides) > 0
    return contradicts | contradicts.T


def entity_overlap(findings: Tensor, sides: Tensor) -> Tensor:
    """(B, B) Jaccard overlap of what two reports state, 0..1; 0 where one of them states nothing.

    A finding is what it is and where it is: one on the left and one on the right share the half of it, 1 of 3
    halves in all, and are so more alike than two that share a broader entity or nothing.

    Args:
        findings: (B, F) bool, what each report says is there.
        sides: (B, F, 2) bool, whether it says so of the left, and of the right.
    """
    stated = findings.float()
    both = (_shared(stated, stated, sides) + stated @ stated.T) / 2
    either = stated.sum(dim=1)[:, None] + stated.sum(dim=1)[None] - both
    return both / either.clamp(min=1)


def label_cosine(stated: Tensor, denied: Tensor, sides: Tensor) -> Tensor:
    """(B, B) cosine of the reports' labels, 1 stated, -1 denied, 0 silent; 0 where one of them is silent.

    Args:
        stated: (B, F) bool.
        denied: (B, F) bool.
        sides: (B, F, 2) bool, whether it speaks of the left, and of the right.
    """
    labels = F.normalize(stated.float() - denied.float(), dim=1)
    return _shared(labels, labels, sides)


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
            stated, _, sides = _findings(batch, rows)
            return entity_overlap(stated, sides)
        case "label_cosine":
            return label_cosine(*_findings(batch, rows))
        case "report_similarity" if batch.words is not None:
            return report_similarity(batch.words[rows])
        case "encoder_similarity" if batch.meanings is not None:
            return report_similarity(batch.meanings[rows])
        case "none":
            return None
    raise AssertionError(f"the batch was built without what {spec.alike} compares")


def _findings(batch: Batch, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(n, F) stated, (n, F) denied and (n, F, 2) sides of the chosen rows."""
    assert batch.findings is not None, "the batch was built without what reports state"
    assert batch.denied is not None
    assert batch.sides is not None
    return batch.findings[rows], batch.denied[rows], batch.sides[rows]


def _shared(one: Tensor, other: Tensor, sides: Tensor) -> Tensor:
    """(B, F) and (B, F) -> (B, B) products summed over the entities, but for an entity that one report has on
    the left alone and the other on the right alone.

    Args:
        one: of the rows.
        other: of the columns.
        sides: (B, F, 2) bool, of both.
    """
    left, right = sides.unbind(dim=-1)
    only_left, only_right = left & ~right, right & ~left
    return (
        (one * ~(only_left | only_right)) @ other.T
        + (one * only_left) @ (other * ~only_right).T
        + (one * only_right) @ (other * ~only_left).T
    )

"""Who belongs to whom in a batch: the pair itself, pairs that share text or study, pairs whose reports are
alike.

Against false negatives: two patients with the same findings are no counterexamples to each other (Wang et al.
2022, MedCLIP, arXiv:2210.10163). Shapes: B pairs, T word pieces, F entities, W words.
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
    if spec.hard_negative_weight == 1 or batch.findings is None or batch.denied is None:
        return None
    hard = opposed(batch.findings[rows], batch.denied[rows]) & ~positives_of(spec, batch, rows)
    return torch.where(hard, spec.hard_negative_weight, 1.0)


def same_text(tokens: Tensor) -> Tensor:
    """(B, T) word pieces, padded alike -> (B, B) bool, whether two pairs show the same text."""
    return (tokens[:, None] == tokens[None]).all(dim=-1)


def same_study(study: Tensor) -> Tensor:
    """(B,) study numbers -> (B, B) bool."""
    return study[:, None] == study[None]


def opposed(stated: Tensor, denied: Tensor) -> Tensor:
    """(B, F) and (B, F) bool -> (B, B) bool, whether one report states what the other denies."""
    contradicts = stated.float() @ denied.float().T > 0
    return contradicts | contradicts.T


def entity_overlap(findings: Tensor) -> Tensor:
    """(B, B) Jaccard overlap of what two reports state, 0..1; 0 where one of them states nothing.

    Args:
        findings: (B, F) bool, what each report says is there.
    """
    stated = findings.float()
    both = stated @ stated.T
    either = stated.sum(dim=1)[:, None] + stated.sum(dim=1)[None] - both
    return both / either.clamp(min=1)


def label_cosine(stated: Tensor, denied: Tensor) -> Tensor:
    """(B, B) cosine of the reports' labels, 1 stated, -1 denied, 0 silent; 0 where one of them is silent."""
    labels = stated.float() - denied.float()
    return _cosine(labels)


def report_similarity(reports: Tensor) -> Tensor:
    """(B, W) TF-IDF vectors -> (B, B) cosines, 0..1; -1..1 of (B, D) vectors of a frozen encoder."""
    return _cosine(reports)


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
        case "entity_overlap" if batch.findings is not None:
            return entity_overlap(batch.findings[rows])
        case "label_cosine" if batch.findings is not None and batch.denied is not None:
            return label_cosine(batch.findings[rows], batch.denied[rows])
        case "report_similarity" if batch.words is not None:
            return report_similarity(batch.words[rows])
        case "encoder_similarity" if batch.meanings is not None:
            return report_similarity(batch.meanings[rows])
        case "none":
            return None
    raise AssertionError(f"the batch was built without what {spec.alike} compares")


def _cosine(x: Tensor) -> Tensor:
    unit = F.normalize(x, dim=1)
    return unit @ unit.T

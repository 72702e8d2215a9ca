"""What a model has learned, beside what zero-shot questions tell: of its images, its targets, its guesses.

Shapes: N rows, D width, E embedding width, K prototypes.
"""

import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from common.evaluation.metrics import Floats, auroc

Names = npt.NDArray[np.object_]

PENALTY = 1.0
"""Of the probe: on the squared weights, against the sum of the rows' costs."""
PROBE_STEPS = 100


def probe_auroc(train: Tensor, train_class: Names, test: Tensor, test_class: Names) -> float:
    """Macro one-against-rest AUROC of a logistic regression on frozen vectors.

    Args:
        train: (N, D) vectors to learn from.
        train_class: (N,) their classes.
        test: (N', D) vectors to tell the class of.
        test_class: (N',) their classes; one that training has not is left out.
    """
    mean, spread = train.mean(dim=0), train.std(dim=0).clamp(min=1e-6)
    classes, truth = np.unique(train_class.astype(str), return_inverse=True)
    weight = torch.zeros(train.shape[1], len(classes), dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(len(classes), dtype=torch.float64, requires_grad=True)
    inputs, target = ((train - mean) / spread).double(), torch.from_numpy(truth)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=PROBE_STEPS, line_search_fn="strong_wolfe")

    def cost() -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(inputs @ weight + bias, target, reduction="sum")
        loss = loss + PENALTY / 2 * weight.square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(cost)  # type: ignore[no-untyped-call]
    scores = (((test - mean) / spread).double() @ weight + bias).detach().numpy()
    said = test_class.astype(str)
    known = np.isin(said, classes)
    return float(np.mean([auroc(scores[known, at], said[known] == one) for at, one in enumerate(classes)]))


def shared_information(one: npt.NDArray[np.int64], other: Names) -> float:
    """Mutual information of two labellings (N,) over their mean entropy, 0..1; 0 if both are constant."""
    _, second = np.unique(other.astype(str), return_inverse=True)
    _, first = np.unique(one, return_inverse=True)
    joint = np.zeros((first.max() + 1, second.max() + 1))
    np.add.at(joint, (first, second), 1 / len(first))
    entropies = _entropy(joint.sum(axis=1)), _entropy(joint.sum(axis=0))
    mean = sum(entropies) / 2
    return (sum(entropies) - _entropy(joint.ravel())) / mean if mean > 0 else 0.0


def _entropy(shares: Floats) -> float:
    there = shares[shares > 0]
    return float(-(there * np.log(there)).sum())


def siblings(images: Tensor, study: Names) -> tuple[float, float]:
    """How images of one study lie among the others: how much higher their cosine is, and how likely.

    Args:
        images: (N, E) unit rows.
        study: (N,) names of studies.

    Returns:
        The mean over images with a sibling of the siblings' mean cosine less the others', and of the chance
        that a sibling's is higher (0.5 knows nothing); nan where no image has one.
    """
    cosines = (images @ images.T).double().numpy()
    found = list(_beside(cosines, study))
    if not found:
        return math.nan, math.nan
    gaps = [row[own].mean() - row[~own].mean() for row, own in found]
    return float(np.mean(gaps)), float(np.mean([auroc(row, own) for row, own in found]))


def _beside(cosines: Floats, study: Names) -> Iterator[tuple[Floats, npt.NDArray[np.bool_]]]:
    """For every image with siblings its cosines to all others, and which of them are siblings."""
    for at, row in enumerate(cosines):
        others = np.arange(len(row)) != at
        own = (study == study[at])[others]
        if own.any() and not own.all():
            yield row[others], own


def mass_on_alike(target: Tensor, label: Names, study: Names) -> tuple[float, float]:
    """What a target gives on average to a row of the same label, and to one of another, of other studies.

    Args:
        target: (N, N) rows that sum to one.
        label: (N,) what they may share; "" counts for nothing.
        study: (N,) names of studies.
    """
    shares = target.double().numpy()
    apart = study[:, None] != study[None]
    known = (label != "")[:, None] & (label != "")[None]
    same = (label[:, None] == label[None]) & known & apart
    other = (label[:, None] != label[None]) & known & apart
    return _mean(shares[same]), _mean(shares[other])


def _mean(values: Floats) -> float:
    return float(values.mean()) if len(values) else math.nan

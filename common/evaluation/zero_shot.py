"""Zero-shot classification: which of two groups of prompts does an image lie nearer to?

Shapes: N images, P positive and Q negative prompts, D embedding width.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from common.evaluation.metrics import (
    AurocStatistic,
    Estimate,
    Floats,
    auroc,
    bootstrap_by_patient,
    number_or_null,
)

NOT_LABELLED = -1
"""Truth of a row that the task does not ask."""


def zero_shot_scores(images: npt.ArrayLike, positive: npt.ArrayLike, negative: npt.ArrayLike) -> Floats:
    """How much nearer each image lies to the positive prompts than to the negative ones.

    A group of prompts is the renormalised mean of its unit embeddings.
    Source: Radford et al. 2021, arXiv:2103.00020, section 3.1.4.

    Args:
        images: (N, D) embeddings of any length.
        positive: (P, D) embeddings of prompts that describe the finding.
        negative: (Q, D) embeddings of prompts that deny it.

    Returns:
        (N,) differences of cosines, -2 to 2; 0 for an image at the same angle to both.
    """
    direction = _centre(positive) - _centre(negative)
    return np.asarray(unit_rows(images) @ direction, dtype=np.float64)


def unit_rows(embeddings: npt.ArrayLike) -> Floats:
    """(N, D) float64 rows of length one; zeros stay zeros, a row with nan or infinity turns to nan."""
    rows = np.asarray(embeddings, dtype=np.float64)
    rows = np.where(np.isfinite(rows).all(axis=-1, keepdims=True), rows, math.nan)
    lengths = np.linalg.norm(rows, axis=-1, keepdims=True)
    return np.asarray(np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths != 0))


def _centre(prompts: npt.ArrayLike) -> Floats:
    """(D,) unit vector in the middle of (P, D) prompts."""
    return unit_rows(unit_rows(prompts).mean(axis=0))


@dataclass(frozen=True, eq=False)
class ZeroShotTask:
    """A yes/no question, the scores that answer it, and the truth."""

    name: str
    scores: Floats
    """(N,) higher means yes."""
    truth: npt.NDArray[np.int8]
    """(N,) 1 yes, 0 no, `NOT_LABELLED` not asked."""
    patients: npt.NDArray[np.object_]
    """(N,) pseudonyms; the same name is the same patient in every task."""

    def __post_init__(self) -> None:
        assert len(self.scores) == len(self.truth) == len(self.patients), f"task {self.name}: unequal lengths"

    @property
    def positives(self) -> int:
        """Images whose answer is yes."""
        return int((self.truth == 1).sum())

    @property
    def negatives(self) -> int:
        """Images whose answer is no."""
        return int((self.truth == 0).sum())

    def labelled(self) -> "ZeroShotTask":
        """Only the rows that are asked."""
        asked = self.truth != NOT_LABELLED
        return ZeroShotTask(self.name, self.scores[asked], self.truth[asked], self.patients[asked])

    def statistic(self) -> AurocStatistic:
        """AUROC of the rows of this task."""
        return AurocStatistic(self.scores, self.truth == 1)


@dataclass(frozen=True)
class ZeroShotResult:
    """How well one question is answered."""

    task: str
    auroc: Estimate
    positives: int
    negatives: int

    def to_json(self) -> dict[str, object]:
        """As it stands in `run.json`."""
        return {
            "task": self.task,
            "auroc": self.auroc.to_json(),
            "positives": self.positives,
            "negatives": self.negatives,
        }


def zero_shot(task: ZeroShotTask, *, draws: int = 1000, seed: int) -> Estimate:
    """AUROC of `task` over its labelled rows, with an interval over patients; nan without both classes."""
    asked = task.labelled()
    value = auroc(asked.scores, asked.truth == 1)
    if math.isnan(value):
        return Estimate(value)
    low, high = bootstrap_by_patient(asked.statistic(), asked.patients, draws=draws, seed=seed)
    return Estimate(value, low, high)


def mean_auroc(tasks: Sequence[ZeroShotTask], *, draws: int = 1000, seed: int) -> Estimate:
    """Mean AUROC over the tasks that have both classes, each task counting the same.

    A draw resamples patients once for all tasks, so that a patient who is in several tasks enters or leaves
    all of them together. A draw in which one of the tasks lacks a class is skipped.

    Returns:
        nan if no task has both classes.
    """
    asked = [task for task in (task.labelled() for task in tasks) if task.positives and task.negatives]
    if not asked:
        return Estimate(math.nan)
    value = float(np.mean([auroc(task.scores, task.truth == 1) for task in asked]))
    sizes = [len(task.scores) for task in asked]
    everyone = np.concatenate([task.patients for task in asked])
    statistics = [task.statistic() for task in asked]

    def mean_of_draws(counts: npt.NDArray[np.int64]) -> Floats:
        blocks = np.split(counts, np.cumsum(sizes)[:-1], axis=1)
        each = [statistic(block) for statistic, block in zip(statistics, blocks, strict=True)]
        return np.asarray(np.mean(each, axis=0), dtype=np.float64)

    low, high = bootstrap_by_patient(mean_of_draws, everyone, draws=draws, seed=seed)
    return Estimate(value, low, high)


@dataclass(frozen=True)
class ZeroShotSummary:
    """Every question, and their mean."""

    tasks: tuple[ZeroShotResult, ...]
    mean_auroc: Estimate

    def to_json(self) -> dict[str, object]:
        """Keys `zero_shot` and `mean_auroc` of `run.json`; the mean is null when no task could be asked."""
        undefined = number_or_null(self.mean_auroc.value) is None
        return {
            "zero_shot": [task.to_json() for task in self.tasks],
            "mean_auroc": None if undefined else self.mean_auroc.to_json(),
        }


def evaluate_zero_shot(tasks: Sequence[ZeroShotTask], *, draws: int = 1000, seed: int) -> ZeroShotSummary:
    """`zero_shot` of every task, in order, and `mean_auroc` of all."""
    results = tuple(
        ZeroShotResult(task.name, zero_shot(task, draws=draws, seed=seed), task.positives, task.negatives)
        for task in tasks
    )
    return ZeroShotSummary(results, mean_auroc(tasks, draws=draws, seed=seed))

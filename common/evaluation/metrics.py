"""Figures with intervals: the area under the ROC curve, and a bootstrap that resamples patients.

Shapes: N rows (images or queries), D bootstrap draws, P patients.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

Statistic = Callable[[Integers], Floats]
"""(D, N) how often each row counts in each draw -> (D,) values, nan where undefined."""

INTERVAL = (0.025, 0.975)
"""Quantiles of the draws that bound an interval of 95 %."""

CELLS_AT_ONCE = 1_000_000
"""Upper bound on draws x rows held in memory at a time (8 MB an array)."""


@dataclass(frozen=True)
class Estimate:
    """A figure and its 95 % interval; nan where undefined."""

    value: float
    low: float = math.nan
    high: float = math.nan

    def to_json(self) -> dict[str, float | None]:
        """JSON has no nan: null stands for undefined."""
        return {
            "value": number_or_null(self.value),
            "low": number_or_null(self.low),
            "high": number_or_null(self.high),
        }

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"


def number_or_null(value: float) -> float | None:
    """`value`, or None for nan and infinity."""
    return float(value) if math.isfinite(value) else None


def auroc(scores: npt.ArrayLike, positive: npt.ArrayLike) -> float:
    """How likely a positive scores higher than a negative; a tie counts one half.

    Returns nan, not an error, when a class is missing or a score is nan: one hospital without a single
    positive must not end an evaluation. O(N log N).

    Args:
        scores: (N,) higher means positive.
        positive: (N,) true where the row is positive.

    Returns:
        0 to 1; 0.5 when the scores say nothing.
    """
    positive = np.asarray(positive, dtype=bool)
    return float(AurocStatistic(scores, positive)(np.ones((1, len(positive)), dtype=np.int64))[0])


class AurocStatistic:
    """The AUROC of fixed scores when rows count several times or not at all; sorts once, then O(N) a draw."""

    def __init__(self, scores: npt.ArrayLike, positive: npt.ArrayLike) -> None:
        """Sort (N,) `scores`; `positive` is (N,) bool."""
        scores = np.asarray(scores, dtype=np.float64)
        positive = np.asarray(positive, dtype=bool)
        assert scores.shape == positive.shape, f"{scores.shape} scores for {positive.shape} labels"
        self._undefined = bool(np.isnan(scores).any())
        self._order = np.argsort(scores, kind="stable")
        self._positive: Flags = positive[self._order]
        ranked = scores[self._order]
        self._below: Integers = np.searchsorted(ranked, ranked, side="left")
        self._up_to: Integers = np.searchsorted(ranked, ranked, side="right")

    def __call__(self, counts: Integers) -> Floats:
        """(D, N) how often each row counts -> (D,) AUROC, nan where a class is missing."""
        nothing = np.full(len(counts), math.nan)
        if self._undefined:
            return nothing
        counts = counts[:, self._order]
        positives = counts * self._positive
        negatives = np.zeros((len(counts), counts.shape[1] + 1), dtype=np.int64)
        np.cumsum(counts * ~self._positive, axis=1, out=negatives[:, 1:])
        # Negatives strictly below and up to each row's score: their mean counts a tie one half.
        twice_won = (positives * (negatives[:, self._below] + negatives[:, self._up_to])).sum(axis=1)
        pairs = positives.sum(axis=1) * negatives[:, -1]
        return np.asarray(np.divide(twice_won, 2 * pairs, out=nothing, where=pairs > 0))


def bootstrap_by_patient(
    statistic: Statistic, patients: npt.ArrayLike, *, draws: int = 1000, seed: int
) -> tuple[float, float]:
    """95 % interval of `statistic` over other patients, not other images of these patients.

    Each draw picks as many patients as there are, with replacement, and every row of a patient counts as
    often as the patient was picked. Draws for which `statistic` is undefined are skipped. The interval
    is made of percentiles: a figure that never varies, such as a perfect score, gets one without width.
    Source: Efron and Tibshirani 1993, An Introduction to the Bootstrap, sections 8.3 and 13.3.

    Args:
        statistic: values of many draws at once; see `Statistic`.
        patients: (N,) who each row belongs to.
        draws: number of resamples.
        seed: the same seed gives the same interval.

    Returns:
        Lower and upper bound; nan with fewer than two patients or without any defined draw.
    """
    names, patient_of_row = np.unique(np.asarray(patients, dtype=str), return_inverse=True)
    if len(names) < 2:
        return math.nan, math.nan
    picked = _patient_counts(len(names), len(patient_of_row), draws=draws, seed=seed)
    return _interval(np.concatenate([statistic(counts[:, patient_of_row]) for counts in picked]))


def _patient_counts(num_patients: int, num_rows: int, *, draws: int, seed: int) -> Iterator[Integers]:
    """How often each of `num_patients` is picked: (d, P) blocks of together `draws` rows, each with sum P.

    A block times `num_rows` stays below `CELLS_AT_ONCE`, unless one draw alone is larger.
    """
    rng = np.random.default_rng(seed)
    at_once = max(1, CELLS_AT_ONCE // max(num_rows, num_patients))
    for start in range(0, draws, at_once):
        size = min(at_once, draws - start)
        # One number after the other, so that the draws do not depend on the size of the blocks.
        picks = rng.integers(num_patients, size=(size, num_patients))
        picks += num_patients * np.arange(size)[:, None]
        yield np.bincount(picks.ravel(), minlength=size * num_patients).reshape(size, num_patients)


def _interval(values: Floats) -> tuple[float, float]:
    """The bounds between which 95 % of the defined `values` lie; nan if none is defined."""
    defined = values[~np.isnan(values)]
    if not len(defined):
        return math.nan, math.nan
    low, high = np.quantile(defined, INTERVAL)
    return float(low), float(high)

"""Retrieval within a hospital: does an image find its report among all reports, and a report its image?

Shapes: N pairs, D embedding width, K cut-offs.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from common.evaluation.metrics import (
    Estimate,
    Flags,
    Floats,
    Integers,
    Statistic,
    bootstrap_by_patient,
    number_or_null,
)
from common.evaluation.zero_shot import unit_rows

Direction = Literal["image-to-report", "report-to-image"]

CUT_OFFS = (1, 5, 10)
"""Recall is measured among this many best candidates."""

DECIMALS = 6
"""Cosines nearer than float32 can tell are ties, and a tie is worth its chance."""

QUERIES_AT_ONCE = 256


@dataclass(frozen=True)
class Retrieval:
    """One direction of retrieval over N pairs."""

    direction: Direction
    queries: int
    recall: dict[int, Estimate]
    """Cut-off -> share of queries with a correct candidate among that many best, ties broken at random."""
    chance: dict[int, float]
    """Cut-off -> the recall of candidates in random order, exactly."""
    percentile_rank: Estimate
    """How likely a correct candidate ranks above a wrong one: 0.5 is chance, 1 is best."""

    def to_json(self) -> dict[str, object]:
        """As it stands in `run.json`, but for the site."""
        return {
            "queries": self.queries,
            "direction": self.direction,
            "recall": {str(cut_off): estimate.to_json() for cut_off, estimate in self.recall.items()},
            "chance": {str(cut_off): number_or_null(share) for cut_off, share in self.chance.items()},
            "percentile_rank": self.percentile_rank.to_json(),
        }


def retrieval(
    images: npt.ArrayLike,
    reports: npt.ArrayLike,
    *,
    studies: npt.ArrayLike,
    texts: npt.ArrayLike,
    patients: npt.ArrayLike,
    draws: int = 1000,
    seed: int,
) -> tuple[Retrieval, Retrieval]:
    """Both directions of retrieval, image to report first.

    Every row is a query and every row is a candidate; a candidate of the same study or with the same text is
    correct. The intervals resample the patients who ask, among the same candidates. One embedding that is nan
    or infinite makes every figure but `chance` undefined.

    Args:
        images: (N, D) embeddings of any length.
        reports: (N, D) embeddings; row i belongs with row i of `images`.
        studies: (N,) names of studies.
        texts: (N,) the reports, as they were embedded.
        patients: (N,) names of patients.
        draws: bootstrap resamples.
        seed: of the bootstrap.
    """
    image_rows, report_rows = unit_rows(images), unit_rows(reports)
    study, text = _numbered(studies), _numbered(texts)
    assert len(image_rows) == len(report_rows) == len(study) == len(text), "unequal numbers of rows"

    def one_way(direction: Direction, queries: Floats, candidates: Floats) -> Retrieval:
        outcomes = _outcomes(queries, candidates, study, text)
        return _summary(direction, outcomes, np.asarray(patients, dtype=str), draws=draws, seed=seed)

    return (
        one_way("image-to-report", image_rows, report_rows),
        one_way("report-to-image", report_rows, image_rows),
    )


def chance_recall(num_correct: npt.ArrayLike, num_candidates: int, cut_off: int) -> Floats:
    """Recall of candidates in random order: 1 - C(N-M, k) / C(N, k).

    Args:
        num_correct: (...) M, 0 to N, correct candidates of each query.
        num_candidates: N.
        cut_off: k; all candidates when larger than N.

    Returns:
        (...) 0 to 1.
    """
    wrong = num_candidates - np.asarray(num_correct, dtype=np.float64)
    missed = np.ones_like(wrong)
    for drawn in range(min(cut_off, num_candidates)):
        missed *= np.maximum(wrong - drawn, 0) / (num_candidates - drawn)
    return np.asarray(1 - missed)


@dataclass(frozen=True)
class _Outcomes:
    """What happened to each query."""

    hits: Floats
    """(N, K) chance of a correct candidate within each cut-off, given the scores; 0 or 1 without ties."""
    chance: Floats
    """(N, K) the same for candidates in random order."""
    percentile: Floats
    """(N,) share of pairs of a correct and a wrong candidate in the right order; nan if none is wrong."""


def _outcomes(queries: Floats, candidates: Floats, study: Integers, text: Integers) -> _Outcomes:
    broken = bool(np.isnan(queries).any() or np.isnan(candidates).any())
    hits, percentile, num_correct = [], [], []
    for scores, correct in _scored(queries, candidates, study, text):
        hits.append([math.nan] * len(CUT_OFFS) if broken else _hits(scores, correct))
        percentile.append(math.nan if broken else _percentile(scores, correct))
        num_correct.append(int(correct.sum()))
    chance = [chance_recall(num_correct, len(candidates), cut_off) for cut_off in CUT_OFFS]
    return _Outcomes(
        hits=np.reshape(np.array(hits, dtype=np.float64), (-1, len(CUT_OFFS))),
        chance=np.stack(chance, axis=1),
        percentile=np.array(percentile, dtype=np.float64),
    )


def _scored(
    queries: Floats, candidates: Floats, study: Integers, text: Integers
) -> Iterator[tuple[Floats, Flags]]:
    """(N,) cosines to every candidate and which are correct, query by query; computed in blocks."""
    for start in range(0, len(queries), QUERIES_AT_ONCE):
        block = slice(start, start + QUERIES_AT_ONCE)
        cosines = np.round(queries[block] @ candidates.T, DECIMALS)
        correct = (study[block, None] == study) | (text[block, None] == text)
        yield from zip(cosines, correct, strict=True)


def _hits(scores: Floats, correct: Flags) -> list[float]:
    """Chance of a correct candidate within each cut-off when ties are broken at random."""
    best = scores[correct].max()
    ahead = int((scores > best).sum())  # all wrong
    tied = scores == best
    num_tied, num_tied_correct = int(tied.sum()), int((tied & correct).sum())
    return [float(chance_recall(num_tied_correct, num_tied, max(cut_off - ahead, 0))) for cut_off in CUT_OFFS]


def _percentile(scores: Floats, correct: Flags) -> float:
    """AUROC of `correct` from midranks: O(N log N) and light enough for every query."""
    right, wrong = scores[correct], np.sort(scores[~correct])
    if not len(wrong):
        return math.nan
    below = np.searchsorted(wrong, right, side="left") + np.searchsorted(wrong, right, side="right")
    return float(below.mean()) / (2 * len(wrong))


def _summary(
    direction: Direction,
    outcomes: _Outcomes,
    patients: npt.NDArray[np.str_],
    *,
    draws: int,
    seed: int,
) -> Retrieval:
    def estimate(values: Floats) -> Estimate:
        statistic = _weighted_mean(values)
        value = float(statistic(np.ones((1, len(values)), dtype=np.int64))[0])
        return Estimate(value, *bootstrap_by_patient(statistic, patients, draws=draws, seed=seed))

    num_queries = len(outcomes.hits)
    return Retrieval(
        direction=direction,
        queries=num_queries,
        recall={cut_off: estimate(outcomes.hits[:, column]) for column, cut_off in enumerate(CUT_OFFS)},
        chance={
            cut_off: float(outcomes.chance[:, column].mean()) if num_queries else math.nan
            for column, cut_off in enumerate(CUT_OFFS)
        },
        percentile_rank=estimate(outcomes.percentile),
    )


def _weighted_mean(values: Floats) -> Statistic:
    """Mean of the defined `values` when each counts several times."""
    defined = ~np.isnan(values)
    numbers = np.where(defined, values, 0.0)

    def statistic(counts: Integers) -> Floats:
        total = counts @ defined.astype(np.float64)
        nothing = np.full(len(counts), math.nan)
        return np.asarray(np.divide(counts @ numbers, total, out=nothing, where=total > 0))

    return statistic


def _numbered(names: npt.ArrayLike) -> Integers:
    """(N,) equal names get equal numbers."""
    _, numbers = np.unique(np.asarray(names, dtype=str), return_inverse=True)
    return numbers.astype(np.int64)

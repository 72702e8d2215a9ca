import json
import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from common.evaluation import metrics
from common.evaluation.metrics import AurocStatistic, Estimate, auroc, bootstrap_by_patient

seeds = st.integers(0, 2**32 - 1)


@st.composite
def answers(draw: st.DrawFn) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """Scores with many ties, and labels of both classes."""
    labels = draw(st.lists(st.booleans(), min_size=2, max_size=40).filter(lambda row: len(set(row)) == 2))
    scores = draw(st.lists(st.integers(-3, 3), min_size=len(labels), max_size=len(labels)))
    return np.array(scores, dtype=float), np.array(labels)


def mean_statistic(values: npt.NDArray[np.float64]) -> metrics.Statistic:
    return lambda counts: counts @ values / counts.sum(axis=1)


@given(answers())
@settings(deadline=None)
def test_auroc_equals_scikit_learn(row: tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]) -> None:
    scores, positive = row
    assert auroc(scores, positive) == pytest.approx(roc_auc_score(positive, scores), abs=1e-12)


@given(answers())
@settings(deadline=None)
def test_auroc_of_reversed_scores_is_the_rest_to_one(
    row: tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]],
) -> None:
    scores, positive = row
    assert auroc(-scores, positive) == pytest.approx(1 - auroc(scores, positive))


@given(answers(), seeds)
@settings(deadline=None)
def test_counting_a_row_twice_equals_repeating_it(
    row: tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]], seed: int
) -> None:
    scores, positive = row
    counts = np.random.default_rng(seed).integers(0, 4, size=(3, len(scores)))
    repeated = [auroc(np.repeat(scores, count), np.repeat(positive, count)) for count in counts]
    np.testing.assert_allclose(AurocStatistic(scores, positive)(counts), repeated)


def test_auroc_of_constant_scores_is_one_half() -> None:
    assert auroc([7, 7, 7], [True, False, True]) == 0.5


@pytest.mark.parametrize(
    ("scores", "positive"),
    [([1, 2], [True, True]), ([1, 2], [False, False]), ([], []), ([1, math.nan], [1, 0])],
)
def test_auroc_is_nan_without_both_classes_or_with_a_nan_score(
    scores: list[float], positive: list[bool]
) -> None:
    assert math.isnan(auroc(scores, positive))


def test_the_interval_of_a_mean_is_the_textbook_one() -> None:
    values = np.random.default_rng(0).normal(size=400)
    low, high = bootstrap_by_patient(mean_statistic(values), np.arange(400), draws=4000, seed=1)
    half_width = 1.96 * values.std() / math.sqrt(400)
    assert low == pytest.approx(values.mean() - half_width, abs=0.1 * half_width)
    assert high == pytest.approx(values.mean() + half_width, abs=0.1 * half_width)


@given(st.integers(1, 5), seeds)
@settings(max_examples=10, deadline=None)
def test_more_images_of_the_same_patients_do_not_narrow_the_interval(copies: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores, positive, patients = rng.normal(size=30), np.arange(30) % 3 == 0, np.arange(30) // 2
    once = bootstrap_by_patient(AurocStatistic(scores, positive), patients, draws=50, seed=seed)
    again = bootstrap_by_patient(
        AurocStatistic(np.tile(scores, copies), np.tile(positive, copies)),
        np.tile(patients, copies),
        draws=50,
        seed=seed,
    )
    assert again == pytest.approx(once)


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    truth = 0.5 * (1 + math.erf(1 / 2))  # Phi(d / sqrt 2) for two normal classes d = 1 apart
    covered = 0
    for seed in range(300):
        rng = np.random.default_rng(seed)
        positive = np.arange(80) % 2 == 0
        statistic = AurocStatistic(rng.normal(size=80) + positive, positive)
        low, high = bootstrap_by_patient(statistic, np.arange(80), draws=200, seed=seed)
        covered += low <= truth <= high
    assert 0.91 <= covered / 300 <= 0.985


def test_the_interval_depends_on_the_seed_alone_not_on_blocks_or_row_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(3)
    values, patients, order = rng.normal(size=50), np.arange(50) // 3, rng.permutation(50)
    whole = bootstrap_by_patient(mean_statistic(values), patients, draws=101, seed=9)
    other = bootstrap_by_patient(mean_statistic(values), patients, draws=101, seed=10)
    monkeypatch.setattr(metrics, "CELLS_AT_ONCE", 7 * 50)
    in_blocks = bootstrap_by_patient(mean_statistic(values[order]), patients[order], draws=101, seed=9)
    assert in_blocks == pytest.approx(whole)
    assert other != whole


def test_draws_without_a_class_are_skipped() -> None:
    statistic = AurocStatistic([0.1, 0.9], [False, True])
    assert bootstrap_by_patient(statistic, ["a", "b"], draws=100, seed=0) == (1.0, 1.0)


@pytest.mark.parametrize("patients", [[], ["a"], ["a", "a"]])
def test_fewer_than_two_patients_have_no_interval(patients: list[str]) -> None:
    low, high = bootstrap_by_patient(
        AurocStatistic(np.arange(len(patients)), [False, True][: len(patients)]), patients, seed=0
    )
    assert math.isnan(low)
    assert math.isnan(high)


def test_a_statistic_that_is_never_defined_has_no_interval() -> None:
    low, _ = bootstrap_by_patient(AurocStatistic([1, 2], [True, True]), ["a", "b"], draws=10, seed=0)
    assert math.isnan(low)


def test_an_undefined_estimate_is_null_in_json() -> None:
    assert json.dumps(Estimate(0.5).to_json(), allow_nan=False) == '{"value": 0.5, "low": null, "high": null}'

import json
import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from common.evaluation.metrics import auroc
from common.evaluation.zero_shot import (
    NOT_LABELLED,
    ZeroShotTask,
    evaluate_zero_shot,
    mean_auroc,
    zero_shot,
    zero_shot_scores,
)

seeds = st.integers(0, 2**32 - 1)


def task(seed: int, *, name: str = "effusion", rows: int = 60, signal: float = 1.0) -> ZeroShotTask:
    """Two images a patient; every fifth row is not asked."""
    rng = np.random.default_rng(seed)
    truth = (rng.random(rows) < 0.4).astype(np.int8)
    scores = rng.normal(size=rows) + signal * truth
    truth[::5] = NOT_LABELLED
    return ZeroShotTask(name, scores, truth, np.array([f"p{row // 2}" for row in range(rows)], dtype=object))


def unlabelled(rows: int = 4) -> ZeroShotTask:
    return ZeroShotTask(
        "none", np.arange(rows, dtype=float), np.full(rows, -1, np.int8), np.arange(rows).astype(object)
    )


def test_scores_are_differences_of_cosines() -> None:
    scores = zero_shot_scores([[3, 0], [0, 0.1], [1, 1], [-1, 0]], [[2, 0]], [[0, 5]])
    assert_allclose(scores, [1, -1, 0, -1], atol=1e-12)


def test_a_group_of_prompts_is_its_renormalised_mean() -> None:
    halfway = math.cos(math.pi / 4)
    assert_allclose(zero_shot_scores([[1, 0, 0]], [[1, 0, 0], [0, 7, 0]], [[0, 0, 1]]), [halfway], atol=1e-12)


@given(seeds)
@settings(max_examples=20, deadline=None)
def test_scores_ignore_lengths_and_repeated_prompts_and_swap_sign(seed: int) -> None:
    rng = np.random.default_rng(seed)
    images, yes, no = rng.normal(size=(5, 8)), rng.normal(size=(3, 8)), rng.normal(size=(2, 8))
    scores = zero_shot_scores(images, yes, no)
    assert_allclose(
        zero_shot_scores(images * rng.uniform(0.1, 9, (5, 1)), np.tile(yes, (2, 1)), 3 * no), scores
    )
    assert_allclose(zero_shot_scores(images, no, yes), -scores)
    assert (np.abs(scores) <= 2).all()


def test_an_empty_image_scores_zero_and_a_broken_one_nan() -> None:
    scores = zero_shot_scores([[0, 0], [math.nan, 1], [math.inf, 1]], [[1, 0]], [[0, 1]])
    assert scores[0] == 0
    assert np.isnan(scores[1:]).all()


def test_only_labelled_rows_are_asked() -> None:
    one = task(0)
    asked = one.truth != NOT_LABELLED
    assert zero_shot(one, seed=0).value == auroc(one.scores[asked], one.truth[asked] == 1)
    assert one.positives + one.negatives == asked.sum() == 48


def test_the_interval_holds_the_value_and_leaves_chance_out() -> None:
    estimate = zero_shot(task(0, rows=200, signal=1.5), seed=0)
    assert 0.5 < estimate.low < estimate.value < estimate.high < 1


def test_the_mean_of_one_task_is_that_task() -> None:
    assert mean_auroc([task(4)], draws=200, seed=7) == zero_shot(task(4), draws=200, seed=7)


def test_asking_the_same_question_twice_does_not_narrow_the_mean() -> None:
    once, twice = (mean_auroc([task(4)] * times, draws=200, seed=7) for times in (1, 2))
    assert (twice.value, twice.low, twice.high) == pytest.approx((once.value, once.low, once.high))


def test_questions_to_other_patients_narrow_the_mean() -> None:
    tasks = [task(seed) for seed in range(8)]
    apart = [
        ZeroShotTask(
            one.name, one.scores, one.truth, np.array([f"{site}{p}" for p in one.patients], dtype=object)
        )
        for site, one in enumerate(tasks)
    ]
    mean, single = mean_auroc(apart, seed=0), zero_shot(tasks[0], seed=0)
    assert mean.high - mean.low < 0.6 * (single.high - single.low)


def test_tasks_without_both_classes_are_left_out_of_the_mean() -> None:
    assert math.isnan(zero_shot(unlabelled(), seed=0).value)
    assert mean_auroc([task(1), unlabelled()], draws=50, seed=0) == mean_auroc([task(1)], draws=50, seed=0)
    assert math.isnan(mean_auroc([unlabelled()], seed=0).value)
    assert math.isnan(mean_auroc([], seed=0).value)


def test_a_model_that_answers_nan_has_an_undefined_mean() -> None:
    broken = task(1)
    broken = ZeroShotTask("broken", np.full_like(broken.scores, math.nan), broken.truth, broken.patients)
    assert math.isnan(mean_auroc([task(2), broken], draws=50, seed=0).value)


def test_the_summary_is_plain_json() -> None:
    summary = evaluate_zero_shot([task(1), unlabelled()], draws=50, seed=0).to_json()
    first, second = json.loads(json.dumps(summary, allow_nan=False))["zero_shot"]
    assert (first["task"], first["positives"] + first["negatives"]) == ("effusion", 48)
    assert first["auroc"]["low"] <= first["auroc"]["value"] <= first["auroc"]["high"]
    assert second["auroc"] == {"value": None, "low": None, "high": None}
    assert evaluate_zero_shot([], seed=0).to_json() == {"zero_shot": [], "mean_auroc": None}


def test_a_thousand_draws_of_eight_tasks_take_under_two_seconds_of_cpu() -> None:
    tasks: list[ZeroShotTask] = [task(seed, rows=400) for seed in range(8)]
    start = time.process_time()
    evaluate_zero_shot(tasks, draws=1000, seed=0)
    assert time.process_time() - start < 2

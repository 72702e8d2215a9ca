import json
import math
from itertools import combinations, permutations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.evaluation.metrics import auroc
from common.evaluation.retrieval import CUT_OFFS, Retrieval, chance_recall, retrieval

Names = list[int]
Rows = npt.NDArray[np.float64]

seeds = st.integers(0, 2**32 - 1)


@st.composite
def small_hospitals(draw: st.DrawFn) -> tuple[Rows, Rows, Names, Names]:
    """Six pairs with embeddings on a coarse grid (many ties), some of one study, some with one text."""
    grid = st.lists(st.tuples(st.integers(-1, 1), st.integers(-1, 1)), min_size=6, max_size=6)
    names = st.lists(st.integers(0, 5), min_size=6, max_size=6)
    images, reports = (np.array(draw(grid), dtype=float) for _ in range(2))
    return images, reports, draw(names), draw(names)


def run(
    images: npt.ArrayLike, reports: npt.ArrayLike, studies: Names, texts: Names
) -> tuple[Retrieval, Retrieval]:
    patients = [f"p{row}" for row in range(len(studies))]
    return retrieval(images, reports, studies=studies, texts=texts, patients=patients, draws=20, seed=0)


def cosines(images: Rows, reports: Rows) -> Rows:
    def unit(rows: Rows) -> Rows:
        return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)

    return np.round(unit(images) @ unit(reports).T, 9)


def correct_candidates(studies: Names, texts: Names) -> npt.NDArray[np.bool_]:
    pairs = range(len(studies))
    return np.array([[studies[i] == studies[j] or texts[i] == texts[j] for j in pairs] for i in pairs])


@given(small_hospitals())
@settings(max_examples=25, deadline=None)
def test_recall_equals_the_mean_over_all_ways_to_break_ties(
    hospital: tuple[Rows, Rows, Names, Names],
) -> None:
    images, reports, studies, texts = hospital
    scores, correct = cosines(images, reports), correct_candidates(studies, texts)
    there, _ = run(*hospital)
    orders = np.array(list(permutations(range(6))))
    for cut_off in (1, 5):
        hits = [
            np.mean(
                [right[order[np.argsort(-row[order], kind="stable")][:cut_off]].any() for order in orders]
            )
            for row, right in zip(scores, correct, strict=True)
        ]
        assert there.recall[cut_off].value == pytest.approx(np.mean(hits))


@given(small_hospitals())
@settings(max_examples=50, deadline=None)
def test_percentile_rank_is_the_share_of_pairs_in_the_right_order(
    hospital: tuple[Rows, Rows, Names, Names],
) -> None:
    images, reports, studies, texts = hospital
    scores, correct = cosines(images, reports), correct_candidates(studies, texts)
    ranks = [auroc(row, right) for row, right in zip(scores, correct, strict=True)]
    there, _ = run(*hospital)
    if all(map(math.isnan, ranks)):
        assert math.isnan(there.percentile_rank.value)
    else:
        assert there.percentile_rank.value == pytest.approx(np.nanmean(ranks))


@pytest.mark.parametrize("cut_off", [1, 2, 5, 9])
@pytest.mark.parametrize("num_correct", range(8))
def test_chance_equals_counting_every_choice(num_correct: int, cut_off: int) -> None:
    choices = list(combinations(range(7), min(cut_off, 7)))
    hits = sum(any(candidate < num_correct for candidate in choice) for choice in choices)
    assert float(chance_recall(num_correct, 7, cut_off)) == pytest.approx(hits / len(choices))


@given(small_hospitals())
@settings(max_examples=25, deadline=None)
def test_a_collapsed_model_gets_exactly_chance(hospital: tuple[Rows, Rows, Names, Names]) -> None:
    _, _, studies, texts = hospital
    same = np.tile(np.random.default_rng(0).normal(size=33), (6, 1))
    for direction in run(same, same, studies, texts):
        for cut_off in CUT_OFFS:
            assert direction.recall[cut_off].value == pytest.approx(direction.chance[cut_off])
        assert math.isnan(direction.percentile_rank.value) or direction.percentile_rank.value == 0.5


def test_random_embeddings_find_what_chance_says() -> None:
    rng = np.random.default_rng(1)
    there, back = retrieval(
        rng.normal(size=(600, 64)),
        rng.normal(size=(600, 64)),
        studies=np.arange(600) // 3,
        texts=rng.integers(0, 60, 600),
        patients=np.arange(600) // 3,
        draws=200,
        seed=0,
    )
    for direction in (there, back):
        assert direction.recall[10].low < direction.chance[10] < direction.recall[10].high
        assert direction.percentile_rank.value == pytest.approx(0.5, abs=0.02)


def test_a_perfect_model_finds_everything() -> None:
    for direction in run(np.eye(12), 5 * np.eye(12), list(range(12)), list(range(12))):
        assert all(direction.recall[cut_off].value == 1 for cut_off in CUT_OFFS)
        assert direction.percentile_rank.value == 1
        assert direction.chance == pytest.approx({1: 1 / 12, 5: 5 / 12, 10: 10 / 12})


def test_the_same_text_or_the_same_study_is_as_good_as_the_own() -> None:
    swapped = np.eye(12)[[1, 0, 3, 2, *range(4, 12)]]
    studies, texts = [0, 0, *range(2, 12)], [0, 1, 2, 2, *range(4, 12)]
    there, _ = run(np.eye(12), swapped, studies, texts)
    assert there.recall[1].value == 1
    strict, _ = run(np.eye(12), swapped, list(range(12)), list(range(12)))
    assert strict.recall[1].value == pytest.approx(8 / 12)


@given(seeds)
@settings(max_examples=10, deadline=None)
def test_the_way_back_is_the_way_there_with_sides_swapped(seed: int) -> None:
    rng = np.random.default_rng(seed)
    images, reports, names = rng.normal(size=(9, 4)), rng.normal(size=(9, 4)), list(rng.integers(0, 5, 9))
    there, back = run(images, reports, names, names)
    swapped, _ = run(reports, 3 * images, names, names)
    assert (there.direction, back.direction) == ("image-to-report", "report-to-image")
    assert (back.recall, back.percentile_rank) == (swapped.recall, swapped.percentile_rank)


def test_patients_with_many_images_widen_the_interval() -> None:
    rng = np.random.default_rng(0)
    images = np.repeat(rng.normal(size=(40, 8)), 5, axis=0)
    reports = images + 1.2 * np.repeat(rng.normal(size=(40, 8)), 5, axis=0)
    rows = np.arange(200)

    def width(patients: npt.NDArray[np.int64]) -> float:
        there, _ = retrieval(images, reports, studies=rows // 5, texts=rows // 5, patients=patients, seed=0)
        return there.recall[5].high - there.recall[5].low

    assert width(rows // 5) > 1.6 * width(rows)


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_a_broken_embedding_leaves_every_figure_undefined(broken: float) -> None:
    images = np.eye(4)
    images[2, 0] = broken
    for direction in run(images, np.eye(4), [0, 1, 2, 3], [0, 1, 2, 3]):
        assert math.isnan(direction.recall[1].value)
        assert math.isnan(direction.percentile_rank.value)


@pytest.mark.parametrize("pairs", [0, 1])
def test_too_few_pairs_give_nulls_not_errors(pairs: int) -> None:
    there, _ = run(np.ones((pairs, 3)), np.ones((pairs, 3)), [0] * pairs, [0] * pairs)
    written = json.loads(json.dumps(there.to_json(), allow_nan=False))
    assert written["queries"] == pairs
    assert written["percentile_rank"]["value"] is None


def test_writes_what_the_report_reads() -> None:
    there, _ = run(np.eye(3), np.eye(3), [0, 1, 2], [0, 1, 2])
    assert json.loads(json.dumps(there.to_json())) == {
        "queries": 3,
        "direction": "image-to-report",
        "recall": {str(cut_off): {"value": 1, "low": 1, "high": 1} for cut_off in CUT_OFFS},
        "chance": {"1": pytest.approx(1 / 3), "5": 1, "10": 1},
        "percentile_rank": {"value": 1, "low": 1, "high": 1},
    }

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from common.errors import IntegrityError
from common.messages import Answer, Instruction
from common.update import FIXED_POINT, Layout, Planes, Profile, pack, quantise, sum_names
from server.aggregate import Accumulator, RoundSum, mean_losses

OBJECTIVES = ("masked_image",)
LAYOUT = Layout(("a", "b"), ((2, 3), (4,)))
CLIPS = np.array([0.5, 0.1], np.float32)
BOUND = np.repeat(CLIPS, [6, 4])
CAP = 64
WIDE = Profile.named("wide", sites=12)

seeds = st.integers(0, 2**32 - 1)


def instruction(**changes: object) -> Instruction:
    said = Instruction(round=3, project="p", model="m", weights=np.zeros(10, np.float32), clips=CLIPS)
    return replace(said, **changes)


def lanes(weight: int, **more: int) -> np.ndarray:
    return np.array([{"weight": weight, **more}.get(name, 0) for name in sum_names(OBJECTIVES)], np.uint64)


def answer(delta: np.ndarray, weight: int, *, site: str = "east", **more: int) -> Answer:
    """A hospital of `weight` that moved by `delta`."""
    weighted = (delta * np.float32(weight / CAP)).astype(np.float32)
    quantised, _ = quantise(weighted, CLIPS, LAYOUT, WIDE, seed=0, site=site, round_number=3)
    return Answer(round=3, project="p", model="m", planes=pack(quantised, WIDE), sums=lanes(weight, **more))


def summed(answers: list[Answer]) -> RoundSum:
    accumulator = Accumulator(LAYOUT, OBJECTIVES, instruction(), WIDE, weight_cap=CAP)
    for one in answers:
        accumulator.add(one)
    return accumulator.finish()


def random_answers(seed: int, sites: int) -> tuple[np.ndarray, np.ndarray, list[Answer]]:
    rng = np.random.default_rng(seed)
    deltas = (rng.uniform(-1, 1, (sites, 10)) * BOUND).astype(np.float32)
    weights = rng.integers(1, CAP + 1, sites)
    answers = [
        answer(delta, int(weight), site=str(site), examples=site)
        for site, (delta, weight) in enumerate(zip(deltas, weights, strict=True))
    ]
    return deltas, weights, answers


@given(seeds, st.integers(1, 12))
@settings(max_examples=40, deadline=None)
def test_the_mean_is_the_weighted_mean_of_numpy(seed: int, sites: int) -> None:
    deltas, weights, answers = random_answers(seed, sites)
    step = BOUND / WIDE.levels * sites * CAP / weights.sum()
    mean = summed(answers).mean
    assert (np.abs(mean - np.average(deltas, axis=0, weights=weights)) <= 1.01 * step).all()


@given(seeds, st.integers(1, 12))
@settings(max_examples=20, deadline=None)
def test_neither_the_mean_nor_the_sums_depend_on_the_order(seed: int, sites: int) -> None:
    _, weights, answers = random_answers(seed, sites)
    forward, backward = summed(answers), summed(answers[::-1])
    assert_array_equal(forward.mean, backward.mean)
    assert forward.lanes == backward.lanes
    assert forward.lanes["weight"] == weights.sum()
    assert forward.lanes["examples"] == sum(range(sites))


def test_a_hospital_alone_gives_its_own_update_whatever_its_weight() -> None:
    delta = np.linspace(-0.1, 0.1, 10, dtype=np.float32)
    for weight in (1, 7, CAP):
        assert np.abs(summed([answer(delta, weight)]).mean - delta).max() <= CAP / weight * 0.5 / WIDE.levels


def test_hospitals_of_equal_weight_count_alike() -> None:
    up = answer(np.full(10, 0.1, np.float32), 8)
    down = answer(np.full(10, -0.1, np.float32), 8, site="west")
    assert np.abs(summed([up, down]).mean).max() < 1e-4


def test_each_answer_gives_back_its_own_sums() -> None:
    accumulator = Accumulator(LAYOUT, OBJECTIVES, instruction(), WIDE, weight_cap=CAP)
    first = accumulator.add(answer(np.zeros(10, np.float32), 3, examples=5))
    second = accumulator.add(answer(np.zeros(10, np.float32), 4, examples=6))
    assert (first["weight"], first["examples"]) == (3, 5)
    assert (second["weight"], second["examples"]) == (4, 6)


GOOD = answer(np.full(10, 0.05, np.float32), 8)


@pytest.mark.parametrize(
    "bad",
    [
        replace(GOOD, round=2),
        replace(GOOD, project="q"),
        replace(GOOD, model="n"),
        replace(GOOD, sums=GOOD.sums[:-1]),
        replace(GOOD, sums=lanes(0)),
        replace(GOOD, sums=lanes(CAP + 1)),
        replace(GOOD, sums=lanes(2**64 - 8)),
        replace(GOOD, planes=Planes(GOOD.planes.low[:-1], GOOD.planes.high)),
        replace(GOOD, planes=Planes(GOOD.planes.low, np.zeros(1, np.uint8))),
        replace(GOOD, planes=Planes(GOOD.planes.low, None)),
    ],
    ids=[
        "round",
        "project",
        "model",
        "sums",
        "weight zero",
        "heavy",
        "cancels the good one",
        "short low",
        "short high",
        "one plane",
    ],
)
def test_a_refused_answer_leaves_no_trace(bad: Answer) -> None:
    accumulator = Accumulator(LAYOUT, OBJECTIVES, instruction(), WIDE, weight_cap=CAP)
    accumulator.add(GOOD)
    with pytest.raises(IntegrityError, match=r"^the (answer|update) "):
        accumulator.add(bad)
    after, alone = accumulator.finish(), summed([GOOD])
    assert_array_equal(after.mean, alone.mean)
    assert after.lanes == alone.lanes


def test_losses_are_means_over_rows_of_all_hospitals() -> None:
    nothing = np.zeros(10, np.float32)
    answers = [
        answer(nothing, 1, **{"training/masked_image/rows": rows, "training/masked_image/loss": loss})
        for rows, loss in ((2, 3 * FIXED_POINT), (6, FIXED_POINT))
    ]
    total = summed(answers).lanes
    assert mean_losses(total, "training") == {"masked_image": 0.5}
    assert mean_losses(total, "validation") == {}
